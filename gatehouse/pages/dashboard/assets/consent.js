// A click that was meant for another window is no answer: a page can open one over this page, ask for a double click, and
// close it between the two. Without this file the page works as well.
"use strict";

const REST_MS = 600; // longer than between the two clicks of one double click

let since = -REST_MS;
function comesToFront() {
  since = performance.now();
}
addEventListener("focus", comesToFront);
document.addEventListener("visibilitychange", comesToFront);

document.querySelector(".decide").addEventListener("submit", (event) => {
  if (performance.now() - since < REST_MS) event.preventDefault();
});
