// The explorer's page. It reads /api and builds the document from nodes and text. Everything in a trace is foreign text, so
// nothing here parses HTML (the Content-Security-Policy enforces this with Trusted Types).

const REFRESH_MS = 2000;
const HUES = 8;
const KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const byId = (id) => document.getElementById(id);

/** Makes an element; strings among the children become text. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

async function read(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `${path} answers ${response.status}`);
  return body;
}

// ---- formats

function duration(ns) {
  if (ns < 1e3) return `${ns} ns`;
  const [unit, name] = ns < 999.5e3 ? [1e3, "µs"] : ns < 999.5e6 ? [1e6, "ms"] : [1e9, "s"];
  const value = ns / unit;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${name}`;
}

function clock(time) {
  if (!time) return "";
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  const clockTime = date.toLocaleTimeString([], { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
  return today ? clockTime : `${date.toLocaleDateString()} ${clockTime}`;
}

const plural = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;

// Hues are given in the order of first appearance, and a service keeps its hue while the page is open.
const services = new Map();
function hue(service) {
  if (!services.has(service)) services.set(service, services.size % HUES);
  return `hue-${services.get(service)}`;
}

// ---- list

function query() {
  const given = [...new FormData(byId("filters"))].filter(([, value]) => value !== "");
  return new URLSearchParams(given).toString();
}

function traceRow(trace, longest) {
  const state = [];
  if (trace.error) state.push(el("span", { class: "bad" }, "✗ error"));
  if (!trace.complete) state.push(el("span", { class: "partial" }, "⚠ incomplete"));
  if (state.length === 2) state.splice(1, 0, " · ");
  return el("tr", {},
    el("td", { class: "when" }, el("time", { datetime: trace.start }, clock(trace.start))),
    el("td", {},
      el("div", { class: "request" },
        el("a", { href: `#/trace/${trace.trace_id}`, "data-key": trace.trace_id, title: trace.root_name }, trace.root_name || "(no name)"),
        el("span", { class: "from" }, trace.root_service))),
    el("td", { class: "num" }, duration(Math.round(trace.duration_ms * 1e6)),
      el("span", { class: "meter", "aria-hidden": "true" }, el("i", { "--part": trace.duration_ms / longest }))),
    el("td", { class: "num" }, String(trace.spans)),
    el("td", {}, el("span", { class: "chips" }, Object.entries(trace.services).map(([name, count]) =>
      el("span", { class: `chip ${hue(name)}` }, name, el("b", {}, String(count)))))),
    el("td", { class: "state" }, state.length ? state : "ok"));
}

async function showList() {
  const [{ traces, left_out = 0 }, known] = await Promise.all([read(`api/traces?${query()}`), read("api/services")]);
  const select = byId("filters").elements.service;
  const names = known.services.map((service) => service.name);
  for (const name of names) {
    hue(name);
    if (![...select.options].some((option) => option.value === name)) select.append(el("option", { value: name }, name));
  }
  const longest = Math.max(1e-6, ...traces.map((trace) => trace.duration_ms));
  return { key: JSON.stringify([traces, names, left_out]), draw() {
    document.title = "Traces · Throughline explorer";
    byId("traces").replaceChildren(...traces.map((trace) => traceRow(trace, longest)));
    const filtered = [...new FormData(byId("filters"))].some(([name, value]) => name !== "limit" && value !== "");
    say("list-note", left_out ? `${plural(left_out, "trace")} more than one answer holds.` : traces.length ? "" : filtered ? "No trace matches these filters." :
      "No trace yet. Whatever sends OTLP/HTTP to this explorer shows here.");
  } };
}

// ---- one trace

function plain(value = {}) {
  const [kind, inner] = Object.entries(value)[0] ?? [];
  if (kind === "arrayValue") return (inner.values ?? []).map(plain);
  if (kind === "kvlistValue") return attributes(inner.values);
  return inner ?? null;
}
const attributes = (list = []) => Object.fromEntries(list.map(({ key, value }) => [key, plain(value)]));
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Reads all pages of a trace. A trace that grows meanwhile is read again, since its pages move. */
async function readTrace(id, tries = 3) {
  const whole = await read(`api/traces/${id}`);
  for (let { page } = whole; page?.next !== undefined;) {
    const part = await read(`api/traces/${id}?offset=${page.next}`);
    if (part.page?.total !== page.total && tries > 1) return readTrace(id, tries - 1);
    whole.resourceSpans.push(...part.resourceSpans);
    Object.assign(whole.shape.tops, part.shape.tops);
    page = part.page;
  }
  return whole;
}

