"""The connections to the upstream: an httpx transport for each one, kept on a free list.

One shared httpx client will not do, as experiments with httpx 0.28.1 have shown: its pool loses a
slot at each cancelled request until none is left, hands surplus bytes of one answer to the next
request, and costs more for every open stream. The client's helpers will not do either: they would
keep cookies across callers, obey proxy variables and add header fields of their own.

Each transport here is one HTTP/1.1 connection (httpcore's), carries one exchange at a time, and is
thrown away after anything but a clean end.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import httpcore
import httpx
import trio

from gatehouse.errors import connection_trouble
from gatehouse.scheduling.turns import Turns
from gatehouse.upstream import answers
from gatehouse.upstream.addresses import Addresses, connect
from gatehouse.upstream.answers import Connection
from gatehouse.upstream.looks import Look

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

IDLE_SECONDS = 15.0
"""How long a kept connection may rest. The hosted upstream keeps it far longer (`hosting`), so that
we close first: a server that closes just as a POST comes in would lose it."""

MAX_KEPT = 256
"""How many connections may rest at a time. Only as many calls at once would need more."""

SWEEP_SECONDS = 1.0
"""How often kept connections are checked: whether they have rested too long, or the upstream has ended them."""

LOOK_SECONDS = 1.0
"""How long the gate remembers whether the upstream accepts connections."""

FIRST_READ, LARGEST_READ = 64 * 1024, 256 * 1024
"""How much of an answer is read at a time: more once there is more, since each piece costs the same."""

BODILESS = frozenset({204, 304})
"""Answers with such a status have no body (RFC 9110 section 6.4.1), and neither have answers to HEAD."""

LARGE = 1024 * 1024
"""From this length on, a response's body is worth a connection of its own."""


class Transport(httpx.AsyncBaseTransport):
    """One connection to the upstream, opened at the first request.

    Raises httpx's exceptions: ConnectError and ConnectTimeout if no connection can be had, another
    TransportError for all later failures.
    """

    def __init__(self, home: Transports) -> None:
        origin = home.origin
        self._home = home
        # The target that counts is the one in a request's extensions.
        self._url = httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=b"/"
        )
        self._connection: Connection | None = None
        self._body: ResponseBody | None = None
        self._bodiless = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; the target comes from `extensions`, as raw bytes."""
        outbound = httpcore.Request(
            request.method,
            self._url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            if self._connection is None:
                self._wire = await self._home.connect()
                self._connection = self._home.connection(self._wire)
            self._wire.hold_head()
            response = await self._connection.handle_async_request(outbound)
        except HTTPCORE_ERRORS as error:
            raise in_httpx_terms(error) from error
        headers = response.headers
        self._bodiless = request.method == "HEAD" or response.status in BODILESS
        if (length := large_length(request.method, response.status, headers)) is not None:
            large = LargeBody(self._wire, self.unread, length)
            return httpx.Response(response.status, headers=headers, stream=large)
        self._body = ResponseBody(cast("httpx.AsyncByteStream", response.stream))
        return httpx.Response(response.status, headers=headers, stream=self._body)

    @property
    def unread(self) -> bytes:
        """The bytes that have arrived and that no reader has taken yet.

        After an exchange they would become the answer to the next one: httpcore looks for unread bytes
        in the socket, but not for those that h11 has already taken.
        """
        return b"" if self._connection is None else self._connection.unread

    @property
    def clean(self) -> bool:
        """True if the last exchange is over, and nothing is left of it.

        An answer without a body is whole at once, while the server may still be working on it, and the
        next request on this connection would have to wait. (`HEAD` for a path whose `GET` is an event
        stream.)
        """
        connection = self._connection
        idle = connection is not None and connection.is_idle()
        return idle and not self.unread and not self._bodiless

    @property
    def expired(self) -> bool:
        """True if a clean connection has rested too long, or the upstream has ended it."""
        return self._connection is None or self._connection.has_expired()

    async def release(self, *, whole: bool) -> None:
        """End the exchange: keep the connection if the end is whole and clean, else close it."""
        if whole:
            await self._home.give_back(self)
        else:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, whatever it is doing; cannot be cancelled."""
        with trio.CancelScope(shield=True):
            if self._connection is not None:
                await self._connection.aclose()
            if self._body is not None:
                await self._body.run_out()


