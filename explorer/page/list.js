// Dragging over the dots selects a time and a range of durations.

let start;

const svg = () => document.getElementById("dots");

/** The pointer's place in the drawing, from 0 to 1. */
function place(event) {
  const box = svg().getBoundingClientRect();
  const part = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size));
  return { x: part(event.clientX, box.left, box.width), y: part(event.clientY, box.top, box.height) };
}

function show(a, b) {
  const rect = document.getElementById("drag");
  const percent = (part) => `${(part * 100).toFixed(2)}%`;
  rect.setAttribute("x", percent(Math.min(a.x, b.x)));
  rect.setAttribute("y", percent(Math.min(a.y, b.y)));
  rect.setAttribute("width", percent(Math.abs(a.x - b.x)));
  rect.setAttribute("height", percent(Math.abs(a.y - b.y)));
}

/** Ends the drag; the list is live again. */
function stop() {
  const live = document.getElementById("live");
  if (live && start?.wasLive) live.checked = true;
  start = undefined;
  document.getElementById("drag")?.setAttribute("width", "0");
}

/** The address of the traces between two places. */
function address(a, b) {
  const { from, to, shortest, longest, margin } = svg().dataset;
  const inner = (part) => Math.min(1, Math.max(0, (part - margin) / (1 - 2 * margin)));
  const time = (part) => Number(from) + inner(part) * (to - from);
  const duration = (part) => shortest * (longest / shortest) ** (1 - inner(part));
  const query = new URLSearchParams(document.location.search);
  query.set("compare", "selection");
  query.set("from", new Date(Math.floor(time(Math.min(a.x, b.x)))).toISOString());
  query.set("to", new Date(Math.ceil(time(Math.max(a.x, b.x)))).toISOString());
  query.set("min", duration(Math.max(a.y, b.y)).toPrecision(4));
  query.set("max", duration(Math.min(a.y, b.y)).toPrecision(4));
  return `/?${query}`;
}

// The drawing is replaced when the list is live, so the document listens.
document.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.target.closest?.("#dots")) return;
  event.preventDefault();
  const live = document.getElementById("live");
  start = { ...place(event), wasLive: live?.checked };
  if (live) live.checked = false;
});
document.addEventListener("pointermove", (event) => {
  if (start) show(start, place(event));
});
document.addEventListener("pointerup", (event) => {
  if (!start) return;
  const end = place(event);
  const far = Math.abs(end.x - start.x) > 0.005 && Math.abs(end.y - start.y) > 0.02;
  const next = far ? address(start, end) : undefined;
  stop();
  if (next) document.location.assign(next);
});
document.addEventListener("pointercancel", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && start) stop();
});
