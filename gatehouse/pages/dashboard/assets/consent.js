// A click that was meant for something else is no answer: another page can ask for a double click, and between the two lead
// here, or close a window that it has opened over this page. Without this file the page works as well.
"use strict";

const REST_MS = 600; // longer than between the two clicks of one double click

let since = performance.now();
function comesToFront() {
  since = performance.now();
}
addEventListener("focus", comesToFront);
document.addEventListener("visibilitychange", comesToFront);

document.querySelector(".decide").addEventListener("submit", (event) => {
  if (performance.now() - since < REST_MS) event.preventDefault();
});
