// Copy buttons. Without this file they are hidden, and everything else works as it does with it.
"use strict";

document.documentElement.classList.add("scripts");

// Says a sentence to screen readers, which do not see that a button has changed.
const spoken = document.createElement("p");
spoken.className = "vh";
spoken.setAttribute("role", "status");
document.body.append(spoken);

const SHOWN_MS = 2000; // how long a button says that it has copied
const shown = new WeakMap(); // the end of that, by the button
let silence = 0; // the end of the sentence

async function copy(button) {
  const of = button.dataset.copyOf;
  const text = of ? document.getElementById(of).textContent : button.dataset.copy;
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    said = copyByHand(text) ? "Copied" : "Selected"; // the text beside, for a copy by hand
    if (said === "Selected") getSelection().selectAllChildren(button.parentElement.querySelector("code"));
  }
  const words = button.firstChild; // what is behind them, for screen readers, stays
  const usual = button.dataset.usual ?? words.data;
  button.dataset.usual = usual;
  words.data = said;
  button.classList.toggle("done", said === "Copied");
  spoken.textContent = `${said}${button.querySelector(".vh")?.textContent ?? ""}`; // each of several copies is another sentence
  clearTimeout(shown.get(button));
  clearTimeout(silence);
  shown.set(button, setTimeout(() => {
    words.data = usual;
    button.classList.remove("done");
  }, SHOWN_MS));
  silence = setTimeout(() => {
    spoken.textContent = "";
  }, SHOWN_MS);
}

// For browsers that give no page without https their clipboard.
function copyByHand(text) {
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.className = "vh";
  document.body.append(field);
  field.select();
  let copied = false;
  try {
    copied = document.execCommand("copy");
  } catch {
    copied = false;
  }
  field.remove();
  before?.focus();
  return copied;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy], [data-copy-of]");
  if (button) {
    copy(button);
    return;
  }
  for (const open of document.querySelectorAll("details.who[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.who[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

// What was done, or is wrong with a form, comes first, for keyboards and screen readers, too: these do not read what a page
// says from its beginning on.
document.querySelector("[data-focus]")?.focus();
