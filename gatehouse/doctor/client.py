"""HTTP/1.1 by hand: one connection a request, and the time of each thing that comes.

httpx would hide when the head came, and in which pieces the body.
"""

from __future__ import annotations

import ssl
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from gatehouse.doctor.target import Target

    Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
    Fields = tuple[tuple[str, str], ...]

CONNECT_SECONDS = 10
ANSWER_SECONDS = 15
"""How long the doctor waits for an answer: a server of MCP 2026-07-28 may send its head only after that long."""

MAX_ANSWER_BYTES = 1024 * 1024
"""How much of an answer is read."""

PIECE_BYTES = 65_536


class NoAnswerError(Exception):
    """There was no answer, or none that is HTTP/1.1; the words say which."""


@dataclass(frozen=True)
class Answer:
    """An answer, as far as it was read. `head_seconds` is the time from the request's end to the answer's head."""

    status: int
    fields: Fields
    body: bytes
    head_seconds: float

    def all(self, name: str) -> list[str]:
        """The values of a field, all of them."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: str) -> str:
        """The value of a field; empty if there is none."""
        return next(iter(self.all(name)), "")

    @cached_property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters."""
        return self.get("content-type").partition(";")[0].strip().lower()

    @property
    def good(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300


class NoConnectionError(NoAnswerError):
    """Not even a connection. `reason` is the error."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__("there was no connection")
        self.reason = reason


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Stream]:
    """A connection to the target, over TLS if its URL says so. Raises NoConnectionError."""
    tcp: trio.SocketStream | None = None
    try:
        with trio.fail_after(CONNECT_SECONDS):
            tcp = await trio.open_tcp_stream(target.host, target.port)
            stream: Stream = tcp
            if target.scheme == "https":
                context = ssl.create_default_context()
                stream = trio.SSLStream(
                    tcp, context, server_hostname=target.host, https_compatible=True
                )
                await stream.do_handshake()
    except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
        if tcp is not None:
            await trio.aclose_forcefully(tcp)
        raise NoConnectionError(error.__cause__ or error) from error
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(tcp)


class Call:
    """One request on a connection of its own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=65_536)
        self.sent = trio.current_time()
        """When the last byte of the request had gone out."""

    async def send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send a part of the request. A server that has answered may have stopped to read."""
        if data := self._http.send(event):
            with suppress(trio.BrokenResourceError):  # the answer may say why
                await self._stream.send_all(data)
        self.sent = trio.current_time()

    async def head(self) -> Answer:
        """The head of the answer, without its body."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                fields = tuple(
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in event.headers
                )
                return Answer(event.status_code, fields, b"", trio.current_time() - self.sent)
            if not isinstance(event, h11.InformationalResponse):
                raise NoAnswerError("the server ended the connection without an answer")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, as it comes. Whoever stops before its end closes it."""
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(PIECE_BYTES)))
        except h11.RemoteProtocolError as error:
            raise NoAnswerError(f"the answer is no sound HTTP/1.1 ({error})") from None
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            raise NoAnswerError("the connection broke off") from error
        return event  # type: ignore[return-value]


@asynccontextmanager
async def called(
    target: Target,
    method: str,
    fields: Iterable[tuple[str, str]],
    body: bytes = b"",
    query: str = "",
) -> AsyncIterator[Call]:
    """A request that has been sent; its answer has not been read. Raises NoAnswerError."""
    async with connected(target) as stream:
        call = Call(stream)
        path = f"{target.path}?{query}" if query else target.path
        lines = [*fields, ("Connection", "close")]
        if method == "POST":
            lines.append(("Content-Length", str(len(body))))
        await call.send(h11.Request(method=method, target=path, headers=lines))
        if body:
            await call.send(h11.Data(data=body))
        await call.send(h11.EndOfMessage())
        yield call


async def ask(
    target: Target,
    method: str,
    fields: Iterable[tuple[str, str]],
    body: bytes = b"",
    query: str = "",
) -> Answer:
    """The whole answer, or as much as came in time. Raises NoAnswerError."""
    head: Answer | None = None
    content = b""
    with trio.move_on_after(CONNECT_SECONDS + ANSWER_SECONDS):
        async with called(target, method, fields, body, query) as call:
            head = await call.head()
            async with aclosing(call.pieces()) as pieces:
                async for piece in pieces:
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        break
    if head is None:
        raise NoAnswerError(f"there was no answer within {ANSWER_SECONDS} s")
    return Answer(head.status, head.fields, content, head.head_seconds)
