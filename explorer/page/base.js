// What every page has: times in the reader's zone, parts that are live, addresses of the first explorer.
//
// Everything in a trace is foreign text. The server has escaped it, and nothing here makes markup of a text: a live part is
// a part of the same page, which the browser has parsed itself and whose scripts it does not run.

const REFRESH_MS = 2000;

/** Shows times in the reader's zone; the server's UTC stays for hovering. */
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const today = moment.toDateString() === new Date().toDateString();
    const clock = `${moment.toLocaleTimeString([], { hour12: false })}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
    time.textContent = today ? clock : `${moment.toLocaleDateString()} ${clock}`;
  }
}

/** The same page as it is now. */
function fetchPage(address) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.responseType = "document";
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(new Error(`status ${request.status}`)));
    request.onerror = () => reject(new Error("the explorer does not answer"));
    request.open("GET", address);
    request.send();
  });
}

/** A name for each `details` of a part: its own key, or its summary and how many had the same one before. */
function byKey(part) {
  const found = new Map();
  for (const details of part.querySelectorAll("details")) {
    const name = details.dataset.key ?? details.querySelector("summary")?.textContent ?? "";
    let key = name;
    for (let more = 1; found.has(key); more += 1) key = `${name} ${more}`;
    found.set(key, details);
  }
  return found;
}

/** What the reader has opened or closed stays so. */
function keepOpen(part, fresh) {
  const before = byKey(part);
  for (const [key, details] of byKey(fresh)) {
    if (before.has(key)) details.open = before.get(key).open;
  }
}

/** Whether the reader types there, which nothing may take away. */
function isTyping(part) {
  return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
}

let newest = 0;

/** Replaces the parts marked `data-live` that have changed; keeps the focus. Says `live` to the page's own script. */
export async function refresh() {
  newest += 1;
  const mine = newest;
  const next = await fetchPage(document.location);
  // A later request has the answer to the address of now.
  if (mine !== newest) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = next.getElementById(part.id);
    if (!fresh || isTyping(part)) continue;
    localTimes(fresh);
    keepOpen(part, fresh);
    showScripted(fresh);
    if (fresh.isEqualNode(part)) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : undefined;
    part.replaceWith(document.adoptNode(fresh));
    if (focused) fresh.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    fresh.dispatchEvent(new CustomEvent("live", { bubbles: true }));
  }
}

/** Texts that only a script can use: `data-copy` holds what a button copies. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = said; }, 1500);
});
/** Shows what works with a script only. */
function showScripted(root) {
  for (const node of root.querySelectorAll("[data-script]")) node.hidden = false;
}
showScripted(document);

// Addresses of the page that was one document: #/trace/ID and #/trace/ID/SPAN.
const old = /^#\/trace\/([0-9a-f]{32})(?:\/([0-9a-f]{16}))?$/.exec(document.location.hash);
if (old) document.location.replace(`/traces/${old.slice(1).filter(Boolean).join("/")}`);

localTimes(document);
const live = document.getElementById("live");
if (live) {
  live.closest("label").hidden = false;
  let busy = false;
  setInterval(async () => {
    if (busy || !live.checked || document.hidden || getSelection()?.toString()) return;
    busy = true;
    try {
      await refresh();
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    } finally {
      busy = false;
    }
  }, REFRESH_MS);
}
