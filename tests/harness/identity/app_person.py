"""A person in a browser, whom an app sends to the gate: signs in, sees who asks, says yes or no, and is sent back.

As a program it stands in for the browser that a client opens:

    python -m tests.harness.identity.app_person [--jar FILE] [--deny] URL [UNTIL]

It prints where it ends, and keeps its cookies in FILE.
"""

from __future__ import annotations

import argparse
from http.cookiejar import CookieJar, LWPCookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from tests.harness.identity.person import ANSWERS, MAX_PAGES, Forms, arrived
from tests.harness.identity.roads import SECONDS, Roads, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Decision = Literal["allow", "deny"]

FETCHED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
"""The fields by which a browser tells that it changes the page (W3C Fetch Metadata)."""


class AppPerson:
    """The person, and the browser: it keeps cookies from one visit to the next.

    `roads` tell where the origins are really served, and `says` is the person's answer to each question of the gate.
    The provider decides who this is: its stand-in's `person`.
    """

    def __init__(
        self,
        *,
        says: Decision = "allow",
        roads: Mapping[str, str] | None = None,
        jar: CookieJar | None = None,
    ) -> None:
        self.says: Decision = says
        self.questions: list[str] = []
        """The pages on which the gate asked."""
        self.http = httpx.Client(
            transport=Roads(roads or {}), timeout=SECONDS, trust_env=False, cookies=jar
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def go(self, url: str, *, until: str | None = None) -> str:
        """Follow an authorization URL; the URL of the client at which it ends, which nobody asks for.

        The client's URL is one that begins with `until`: its redirect_uri, unless it is given. Fails with the text of
        the page if it ends on one.
        """
        answer = self.open(url, until=until)
        if is_question(answer):
            answer = self.decide(answer)
        assert answer.is_redirect, f"{answer.status_code} at {answer.url.path}: {answer.text}"
        return urljoin(str(answer.url), answer.headers["Location"])

    def open(self, url: str, *, until: str | None = None) -> httpx.Response:
        """Follow an authorization URL, through a sign-in if there is one, up to the question of the gate, to the redirect
        that leads to the client, or to another page that is the end.
        """
        asked = parse_qs(urlsplit(url).query).get("redirect_uri", [""])[0]
        return self._walk(self.get(url), until or asked, origin_of(url))

    def decide(
        self, question: httpx.Response, says: Decision | None = None, **fields: str
    ) -> httpx.Response:
        """Press a button on that page; `fields` are sent beside, or instead of, those of the page."""
        says = says or self.says
        action, hidden = next(form for form in forms_of(question) if "decision" in form[1])
        data = {**hidden, "decision": says, **fields}
        return self.post(question, action, data)

    def get(self, url: str) -> httpx.Response:
        """Ask for a page, as by a link on another site."""
        return self.http.get(url, headers={**FETCHED, "Sec-Fetch-Site": "cross-site"})

    def post(
        self, page: httpx.Response, action: str, data: Mapping[str, str], **headers: str
    ) -> httpx.Response:
        """Send a form that stands on that page."""
        there = urljoin(str(page.url), action)
        origin = origin_of(str(page.url))
        site = "same-origin" if origin == origin_of(there) else "cross-site"
        own = {**FETCHED, "Origin": origin, "Sec-Fetch-Site": site, **headers}
        return self.http.post(there, data=dict(data), headers=own)

    def _walk(self, answer: httpx.Response, until: str, gate: str) -> httpx.Response:
        for _ in range(MAX_PAGES):
            if answer.is_redirect:
                there = urljoin(str(answer.url), answer.headers["Location"])
                if until and there.startswith(until):
                    return answer
                answer = self.get(there)
                continue
            if is_question(answer):
                self.questions.append(answer.text)
                return answer
            form = Forms(answer.text).to_sign_in
            if form is None or origin_of(str(answer.url)) == gate:
                return answer  # no button of the gate's is pressed by the way
            action, fields = form
            typed = {name: ANSWERS[name] for name in fields if name in ANSWERS}
            answer = self.post(answer, action, {**fields, **typed})
        raise AssertionError("the sign-in does not end")


def forms_of(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """The forms of a page: where each leads, and its fields."""
    return Forms(page.text).found


def is_question(answer: httpx.Response) -> bool:
    """True for the page on which the gate asks about an app."""
    return answer.status_code == 200 and any(
        urlsplit(action).path == "/authorize/decide" and "decision" in fields
        for action, fields in forms_of(answer)
    )


def main() -> None:
    """Be a browser for one visit."""
    parser = argparse.ArgumentParser(description="A person in a browser.")
    parser.add_argument("--jar", type=Path)
    parser.add_argument("--deny", action="store_true")
    parser.add_argument("url")
    parser.add_argument("until", nargs="?")
    given = parser.parse_args()
    jar = LWPCookieJar(given.jar)
    if given.jar and given.jar.exists():
        jar.load(ignore_discard=True)
    with AppPerson(says="deny" if given.deny else "allow", jar=jar) as person:
        there = person.go(given.url, until=given.until)
        if given.jar:
            jar.save(ignore_discard=True)
        if given.until is None:  # the client waits there
            arrived(person.http, there)
    print(there)  # noqa: T201


if __name__ == "__main__":
    main()
