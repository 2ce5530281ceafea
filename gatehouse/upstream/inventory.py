"""The server's name, and how many tools it has: asked as a client would ask, over the way of all calls.

The gate asks at most once a minute, and only while somebody looks. A server that keeps sessions has one for that time
only. Nothing that cannot be told is told: there is no number unless the server has given a whole list.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import httpx
import trio

from gatehouse.http.events import EventBorders
from gatehouse.http.fields import value_of, values_of
from gatehouse.http.mcp import METHOD, SESSION, TELLING_VERSION, VERSION, printable
from gatehouse.http.results import messages_in
from gatehouse.upstream.shared_look import SharedLook
from gatehouse.version import VERSION as RELEASE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.http.fields import Headers
    from gatehouse.upstream.base import Upstream
    from gatehouse.upstream.farewells import Farewells
    from gatehouse.upstream.outbound import Outbound

KEPT_SECONDS = 60.0
"""How long an answer counts."""

AGAIN_SECONDS = 10.0
"""How long the gate asks no more after none: a server that starts, or comes back, is asked soon."""

PATIENCE_SECONDS = 1.0
"""How long a page waits for the first answer; the next page has it."""

ANSWER_SECONDS = 3.0
"""How long the server may take, for each era of the protocol."""

HEAD_SECONDS = 15.0
"""How long the head of the answer to `initialize` is waited for all the same: it tells the session to end. A session that
nobody ends may keep its place for ever."""

MAX_ANSWER_BYTES = 512 * 1024
"""How much all answers together may hold: five hundred tools with schemas. Reading as much takes 5 ms."""

MAX_PAGES = 20
"""How many pages a list may have."""

HANDSHAKE_VERSION = "2025-11-25"
"""The newest version of MCP that begins with `initialize`."""

NO_SUCH_METHOD = -32601
"""JSON-RPC 2.0, section 5.1: the server has no tools at all."""

_META = "io.modelcontextprotocol/"
_ABOUT = {"name": "mcp-gate", "version": RELEASE}
_FIELDS: Headers = [
    (b"Content-Type", b"application/json"),
    (b"Accept", b"application/json, text/event-stream"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"mcp-gate"),
]


class Found(NamedTuple):
    """The facts that a server tells of itself."""

    name: str = ""
    """Printable and short; empty if it cannot be told."""
    tools: int | None = None
    """None if it cannot be told."""


UNKNOWN = Found()


class NoAnswerError(Exception):
    """The server gives no answer that can be used."""


class Asker(Protocol):
    """The principal on whose behalf the gate asks. Without restrictions, it sees all tools."""

    @property
    def id(self) -> str: ...


class Inventory:
    """Asks `upstream` with requests that `outbound` makes for `asker`; `farewells` end its sessions."""

    def __init__(
        self, upstream: Upstream, outbound: Outbound, farewells: Farewells, asker: Asker
    ) -> None:
        self._upstream = upstream
        self._outbound = outbound
        self._farewells = farewells
        self._asker = asker
        self._look = SharedLook(self._ask, failed=UNKNOWN)
        self._eras = [self._by_discovery, self._by_handshake]

    async def found(self) -> Found:
        """The facts, at most KEPT_SECONDS old; after PATIENCE_SECONDS those of before, while the server is being asked."""
        told = self._look.seen.tools is not None
        with trio.move_on_after(PATIENCE_SECONDS):
            return await self._look.fresh(KEPT_SECONDS if told else AGAIN_SECONDS)
        return self._look.seen

    async def _ask(self) -> Found:
        """Ask in the era that worked last, then in the other one."""
        for era in tuple(self._eras):
            with trio.move_on_after(ANSWER_SECONDS):
                try:
                    found = await era(Questions(self._upstream, self._outbound, self._asker))
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    return UNKNOWN
                except (httpx.HTTPError, NoAnswerError):
                    continue
                self._eras.sort(key=lambda each: each != era)
                return found
        return UNKNOWN

    async def _by_discovery(self, questions: Questions) -> Found:
        """As clients ask since MCP 2026-07-28: each request stands for itself."""
        told = await questions.result("server/discover", modern=True)
        versions = told.get("supportedVersions")
        if not isinstance(versions, list) or TELLING_VERSION.decode() not in versions:
            raise NoAnswerError
        meta = told.get("_meta")
        name = _name(meta.get(f"{_META}serverInfo")) if isinstance(meta, dict) else ""
        return Found(name, await questions.count_tools(modern=True))

    async def _by_handshake(self, questions: Questions) -> Found:
        """As clients ask in older versions: with `initialize`, and perhaps in a session."""
        params = {"protocolVersion": HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": _ABOUT}
        try:
            told = await questions.result("initialize", params)
            version = told.get("protocolVersion")
            if not isinstance(version, str) or not version.isascii() or not version.isprintable():
                raise NoAnswerError
            questions.fields.append((VERSION, version.encode("ascii")))
            await questions.tell("notifications/initialized")
            return Found(_name(told.get("serverInfo")), await questions.count_tools())
        finally:
            if questions.session:
                self._farewells.end(questions.session, self._asker.id)


class Questions:
    """The questions of one look, and the bound for all answers to them."""

    def __init__(self, upstream: Upstream, outbound: Outbound, asker: Asker) -> None:
        self._upstream = upstream
        self._outbound = outbound
        self._asker = asker
        self._left = MAX_ANSWER_BYTES
        self._id = 0
        self.session = b""
        """The session that the server has opened."""
        self.fields: Headers = []
        """The fields of each further request."""

    async def count_tools(self, *, modern: bool = False) -> int | None:
        """How many tools a whole list has; None if it cannot be had, has more pages than are
        read, or holds anything that is no tool."""
        tools = 0
        params: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            try:
                told = await self.result("tools/list", params, modern=modern)
            except NoSuchMethodError:
                return 0
            except (NoAnswerError, httpx.HTTPError):
                return None
            listed = told.get("tools")
            if not isinstance(listed, list) or not all(map(_is_tool, listed)):
                return None
            tools += len(listed)
            cursor = told.get("nextCursor")
            if cursor is None:
                return tools
            params = {"cursor": cursor}
        return None

    async def result(
        self, method: str, params: dict[str, Any] | None = None, *, modern: bool = False
    ) -> dict[str, Any]:
        """The result of a call. Raises NoAnswerError, NoSuchMethodError or httpx.HTTPError."""
        self._id += 1
        params = dict(params or {})
        fields: Headers = []
        if modern:
            params["_meta"] = {
                f"{_META}protocolVersion": TELLING_VERSION.decode(),
                f"{_META}clientCapabilities": {},
                f"{_META}clientInfo": _ABOUT,
            }
            fields = [(VERSION, TELLING_VERSION), (METHOD, method.encode("ascii"))]
        call = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        async with self._answer(call, fields) as response:
            message = await self._message(response, self._id) or {}
        result, error = message.get("result"), message.get("error")
        if isinstance(error, dict) and error.get("code") == NO_SUCH_METHOD:
            raise NoSuchMethodError
        if not isinstance(result, dict):
            raise NoAnswerError
        return result

    async def tell(self, method: str) -> None:
        """Send a notification."""
        async with self._answer({"jsonrpc": "2.0", "method": method}, []):
            pass

    @asynccontextmanager
    async def _answer(self, call: dict[str, Any], fields: Headers) -> AsyncIterator[httpx.Response]:
        """The answer to a message, up to its head."""
        body = json.dumps(call).encode()
        request = self._outbound.question(body, [*_FIELDS, *fields, *self.fields], self._asker)
        transport = await self._upstream.take()
        try:
            opens = call["method"] == "initialize"
            with trio.CancelScope(shield=opens) as patience:
                patience.deadline = trio.current_time() + HEAD_SECONDS
                response = await transport.handle_async_request(request)
            if patience.cancelled_caught:
                raise NoAnswerError
            if opens and (session := value_of(response.headers.raw, SESSION)):
                self.session = session
                self.fields.append((SESSION, session))
            yield response
        finally:
            await transport.release(whole=False)

    async def _message(self, response: httpx.Response, wanted: int) -> dict[str, Any] | None:
        """The message in an answer that answers the call of that id; None if there is none."""
        if any(values_of(response.headers.raw, b"content-encoding")):
            raise NoAnswerError  # compressed, though the request says otherwise
        held, borders = bytearray(), EventBorders()
        kind = value_of(response.headers.raw, b"content-type") or b""
        in_events = kind.lower().startswith(b"text/event-stream")
        async for piece in cast("httpx.AsyncByteStream", response.stream):
            self._left -= len(piece)
            if self._left < 0:
                raise NoAnswerError
            held += piece
            borders.feed(piece)
            if in_events and borders.at_border:
                if message := _answer_in(held, wanted):
                    return message
                held.clear()
        return _answer_in(held, wanted)


class NoSuchMethodError(NoAnswerError):
    """The server does not know the method."""


def _answer_in(body: bytearray, wanted: int) -> dict[str, Any] | None:
    for message in messages_in(bytes(body)):
        if isinstance(message, dict) and message.get("id") == wanted and "method" not in message:
            return message
    return None


def _is_tool(listed: Any) -> bool:
    return isinstance(listed, dict) and isinstance(listed.get("name"), str)


def _name(about: Any) -> str:
    name = about.get("name") if isinstance(about, dict) else ""
    return printable(name) if isinstance(name, str) else ""