/** OTLP/JSON to spans in depth-first order, with depth, place and whether a sibling follows. */
function tree(document_) {
  const spans = [];
  for (const { resource, scopeSpans } of document_.resourceSpans) {
    const own = attributes(resource?.attributes);
    for (const { scope, spans: list } of scopeSpans) {
      for (const span of list) {
        spans.push({ ...span, service: own["service.name"] ?? "unknown_service", resource: own, scope: scope?.name,
          from: BigInt(span.startTimeUnixNano), to: BigInt(span.endTimeUnixNano), own: attributes(span.attributes), children: [] });
      }
    }
  }
  spans.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : a.name.localeCompare(b.name)));
  const known = new Map();
  for (const span of spans) if (!known.has(span.spanId)) known.set(span.spanId, span);
  // The server decides which spans are at the top.
  const tops = [];
  for (const span of spans) {
    const parent = known.get(span.parentSpanId);
    span.place = document_.shape.tops[span.spanId] ?? "child";
    if (parent && span.place === "child") parent.children.push(span);
    else tops.push(span);
  }
  const order = ["root", "remote_root", "orphan", "cycle", "child"];
  tops.sort((a, b) => order.indexOf(a.place) - order.indexOf(b.place));
  const ordered = [];
  const seen = new Set();
  for (const top of [...tops, ...spans]) {
    const stack = [{ span: top, depth: 0, open: [] }];
    while (stack.length) {
      const { span, depth, open } = stack.pop();
      if (seen.has(span)) continue;
      seen.add(span);
      ordered.push(Object.assign(span, { depth, open }));
      span.children.map((child, at) => ({ span: child, depth: depth + 1, open: [...open.slice(-24), at < span.children.length - 1] }))
        .reverse().forEach((child) => stack.push(child));
    }
  }
  return ordered;
}

const failed = (span) => span.status?.code === 2;
let chosen = null;

async function showTrace(id) {
  const [document_, { logs, left_out }] = await Promise.all([readTrace(id), read(`api/logs?trace_id=${id}&limit=1000`)]);
  const spans = tree(document_);
  logs.sort((a, b) => (a.time ?? "").localeCompare(b.time ?? ""));
  return { key: JSON.stringify([document_, logs]), draw: () => drawTrace(id, spans, logs, document_.shape.complete, left_out ?? 0) };
}

function drawTrace(id, spans, logs, complete, logsLeftOut) {
  const start = spans.reduce((least, span) => (span.from < least ? span.from : least), spans[0].from);
  const end = spans.reduce((most, span) => (span.to > most ? span.to : most), spans[0].to);
  const total = Number(end - start) || 1;
  const at = (time) => Number(BigInt(time) - start) / total;
  const names = [...new Set(spans.map((span) => span.service))];
  const placed = (...places) => spans.filter((span) => span.depth === 0 && places.includes(span.place)).length;
  const [roots, orphans, cycles] = [placed("root", "remote_root"), placed("orphan"), placed("cycle")];

  document.title = `${spans[0].name} · Throughline explorer`;
  byId("trace-title").textContent = spans[0].name;
  byId("trace-facts").replaceChildren(
    el("code", {}, id), el("span", {}, el("strong", {}, duration(Number(end - start)))),
    el("span", {}, plural(spans.length, "span")),
    el("span", { class: "chips" }, names.map((name) => el("span", { class: `chip ${hue(name)}` }, name,
      el("b", {}, String(spans.filter((span) => span.service === name).length))))));
  const missing = complete ? [] : [roots === 0 && "no root span", roots > 1 && `${roots} root spans`,
    orphans > 0 && `${plural(orphans, "span")} whose parent is not here`, cycles > 0 && `${plural(cycles, "cycle")} of parents`].filter(Boolean);
  say("trace-note", [complete ? "" : `⚠ Incomplete: ${missing.join(", ") || "spans are missing"}.`,
    logsLeftOut > 0 && `${plural(logsLeftOut, "log record")} more than one answer holds.`].filter(Boolean).join(" "), "partial");
  byId("axis").replaceChildren(...[0, .25, .5, .75, 1].map((part) => el("span", {}, part ? duration(Math.round(total * part)) : "0")));

  byId("spans").replaceChildren(...spans.map((span) => spanRow(span, at, (node) => choose(span, spans, logs, start, node))));
  byId("trace-logs").hidden = logs.length === 0;
  byId("logs").replaceChildren(...logs.map((log) => logRow(log, start, total, spans)));
  // The deepest error is the origin; the spans above it only propagate it.
  const deepest = spans.filter(failed).reduce((best, span) => (best && best.depth >= span.depth ? best : span), null);
  const before = spans.find((span) => span.spanId === chosen) ?? deepest ?? spans[0];
  choose(before, spans, logs, start);
}

