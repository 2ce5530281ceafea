"use strict";
/* The page is whole without this: it copies snippets, and shows how the state changes. */

const COPIED_MS = 2000;
const READY_MS = 15000; // while nothing is wrong, a look now and then is enough
const WAITING_MS = 3000;

const said = document.getElementById("said");

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // without TLS there is no clipboard, and a frame may be denied it
    const field = document.createElement("textarea");
    field.value = text;
    field.readOnly = true;
    field.className = "aside";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function selectAll(code) {
  getSelection().selectAllChildren(code);
}

function offerToCopy(code) {
  const button = document.createElement("button");
  const rest = document.createElement("span"); // of its name, for those who hear it
  button.type = "button";
  button.className = "copy";
  rest.className = "aside";
  rest.textContent = ` ${code.dataset.what}`;
  button.replaceChildren("Copy", rest);
  let back = 0;
  button.addEventListener("click", async () => {
    const done = await copied(code.textContent);
    if (!done) selectAll(code);
    button.focus();
    button.firstChild.data = done ? "Copied" : "Selected";
    said.textContent = done ? `Copied ${code.dataset.what}` : "Selected, but the browser does not let this page copy";
    clearTimeout(back);
    back = setTimeout(() => {
      button.firstChild.data = "Copy";
      said.textContent = "";
    }, COPIED_MS);
  });
  code.closest(".copyable").append(button);
}

function showTimes(state) {
  for (const time of state.querySelectorAll("time")) {
    const there = new Date(time.dateTime);
    const today = there.toDateString() === new Date().toDateString();
    const how = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
    time.textContent = new Intl.DateTimeFormat(undefined, how).format(there);
  }
}

const state = document.getElementById("state");
let shown = state.dataset.status;
let next = 0;

async function look() {
  clearTimeout(next);
  if (document.hidden) return;
  try {
    const answer = await fetch("/ready", { cache: "no-store" });
    const { status } = await answer.json();
    if (status !== shown) await show(status);
  } catch {
    if (shown !== "silent") {
      shown = "silent";
      state.className = "status silent";
      state.dataset.status = shown;
    }
  }
  next = setTimeout(look, shown === "ready" ? READY_MS : WAITING_MS);
}

async function show(status) {
  const text = await (await fetch("/", { cache: "no-store" })).text();
  const now = new DOMParser().parseFromString(text, "text/html").getElementById("state");
  showTimes(now);
  state.className = now.className;
  state.replaceChildren(...now.children);
  shown = state.dataset.status = now.dataset.status;
}

document.querySelectorAll("code[data-what]").forEach(offerToCopy);
showTimes(state);
document.addEventListener("visibilitychange", look);
next = setTimeout(look, shown === "ready" ? READY_MS : WAITING_MS);