class ResponseBody(httpx.AsyncByteStream):
    """The chunks of a response as they arrive, undecoded."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._chunks = aiter(stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except HTTPCORE_ERRORS as error:
            raise in_httpx_terms(error) from error

    async def aclose(self) -> None:
        """End the exchange; after the last chunk, the connection is then free for another one."""
        await self._stream.aclose()

    async def run_out(self) -> None:
        """End httpcore's generators from the inside, the connection being closed already.

        The garbage collector would close suspended ones some time later, with a ResourceWarning for
        each (trio's documentation, «Notes on async generators»).
        """
        with suppress(*HTTPCORE_ERRORS):
            async for _ in self._chunks:
                pass


class LargeBody(httpx.AsyncByteStream):
    """The chunks of a response with a large length, straight from the socket.

    h11 would copy each chunk three times to count it, a third of the cost of passing it on. h11 never
    learns that the body has ended, so the connection is not kept for another exchange.
    """

    def __init__(self, wire: Wire, begun: bytes, length: int) -> None:
        self._wire = wire
        self._begun = begun
        self._left = length

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        try:
            chunk = self._begun or await self._wire.read(FIRST_READ)
        except httpcore.ReadError as error:
            raise in_httpx_terms(error) from error
        if not chunk:
            raise httpx.RemoteProtocolError("the body ended before its length")
        self._begun = b""
        chunk = chunk[: self._left]
        self._left -= len(chunk)
        return chunk


def large_length(method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The length of a response's body if it is to be read as a LargeBody, else None.

    h11 has seen to it that there is one length at most, and that it is a number (RFC 9112 section 6.3).
    """
    fields = {name.lower(): value for name, value in headers}
    if method == "HEAD" or status in BODILESS or b"transfer-encoding" in fields:
        return None
    length = int(fields.get(b"content-length", b"0"))
    return length if length >= LARGE else None


class Wire(httpcore.AsyncNetworkStream):
    """A TCP connection for httpcore, which writes a request's head and body one after the other.

    Here the head waits for what follows it, so that a small request leaves in one packet and costs
    one system call. It has no timeouts: its callers decide how long to wait.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._held = b""
        self._hold = False
        self._most = FIRST_READ

    def hold_head(self) -> None:
        """A request begins: hold the next write until something else is written, or read."""
        self._hold = True
        self._most = FIRST_READ

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        if self._hold:
            self._hold = False
            self._held = buffer
            return
        data, self._held = self._held + buffer, b""
        if data:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise httpcore.WriteError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if self._held:
            await self.write(b"")
        try:
            data = await self._stream.receive_some(self._most)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error
        if len(data) == self._most < LARGEST_READ:
            self._most *= 2
        return data

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    def get_extra_info(self, info: str) -> Any:
        """Only what httpcore asks for: whether an idle connection has bytes to read, or has ended."""
        return self._stream.socket.is_readable() if info == "is_readable" else None


HTTPCORE_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


SAYS = {
    httpcore.ReadError: "the connection broke",
    httpcore.WriteError: "the connection broke",
    httpcore.RemoteProtocolError: "what came is no HTTP, or ended too early",
    answers.SpeaksTLSError: "it speaks TLS, and the gate asks it without: give it a port without TLS",
}
"""The words for errors whose own texts may hold something that the upstream has chosen."""


class FloodError(httpx.TransportError):
    """The upstream sends a flood of small pieces, fields or interim answers."""

    def __init__(self) -> None:
        super().__init__("a flood of small pieces, fields, framing or interim answers")


def in_httpx_terms(error: Exception) -> httpx.TransportError:
    """httpcore's exception as httpx's, so that other modules need not know both. The text is ours."""
    if isinstance(error, httpcore.ConnectTimeout):
        return httpx.ConnectTimeout(str(error))  # the texts of these two are ours, see `connect`
    if isinstance(error, httpcore.ConnectError):
        return httpx.ConnectError(str(error))
    if isinstance(error, answers.FloodError):
        return FloodError()
    return httpx.TransportError(SAYS.get(type(error), "asking it failed"))


class Transports:
    """The free list of transports to the upstream at `host:port`.

    With `keep_alive` a connection is used again after a clean exchange. Without, each exchange has
    a connection of its own: right for an upstream whose time limits we do not know.
    """

    def __init__(self, host: str, port: int, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """`host:port` as it stands in a Host field (RFC 9110 section 7.2)."""
        self.origin = httpcore.Origin(b"http", host.encode("ascii"), port)
        self.was_reached = False
        self._addresses = Addresses(host, port)
        self._free: deque[Transport] = deque()
        self._turns = Turns()
        self._accepting = Look(self._accepts, failed=False)
        _ = self.connection(
            httpcore.AsyncMockStream([])
        ).unread  # fails now if httpcore has changed

    async def is_reachable(self) -> bool:
        """True if a connection to the upstream can be opened: now, or a moment ago."""
        return await self._accepting.fresh(LOOK_SECONDS)

    async def _accepts(self) -> bool:
        wire = await self.connect()
        await wire.aclose()
        return True

    async def connect(self) -> Wire:
        """Open a connection. Raises httpcore's ConnectError or ConnectTimeout."""
        try:
            wire = Wire(await connect(self._addresses))
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout(connection_trouble(TimeoutError())) from error
        except OSError as error:
            raise httpcore.ConnectError(
                connection_trouble(error) or "no connection can be had"
            ) from error
        self.was_reached = True
        return wire

    def connection(self, wire: httpcore.AsyncNetworkStream) -> Connection:
        """The HTTP connection over an open wire."""
        return Connection(self.origin, wire, self._turns, IDLE_SECONDS)

    async def take(self) -> Transport:
        """A transport for one exchange; the caller releases it."""
        while self._free:
            transport = self._free.pop()
            if not transport.expired:
                return transport
            await transport.aclose()
        return Transport(self)

    async def give_back(self, transport: Transport) -> None:
        """Keep a transport whose exchange came to a clean end, or close it if it has expired.

        The newest is used first, so the oldest, at the far end, are closed once nobody needs them.
        """
        if not (self.keep_alive and transport.clean):
            await transport.aclose()
            return
        self._free.append(transport)
        if len(self._free) > MAX_KEPT:
            await self._free.popleft().aclose()

    async def sweep(self) -> None:
        """Every SWEEP_SECONDS, for ever, close kept connections that have expired."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            over = [transport for transport in self._free if transport.expired]
            for transport in over:
                self._free.remove(transport)
            for transport in over:
                await transport.aclose()

    async def aclose(self) -> None:
        """Close all kept connections."""
        while self._free:
            await self._free.pop().aclose()