function spanRow(span, at, choose_) {
  const stems = span.open.map((open, level) => {
    const own = level === span.open.length - 1;
    return el("span", { class: `stem${open ? " open" : ""}${own ? " own" : ""}${own && !open ? " last" : ""}`, "aria-hidden": "true" });
  });
  const button = el("button", { type: "button", "data-key": span.spanId, title: `${span.name} — ${span.service}`, onclick: () => choose_() }, span.name);
  const marks = [failed(span) && el("span", { class: "mark bad", title: span.status.message }, `✗ ${span.own["error.type"] ?? "error"}`),
    span.depth === 0 && span.place === "remote_root" && el("span", { class: "mark", title: "its caller's span is not here" }, "↖ remote parent"),
    span.depth === 0 && span.place === "orphan" && el("span", { class: "mark partial" }, "⚠ orphan"),
    span.depth === 0 && span.place === "cycle" && el("span", { class: "mark partial" }, "⚠ its own ancestor"),
    span.links?.length > 0 && el("span", { class: "mark", title: plural(span.links.length, "link") }, "↗")];
  return el("tr", { class: failed(span) ? "failed" : null, "data-span": span.spanId },
    el("td", {}, el("span", { class: "span" }, stems, el("span", { class: `dot ${hue(span.service)}`, "aria-hidden": "true" }), button, marks)),
    el("td", { class: "service", title: span.service }, span.service),
    el("td", {}, el("div", { class: `lane ${hue(span.service)}`, "aria-hidden": "true" },
      el("div", { class: "bar", "--from": at(span.from), "--part": at(span.to) - at(span.from) }),
      (span.events ?? []).map((event) => el("i", { class: "tick", "--at": at(event.timeUnixNano), title: event.name })))),
    el("td", { class: "num" }, duration(Number(span.to - span.from))));
}

function logRow(log, start, total, spans) {
  const span = spans.find((span) => span.spanId === log.span_id);
  const offset = log.time ? nanos(log.time) - start : 0n;
  return el("tr", {},
    el("td", { class: "num" }, offset < 0n ? `−${duration(Number(-offset))}` : duration(Number(offset))),
    el("td", { class: `level-${log.severity.toLowerCase().replace(/[^a-z]/g, "")}` }, log.severity),
    el("td", {}, el("span", { class: `chip ${hue(log.service)}` }, log.service)),
    el("td", {}, shown(log.body ?? log.event_name ?? ""),
      span && el("span", { class: "hint" }, "  in "), span && el("a", { href: `#/trace/${span.traceId}/${span.spanId}` }, span.name)));
}

/** Nanoseconds of an RFC 3339 time in UTC; Date keeps milliseconds only. */
function nanos(time) {
  const [, fraction = ""] = time.match(/\.(\d+)/) ?? [];
  return BigInt(Math.floor(Date.parse(time) / 1000)) * 1000000000n + BigInt(fraction.padEnd(9, "0"));
}

// ---- details of a span

function choose(span, spans, logs, start) {
  chosen = span.spanId;
  for (const row of byId("spans").rows) {
    const own = row.dataset.span === span.spanId;
    if (own) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    row.querySelector("button").tabIndex = own ? 0 : -1;
  }
  const parent = spans.find((other) => other.spanId === span.parentSpanId);
  const own = logs.filter((log) => log.span_id === span.spanId);
  byId("detail").replaceChildren(
    el("h2", {}, span.name),
    el("p", { class: "soft" }, el("span", { class: `dot ${hue(span.service)}` }), `${span.service} · ${KINDS[span.kind] ?? span.kind}`),
    el("p", { class: "soft" }, `${duration(Number(span.to - span.from))}, ${span.from === start ? "from the start" : `starts after ${duration(Number(span.from - start))}`}`),
    ...(failed(span) ? [el("p", { class: "error-box" }, "✗ ", [span.own["error.type"], span.status.message].filter(Boolean).join(": ") || "error")] : []),
    ...section("Attributes", Object.keys(span.own).length && pairs(span.own)),
    ...section("Events", span.events?.length && span.events.map((event) => eventBox(event, start))),
    ...section("Links", span.links?.length && el("ul", {}, span.links.map(linkItem))),
    ...section("Logs", own.length && el("ul", {}, own.map((log) => el("li", {},
      el("span", { class: `level-${log.severity.toLowerCase().replace(/[^a-z]/g, "")}` }, log.severity), " ", shown(log.body ?? log.event_name ?? ""),
      Object.keys(log.attributes).length ? pairs(log.attributes) : null)))),
    ...section("Identity", pairs({ "span id": span.spanId, parent: span.parentSpanId ? `${span.parentSpanId}${parent ? ` (${parent.name})` : span.place === "remote_root" ? " (a caller's, not here)" : " (not here)"}` : "none (root)", scope: span.scope ?? "" })),
    ...section("Resource", el("details", {}, el("summary", {}, plural(Object.keys(span.resource).length, "attribute")), pairs(span.resource))));
}

