"""The dashboard without sockets: people whom a test chooses, and requests as a browser of theirs sends them."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from html import unescape
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import trio

from gatehouse.downstream.exchange import Exchange
from gatehouse.http.request import read_request
from gatehouse.identity.principal import Unknown
from gatehouse.identity.subject import Subject
from gatehouse.pages.dashboard.dashboard import Dashboard
from gatehouse.pages.dashboard.door import Door
from gatehouse.pages.dashboard.entry import Entry
from gatehouse.pages.dashboard.shell import Shell
from gatehouse.policy.origins import Origins
from gatehouse.signin.visitor import Visitor
from tests.harness.request_of import LIMITS, scope_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.pages.dashboard.entry import Sessions
    from gatehouse.pages.dashboard.visit import Action, View
    from gatehouse.pages.table import Page
    from gatehouse.policy.failures import Failures
    from gatehouse.signin.sign_in import SignIn

ORIGIN = "https://gate.example"
HOST = (b"Host", b"gate.example")
UNTIL = 1_800_000_000.0
"""When the sessions of these people end."""


def person(name: str, *, kind: Any = "person") -> Visitor:
    """Somebody by that name: with a session, unless it is the front that signs them in."""
    subject = Subject(kind, "https://issuer.example", name, shown=f"{kind}:{name}")
    return Visitor(subject, f"session-of-{name}" if kind == "person" else "", UNTIL)


@dataclass
class People:
    """Knows the visitor that a test puts at the door, in place of cookies and keys."""

    who_comes: Visitor | Unknown | None = None
    admins: set[str] = field(default_factory=lambda: {"alice"})
    asked: int = 0

    async def who(self, request: Request) -> Visitor | Unknown | None:  # noqa: ARG002
        self.asked += 1
        return self.who_comes

    def is_admin(self, subject: Subject) -> bool:
        return subject.sub in self.admins

    def may_sign_in(self, subject: Subject) -> bool:
        return subject.sub in self.admins | {"bob"}

    def form_token(self, visitor: Visitor) -> str:
        return f"form-token-of-{visitor.session or visitor.id}"

    def takes(self, visitor: Visitor, form_token: str) -> bool:
        return form_token == self.form_token(visitor)


@dataclass
class Answer:
    """The reply of the dashboard, and the exchange that it was for."""

    reply: Reply
    exchange: Exchange

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def text(self) -> str:
        return self.reply.body.decode()

    @property
    def words(self) -> str:
        """The text of a page without its tags."""
        body = re.sub(r"(?s).*<body>", "", self.text)
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())

    def all(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.reply.headers if given.lower() == name.lower()]

    def one(self, name: bytes) -> bytes:
        (value,) = self.all(name)
        return value


class Browser:
    """A dashboard with these pages, and a browser before it. `people.who_comes` is signed in."""

    def __init__(
        self,
        views: Mapping[bytes, View],
        actions: Mapping[bytes, Action] | None = None,
        *,
        name: str = "FoodWise",
        provider: str = "Example",
        front: str = "",
    ) -> None:
        self.people = People(person("alice"))
        self.came: list[str] = []
        """The `sub` of everybody who signed in, or came through the front, once for each time."""
        self.shell = Shell(views, name=lambda: name, provider=provider, front=front)
        self.door = Door(
            origin=ORIGIN,
            origins=Origins(["gate.example", "other.example"], [], loopback=False, public=ORIGIN),
            visitors=self.people,
            notices=self.shell.notices,
            own_page=self.shell.own_page,
            came=self.comes,
        )
        self._views, self._actions = views, actions or {}
        self.dashboard = self._dashboard({}, {})

    def _dashboard(
        self, open_views: Mapping[bytes, Page], open_actions: Mapping[bytes, Page]
    ) -> Dashboard:
        return Dashboard(
            self.door,
            self._views,
            self._actions,
            open_views=open_views,
            open_actions=open_actions,
            shell=self.shell,
        )

    def comes(self, subject: Subject) -> None:
        """Note who came."""
        self.came.append(subject.sub)

    def signs_in(self, sign_in: SignIn, sessions: Sessions, failures: Failures) -> Entry:
        """From here on, people can sign in and out, by the part that is returned."""
        entry = Entry(
            sign_in=sign_in,
            sessions=sessions,
            visitors=self.people,
            door=self.door,
            notices=self.shell.notices,
            failures=failures,
            came=self.comes,
        )
        self.dashboard = self._dashboard(entry.views, entry.actions)
        return entry

    async def get(self, target: str, *fields: tuple[bytes, bytes], method: str = "GET") -> Answer:
        """Ask for a page, as a link to it does."""
        return await self.send(method, target, [HOST, *fields])

    async def post(
        self,
        target: str,
        fields: Mapping[str, str | Sequence[str]] | None = None,
        *headers: tuple[bytes, bytes],
    ) -> Answer:
        """Send a form, as a page of the dashboard does for whoever is signed in."""
        who = self.people.who_comes
        token = self.people.form_token(who) if isinstance(who, Visitor) else ""
        body = urlencode({"form_token": token, **(fields or {})}, doseq=True).encode()
        own = [
            HOST,
            (b"Origin", ORIGIN.encode()),
            (b"Sec-Fetch-Site", b"same-origin"),
            (b"Content-Type", b"application/x-www-form-urlencoded"),
        ]
        return await self.send("POST", target, [*own, *headers], body)

    async def send(
        self, method: str, target: str, fields: Sequence[tuple[bytes, bytes]], body: bytes = b""
    ) -> Answer:
        """Send a request with these header fields, and give the answer of the dashboard."""
        length = [(b"Content-Length", b"%d" % len(body))] if body else []
        scope = scope_of([*fields, *length], method=method, target=target.encode())

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            raise AssertionError(message)  # a page returns its reply, and sends nothing

        request = read_request(cast("Any", scope), LIMITS)
        exchange = Exchange(request, receive, send, LIMITS, {})
        return Answer(await self.dashboard(exchange), exchange)


class Meanwhile:
    """Waits, wherever it is called, until the loop has had a turn; `ran` tells whether it has."""

    def __init__(self) -> None:
        self._turn = threading.Event()
        self.ran: list[bool] = []

    def wait(self) -> None:
        self.ran.append(self._turn.wait(5.0))

    async def beside(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Call and await `ask`, with another task beside it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.01)
            self._turn.set()
        assert self.ran
        assert all(self.ran)
