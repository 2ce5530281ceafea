// Keeps the page up to date while somebody looks at it. Without this file the page stands as it is when it is loaded.
"use strict";

const POLL_MS = 2000;
const PATIENCE_MS = 10000; // for one answer
const MAX_WAIT_MS = 60000; // from one try to the next, while there are no answers
const HOUR_EVERY = 5; // how seldom the plots are asked for

const section = document.getElementById("requests");
const rows = document.getElementById("rows");
const hour = document.getElementById("hour");
const live = document.getElementById("live");
const button = document.getElementById("pause");
const most = Number(section.dataset.most);

let run = section.dataset.run;
let last = section.dataset.last;
let paused = false;
let over = false;
let turn = 0; // of polls
let failures = 0;
let next = 0;
let question = null; // that is under way

function element(name, text, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Times in the reader's own zone, and their own way of writing.

const FORMS = {
  minute: [{ timeStyle: "short" }, { timeStyle: "short" }],
  second: [{ timeStyle: "medium" }, { dateStyle: "short", timeStyle: "medium" }],
  day: [{ timeStyle: "short" }, { dateStyle: "medium", timeStyle: "short" }],
};

function showTimes(within) {
  const today = new Date().toDateString();
  for (const time of within.querySelectorAll("time[data-clock]")) {
    const there = new Date(time.dateTime);
    const [near, far] = FORMS[time.dataset.clock];
    const form = there.toDateString() === today ? near : far;
    time.textContent = new Intl.DateTimeFormat(undefined, form).format(there);
  }
}

function timeOf(at, clock) {
  const time = element("time");
  time.dateTime = at;
  time.dataset.clock = clock;
  return time;
}

// Whatever clients and servers chose comes onto the page as text, by `element` only.

function cell(label, ...parts) {
  const made = element("td");
  made.setAttribute("role", "cell");
  made.dataset.label = label;
  made.append(...parts);
  return made;
}

function rowOf(told) {
  const row = element("tr", undefined, `${told.mark} new`.trim());
  row.setAttribute("role", "row");
  const call = [element("span", told.call || told.request, "mono")];
  if (told.call) call.push(element("span", told.request, "soft mono"));
  const outcome = [element("span", told.outcome, told.mark && `tag ${told.mark}`)];
  if (told.reason) outcome.push(element("span", told.reason, "mono"));
  row.append(
    cell("Time", timeOf(told.at, "second")),
    cell("Who", element("span", told.name || "nobody known"), element("span", told.source, "soft")),
    cell("Request", ...call),
    cell("Status", String(told.status)),
    cell("Took", element("span", told.took, "num"), element("span", told.size, "soft")),
    cell("Outcome", ...outcome, element("span", told.id, "soft mono id")),
  );
  showTimes(row);
  return row;
}

function showFact(fact) {
  const place = document.getElementById(`fact-${fact.key}`);
  document.getElementById(`fact-${fact.key}-term`).textContent = fact.term;
  if (fact.mark) {
    place.replaceChildren(element("span", fact.text, `tag ${fact.mark}`));
  } else if (fact.at) {
    place.replaceChildren(element("span", fact.text), element("span", "since ", "soft"));
    place.lastChild.append(timeOf(fact.at, "day"));
    showTimes(place);
  } else {
    place.textContent = fact.text;
  }
}

// The part with the plots is a template of the gate's, in which everything is escaped.
function showHour(text) {
  if (hour.contains(document.activeElement)) return; // not under somebody's hands
  const open = hour.querySelector("details")?.open;
  const made = new DOMParser().parseFromString(text, "text/html").body;
  hour.replaceChildren(...made.childNodes);
  const unfolds = hour.querySelector("details");
  if (open && unfolds) unfolds.open = true;
  showTimes(hour);
}

function show(news) {
  if (news.run !== run) rows.replaceChildren(); // the gate was started again
  run = news.run;
  last = String(news.last);
  for (const told of news.rows) rows.prepend(rowOf(told));
  while (rows.children.length > most) rows.lastElementChild.remove();
  document.getElementById("shown").textContent = String(rows.children.length);
  document.getElementById("kept").textContent = String(news.kept);
  document.getElementById("none").hidden = rows.children.length > 0;
  news.facts.forEach(showFact);
  if (news.hour) showHour(news.hour);
}

// The questions

function say(words) {
  if (live.textContent !== words) live.textContent = words; // each change is read aloud
}

function ended() {
  over = true;
  button.hidden = true;
  const link = element("a", "Sign in again");
  link.href = "/dashboard";
  live.replaceChildren("Your session is over, so this page stands still. ", link);
}

function later(milliseconds) {
  clearTimeout(next);
  next = setTimeout(poll, milliseconds);
}

function failed(seconds) {
  failures += 1;
  const wait = Math.min(MAX_WAIT_MS, Math.max(seconds * 1000, POLL_MS * 2 ** failures));
  say("The gate gives no news now. This page goes on trying");
  later(wait);
}

async function poll() {
  clearTimeout(next);
  if (paused || over || document.hidden || question) return;
  const asked = new URLSearchParams(location.search);
  asked.set("run", run);
  asked.set("after", last);
  if (turn % HOUR_EVERY === 0) asked.set("hour", "1");
  const mine = new AbortController();
  question = mine;
  const patience = setTimeout(() => mine.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(`/dashboard/now.json?${asked}`, {
      cache: "no-store", credentials: "same-origin", redirect: "manual", signal: mine.signal,
    });
    // A front sends those whose session is over to a page of its own.
    if (answer.status === 401 || answer.status === 403 || answer.type === "opaqueredirect") {
      if (question === mine) ended();
    } else if (!answer.ok) {
      if (question === mine) failed(Number(answer.headers.get("Retry-After")) || 0);
    } else {
      const news = await answer.json();
      if (question === mine) {
        show(news);
        turn += 1;
        failures = 0;
        say("Live");
        later(POLL_MS);
      }
    }
  } catch {
    if (question === mine) failed(0);
  } finally {
    clearTimeout(patience);
    if (question === mine) question = null;
  }
}

function rest(words) {
  clearTimeout(next);
  question?.abort();
  question = null;
  if (!over && words) say(words);
}

button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Go on" : "Pause";
  if (paused) rest("Paused");
  else poll();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) rest("");
  else poll();
});
addEventListener("pagehide", () => rest(""));
addEventListener("pageshow", (event) => {
  if (event.persisted) poll();
});

showTimes(document);
turn = 1; // the page has just come with its plots
later(POLL_MS);
