"""The person who signs in: follows an authorization URL, logs in, says yes, and arrives where the client waits.

As a program, `python person.py URL [UNTIL]`, it stands in for the browser that a client opens, and prints where it ends.
"""

from __future__ import annotations

import sys
import time
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

MAX_PAGES = 30
SECONDS = 20.0
ANSWERS = {"login": "alice", "username": "alice", "password": "of-the-tests"}
"""The words that a person types, by the names of the fields."""


class Forms(HTMLParser):
    """The forms of a page: where each leads, and its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((values.get("action", ""), {}))
        elif self.found and values.get("name") and tag in {"input", "button"}:
            fields = self.found[-1][1]
            fields.setdefault(values["name"], values.get("value", ""))

    @property
    def to_sign_in(self) -> tuple[str, dict[str, str]] | None:
        """The form that goes on: one that asks for a password, else the first one."""
        asking = [form for form in self.found if "password" in form[1]]
        return next(iter(asking or self.found), None)


def arrived(http: httpx.Client, url: str) -> httpx.Response:
    """The answer at the URL. Whoever signs in so fast may be back before the client listens, as no person is."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            return http.get(url)
        except httpx.ConnectError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)


def sign_in(url: str, *, until: str | None = None) -> str:
    """The URL at which it ends. Nobody asks for one that begins with `until`: there the client waits, or nobody."""
    with httpx.Client(timeout=SECONDS, trust_env=False) as http:
        answer = http.get(url)
        for _ in range(MAX_PAGES):
            if answer.is_redirect:
                there = urljoin(str(answer.url), answer.headers["location"])
                if until is not None and there.startswith(until):
                    return there
                answer = arrived(http, there)
                continue
            form = Forms(answer.text).to_sign_in
            if form is None:
                return str(answer.url)
            action, fields = form
            typed = {name: ANSWERS[name] for name in fields if name in ANSWERS}
            answer = http.post(urljoin(str(answer.url), action), data={**fields, **typed})
    raise AssertionError("the sign-in does not end")


if __name__ == "__main__":
    print(sign_in(sys.argv[1], until=next(iter(sys.argv[2:]), None)))  # noqa: T201
