// The keys of one trace, and choosing a span without loading the page anew.

import { refresh } from "./base.js";

const rows = () => [...document.querySelectorAll("#spans tr")];
const current = () => document.querySelector("#spans tr[aria-current=true]");
const dialog = document.getElementById("keys");

let waiting;

/** Shows a row as chosen at once, and its details as soon as the server has sent them. */
function choose(row) {
  if (!row) return;
  current()?.removeAttribute("aria-current");
  row.setAttribute("aria-current", "true");
  const link = row.querySelector("a.name");
  link.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  history.replaceState(null, "", link.getAttribute("href"));
  clearTimeout(waiting);
  waiting = setTimeout(() => refresh().catch(() => document.body.classList.add("lost")), 60);
}

function besides(step) {
  const all = rows();
  const at = all.indexOf(current());
  return at < 0 ? all[0] : all[at + step];
}

const byId = (id) => id && rows().find((row) => row.dataset.span === id);

/** The next step of the critical path after the chosen span, or the one before. */
function along(step) {
  const path = document.getElementById("trace").dataset.path.split(" ").filter(Boolean);
  if (!path.length) return undefined;
  const chosen = current()?.dataset.span;
  // A span may be on the path several times, so the place on it is remembered.
  const known = Number(sessionStorage.getItem("path-step"));
  const at = path[known] === chosen ? known : step > 0 ? path.indexOf(chosen) : path.lastIndexOf(chosen);
  const next = at < 0 ? (step > 0 ? 0 : path.length - 1) : (at + step + path.length) % path.length;
  sessionStorage.setItem("path-step", String(next));
  const row = byId(path[next]);
  // A row on another part of a very large trace has no row here.
  if (!row) document.location.assign(`${document.getElementById("trace").dataset.whole}/${path[next]}`);
  return row;
}

/** The list, with the filter that led here. */
function list() {
  const before = document.referrer && new URL(document.referrer);
  return before && before.origin === document.location.origin && before.pathname === "/" ? before.href : "/";
}

function child() {
  const chosen = current();
  return rows().find((row) => row.dataset.parent === chosen?.dataset.span);
}

const actions = {
  j: () => choose(besides(1)),
  ArrowDown: () => choose(besides(1)),
  k: () => choose(besides(-1)),
  ArrowUp: () => choose(besides(-1)),
  ArrowRight: () => choose(child()),
  ArrowLeft: () => choose(byId(current()?.dataset.parent)),
  Home: () => choose(rows()[0]),
  End: () => choose(rows().at(-1)),
  c: () => choose(along(1)),
  C: () => choose(along(-1)),
  Enter: () => document.getElementById("detail").focus(),
  Escape: () => {
    const row = current();
    if (row && !row.contains(document.activeElement)) row.querySelector("a.name").focus();
    else document.location.assign(list());
  },
  "?": () => dialog.showModal(),
};

const singleKeys = document.getElementById("single-keys");
singleKeys.checked = localStorage.getItem("single-keys") !== "off";
singleKeys.addEventListener("change", () => localStorage.setItem("single-keys", singleKeys.checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  if (dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.length === 1 && !singleKeys.checked) return;
  const target = event.target;
  if (target.closest("input, select, textarea, button, summary, pre, dialog")) {
    if (event.key !== "Escape" && event.key !== "?") return;
  }
  // A link that has the focus and is not a row's opens with Enter, as everywhere.
  if (event.key === "Enter" && target.closest("a") && !target.closest("#spans")) return;
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("click", async (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  const row = event.target.closest("#spans tr");
  if (row) {
    event.preventDefault();
    choose(row);
    return;
  }
  const button = event.target.closest("button[data-copy-file]");
  if (!button) return;
  const said = button.textContent;
  try {
    const answer = await fetch(button.dataset.copyFile);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    await navigator.clipboard.writeText(await answer.text());
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = said; }, 1500);
});

document.getElementById("show-keys").addEventListener("click", () => dialog.showModal());
