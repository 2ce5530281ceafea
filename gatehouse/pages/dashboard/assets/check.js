// Shows how far a look is, and its findings. Without this file the page loads itself anew instead.
"use strict";

const POLL_MS = 2000; // how often the page asks

// Says to screen readers that the findings are there.
const news = document.createElement("p");
news.className = "vh";
news.setAttribute("role", "status");
document.body.append(news);

async function look() {
  const shown = document.getElementById("check");
  let next = null;
  try {
    const answer = await fetch(location.pathname, { redirect: "manual" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    next = answer.ok ? page.getElementById("check") : null;
  } catch {
    setTimeout(look, POLL_MS); // the gate, or the way there, is away for a moment
    return;
  }
  if (next === null) {
    location.reload(); // the session is over: the page says what to do
    return;
  }
  if ("running" in next.dataset) {
    document.getElementById("progress").replaceChildren(...next.querySelector("#progress").childNodes);
    setTimeout(look, POLL_MS);
    return;
  }
  shown.replaceWith(next);
  news.textContent = "The look is over. The findings are on this page.";
}

setTimeout(look, POLL_MS);
