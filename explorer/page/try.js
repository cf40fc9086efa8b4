// While a trace arrives, looks more often than a live page does; the page says itself when there is nothing to wait for.

import { refresh } from "./base.js";

const LOOK_MS = 250;

async function look() {
  if (!document.querySelector("[data-arriving]")) return;
  try {
    await refresh();
  } catch {
    // The explorer does not answer now; the next look may find it.
  }
  setTimeout(look, LOOK_MS);
}

setTimeout(look, LOOK_MS);