const section = (title, content) => (content ? [el("h3", {}, title), ...[content].flat()] : []);
const pairs = (map) => el("table", {}, el("tbody", {}, Object.entries(map).map(([name, value]) =>
  el("tr", {}, el("th", { scope: "row" }, breakable(name)), el("td", {}, shown(value))))));

/** Lets a dotted name break after its dots. */
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]);

function eventBox(event, start) {
  const own = attributes(event.attributes);
  const offset = duration(Math.max(0, Number(BigInt(event.timeUnixNano) - start)));
  return el("details", { open: Object.keys(own).length > 0 && Object.keys(own).length < 5 },
    el("summary", {}, event.name, el("span", {}, `at ${offset}`)), Object.keys(own).length ? pairs(own) : null);
}

function linkItem(link) {
  const own = attributes(link.attributes);
  return el("li", {}, el("a", { href: `#/trace/${link.traceId}/${link.spanId}` }, `trace ${link.traceId.slice(0, 8)}… span ${link.spanId.slice(0, 8)}…`),
    Object.keys(own).length ? pairs(own) : null);
}

// ---- the page as a whole

function say(id, text, kind) {
  const note = byId(id);
  note.hidden = text === "";
  if (note.textContent !== text) note.textContent = text;
  note.classList.toggle("partial", kind === "partial");
}

function route() {
  const [, id, span] = location.hash.match(/^#\/trace\/([0-9a-f]{32})(?:\/([0-9a-f]{16}))?$/i) ?? [];
  return id ? { id: id.toLowerCase(), span: span?.toLowerCase() } : null;
}

let opened = "";
let drawn = "";
let turn = 0;

/** Reads what the address names and draws it if it changed; the focus stays where it was. */
async function refresh(force) {
  const mine = ++turn;
  const target = route();
  byId("list").hidden = target !== null;
  byId("trace").hidden = target === null;
  try {
    const { key, draw } = await (target ? showTrace(target.id) : showList());
    if (mine !== turn) return;
    if (force || key !== drawn) {
      const focus = document.activeElement?.dataset?.key;
      draw();
      if (focus) document.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
      drawn = key;
    }
    const { bytes, max_bytes, traces, logs, metrics, refused_requests } = await read("api/stats");
    const lost = traces.refused + logs.refused + metrics.refused;
    byId("stats").textContent = [plural(traces.held_traces, "trace"), `${mebibytes(bytes)} of ${mebibytes(max_bytes)}`,
      traces.evicted_traces > 0 && `${traces.evicted_traces.toLocaleString()} evicted`, lost > 0 && `${plural(lost, "item")} refused`,
      refused_requests.too_large > 0 && `${plural(refused_requests.too_large, "export")} too large`,
      refused_requests.malformed > 0 && `${plural(refused_requests.malformed, "export")} malformed`].filter(Boolean).join(" · ");
  } catch (error) {
    if (mine !== turn) return;
    say(target ? "trace-note" : "list-note", String(error.message ?? error));
    if (force && target) for (const id of ["trace-facts", "spans", "logs", "detail"]) byId(id).replaceChildren();
    if (force && target) byId("trace-title").textContent = `Trace ${target.id}`;
  }
}

function go() {
  const target = route();
  chosen = target?.span ?? null;
  if (opened !== (target?.id ?? "")) window.scrollTo(0, 0);
  opened = target?.id ?? "";
  refresh(true);
}

byId("filters").addEventListener("input", () => refresh(true));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(() => refresh(true)));
byId("spans").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const rows = [...byId("spans").rows];
  const at = rows.findIndex((row) => row.contains(event.target));
  const next = event.key === "Home" ? rows[0] : event.key === "End" ? rows.at(-1) : rows[at + step];
  if (!next) return;
  event.preventDefault();
  const button = next.querySelector("button");
  button.click();
  button.focus();
});
byId("spans").addEventListener("click", (event) => {
  const button = event.target.closest("tr")?.querySelector("button");
  if (button && button !== event.target) button.click();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is the view, so the link must not change it.
  event.preventDefault();
  byId("main").focus();
});
window.addEventListener("hashchange", go);
setInterval(() => byId("live").checked && !document.hidden && !getSelection()?.toString() && refresh(false), REFRESH_MS);
go();
