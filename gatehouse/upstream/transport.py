"""An httpx transport that is one HTTP/1.1 connection to the upstream."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

import httpcore
import httpx
import trio

from gatehouse.http.forward import REQUEST_ID_HEADER
from gatehouse.upstream import answers
from gatehouse.upstream.base import BODILESS, FloodError
from gatehouse.upstream.wire import FIRST_READ_BYTES, TlsBrokeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from gatehouse.upstream.answers import Connection
    from gatehouse.upstream.wire import Wire

    Connect = Callable[[], Awaitable[tuple[Wire, Connection]]]
    GiveBack = Callable[["NetworkTransport"], Awaitable[None]]

LARGE_BYTES = 1024 * 1024
"""From this length on, a response's body is worth a connection of its own."""


class NetworkTransport(httpx.AsyncBaseTransport):
    """One connection to the upstream, which `connect` opens at the first request; a clean one is given back.

    Raises httpx's exceptions: ConnectError and ConnectTimeout if no connection can be had, another
    TransportError for all later failures.
    """

    def __init__(
        self, url: httpcore.URL, connect: Connect, give_back: GiveBack, *, tells_ids: bool
    ) -> None:
        self._tells_ids = tells_ids
        self._url = url  # the target that counts is the one in a request's extensions
        self._connect = connect
        self._give_back = give_back
        self._connection: Connection | None = None
        self._body: ResponseBody | None = None
        self._bodiless = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; the target comes from `extensions`, as raw bytes."""
        headers = request.headers.raw
        if self._tells_ids and "id" in request.extensions:
            headers.append((REQUEST_ID_HEADER, request.extensions["id"].encode("ascii")))
        outbound = httpcore.Request(
            request.method,
            self._url,
            headers=headers,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            if self._connection is None:
                self._wire, self._connection = await self._connect()
            self._wire.begin()
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
    def is_clean(self) -> bool:
        """True if the last exchange is over, and nothing is left of it.

        An answer without a body is whole at once, while the server may still be working on it, and the
        next request on this connection would have to wait. (`HEAD` for a path whose `GET` is an event
        stream.)
        """
        connection = self._connection
        idle = connection is not None and connection.is_idle()
        return idle and not self.unread and not self._bodiless

    def rest(self) -> None:
        """The exchange is over, and another may follow."""
        self._wire.rest()

    @property
    def is_spent(self) -> bool:
        """True if the connection, which rests, may not be used again."""
        return self._wire.is_spent

    async def release(self, *, whole: bool) -> None:
        """End the exchange: keep the connection if the end is whole and clean, else close it."""
        if whole:
            await self._give_back(self)
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
            chunk = self._begun or await self._wire.read(FIRST_READ_BYTES)
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
    return length if length >= LARGE_BYTES else None


HTTPCORE_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


SAYS = {
    httpcore.ReadError: "the connection broke",
    httpcore.WriteError: "the connection broke",
    httpcore.RemoteProtocolError: "what came is no HTTP, or ended too early",
    answers.SpeaksTLSError: "it speaks TLS, and the gate asks it without: set UPSTREAM_URL=https://...",
}
"""The words for errors whose own texts may hold something that the upstream has chosen."""


def in_httpx_terms(error: Exception) -> httpx.TransportError:
    """httpcore's exception as httpx's, so that other modules need not know both. The text is ours."""
    if isinstance(error, httpcore.ConnectTimeout):
        return httpx.ConnectTimeout(str(error))  # the texts of these three are ours, see `network`
    if isinstance(error, httpcore.ConnectError):
        return httpx.ConnectError(str(error))
    if isinstance(error, TlsBrokeError):
        return httpx.TransportError(str(error))
    if isinstance(error, answers.FloodError):
        return FloodError()
    return httpx.TransportError(SAYS.get(type(error), "asking it failed"))
