"""Somebody at the browser of one client: clients in this process call, and programs ring, for they open a browser.

The person keeps the browser, with its session and its remembered apps, from one start of the client to the next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.harness.identity.app_person import AppPerson, forms_of
from tests.harness.identity.person import arrived

if TYPE_CHECKING:
    from collections.abc import Iterator

Hook = Callable[[], object]

RING = """
import sys
from urllib.parse import urlencode
from urllib.request import urlopen
port, url, *until = sys.argv[1:]
print(urlopen(f"http://127.0.0.1:{port}/?" + urlencode({"url": url, "until": "".join(until)})).read().decode())
"""
"""The program of a browser: its person does the rest."""


class PersonAtHome:
    """The person, who says yes."""

    def __init__(self) -> None:
        self.person = AppPerson()
        self.visits = 0
        """How often the client opened the browser."""
        self.before: Hook = lambda: None
        """Called when the client has opened the browser, before that goes anywhere."""
        self.after: Hook = lambda: None
        """Called when the browser has been sent back, before it is there."""
        self._bell = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = Thread(target=self._bell.serve_forever, args=[0.01])
        self._thread.start()

    @property
    def questions(self) -> int:
        """How often the gate asked the person about the client."""
        return len(self.person.questions)

    @property
    def browser(self) -> list[str]:
        """The program that opens the browser, for a URL and the place where it ends, if nobody listens there."""
        return [sys.executable, "-c", RING, str(self._bell.server_address[1])]

    def go(self, url: str, until: str | None = None) -> str:
        """Follow an authorization URL; the URL of the client, which nobody asks for."""
        self.visits += 1
        self.before()
        there = self.person.go(url, until=until)
        self.after()
        return there

    def browse(self, url: str) -> str:
        """Follow an authorization URL, until the client has what it waits for."""
        there = self.go(url)
        arrived(self.person.http, there)
        return there

    def end_apps(self, gate: str) -> None:
        """Revoke all apps on the dashboard of that gate."""
        page = self.person.get(f"{gate}/dashboard/apps")
        ends = [form for form in forms_of(page) if form[0].endswith("/apps/end")]
        assert ends
        for form in ends:
            assert self.person.post(page, *form).status_code == 303

    def leave(self) -> None:
        """Nobody is at home any more."""
        self._bell.shutdown()
        self._thread.join()
        self._bell.server_close()
        self.person.http.close()


def _handler_of(home: PersonAtHome) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            rung = parse_qs(urlsplit(self.path).query)
            url, until = rung["url"][0], rung.get("until", [""])[0]
            there = home.go(url, until) if until else home.browse(url)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(there.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """No line on the screen for a ring."""

    return Handler


@contextmanager
def at_home() -> Iterator[PersonAtHome]:
    """The person, until the block ends."""
    home = PersonAtHome()
    try:
        yield home
    finally:
        home.leave()
