"""A TCP connection for httpcore, with the sending of requests in our own hands.

httpcore writes a request's head and body one after the other. Here the head waits for what follows it, so that a small
request leaves in one packet and costs one system call.

Servers end connections that rest, at any moment. Three things keep requests from being lost with them:

-   A connection is used again only if it has rested for a short time.
-   It is looked at just before the first byte is sent, not when it is taken: the upstream may have ended it while the
    client's body was awaited. Nothing has been sent by then, so a new connection takes its place.
-   A request may still cross the upstream's end on its way. It is sent once more, on a new connection, only if TCP
    knows that the upstream had ended this one before any byte of the request came: then nobody has read it. Over TLS
    the upstream must have said so itself: somebody on the way can make up an end of TCP, and hold back what TCP knows.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import httpcore
import trio

from gatehouse.upstream.tls import TlsStream, tls_trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Stream = trio.SocketStream | TlsStream
    Open = Callable[[], Awaitable[Stream]]

FIRST_READ_BYTES, MAX_READ_BYTES = 64 * 1024, 256 * 1024
"""How much of an answer is read at a time: more once there is more, since each piece costs the same."""

MAX_KEPT_BYTES = 64 * 1024
"""A longer request is not kept to be sent once more. Almost all calls of tools are far shorter."""


class TlsBrokeError(httpcore.ReadError):
    """TLS with the upstream has failed. The text says why, in words of ours."""


class Wire(httpcore.AsyncNetworkStream):
    """A connection that may rest for `idle_seconds` between two exchanges; `open_stream` opens another like it.

    There are no timeouts: the callers decide how long to wait. Writing and reading may raise `open_stream`'s errors.
    """

    def __init__(self, stream: Stream, open_stream: Open, idle_seconds: float) -> None:
        self._stream = stream
        self._open = open_stream
        self._idle_seconds = idle_seconds
        self._rested_at: float | None = None  # the last exchange was over; None before the first
        self._begins = False  # the next write is held
        self._held = b""
        self._to_look_at = False
        self._sent: bytes | None = None  # of a request that may cross the upstream's end
        self._sent_before = 0  # bytes on the wire, before that request
        self._read_bytes = FIRST_READ_BYTES

    def begin(self) -> None:
        """A request begins: hold the next write until something else is written, or read."""
        self._begins = True
        self._to_look_at = self._rested_at is not None
        self._sent = None
        self._read_bytes = FIRST_READ_BYTES

    def rest(self) -> None:
        """The exchange is over, and another may follow."""
        self._rested_at = trio.current_time()

    @property
    def is_spent(self) -> bool:
        """True if the connection has rested for too long, or something of the upstream's waits: at best its end."""
        rested = trio.current_time() - (self._rested_at or 0.0)
        return rested > self._idle_seconds or has_unread(self._stream)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        if self._begins:
            self._begins, self._held = False, buffer
            return
        data, self._held = self._held + buffer, b""
        if not data:
            return
        if self._to_look_at:
            self._to_look_at = False
            if self.is_spent:
                await self._reopen()
            else:
                self._sent, self._sent_before = b"", sent_bytes(self._stream, 0)
        if self._sent is not None:
            self._sent = self._sent + data if len(self._sent + data) <= MAX_KEPT_BYTES else None
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if self._held:
            await self.write(b"")
        try:
            data = await self._stream.receive_some(self._read_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
                raise TlsBrokeError(tls_trouble(cause)) from error
            raise httpcore.ReadError(str(error)) from error
        sent, self._sent = self._sent, None
        if not data and sent and self._is_unread(sent):
            # Now the kernel no longer tries to deliver it: an upstream that still reads must not get it twice.
            linger = struct.pack("ii", 1, 0)
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await self._reopen()
            await self.write(sent)
            return await self.read(max_bytes)
        if self._read_bytes // 2 < len(data) and self._read_bytes < MAX_READ_BYTES:
            self._read_bytes *= 2
        return bytes(data)

    def _is_unread(self, sent: bytes) -> bool:
        """True if TCP knows that the other side had none of the request when it ended the connection."""
        on_wire = sent_bytes(self._stream, len(sent)) - self._sent_before
        return unacknowledged(self._stream.socket) == on_wire

    async def _reopen(self) -> None:
        """Go on with a new connection."""
        await self.aclose()
        self._stream = await self._open()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def has_unread(stream: Stream) -> bool:
    """True if something of the upstream's waits: its end, or bytes that belong to no answer."""
    if stream.socket.is_readable():
        return True
    return isinstance(stream, TlsStream) and (stream.has_ended or stream.holds_unread)


def sent_bytes(stream: Stream, plain: int) -> int:
    """How many bytes have been sent, as TCP counts them: without TLS, those that the caller has counted."""
    return stream.sent_bytes if isinstance(stream, TlsStream) else plain


def unacknowledged(end: trio.socket.SocketType) -> int:
    """How many of the bytes that were sent the other side has not got, as far as this side knows; -1 if unknown."""
    with suppress(OSError):
        (count,) = struct.unpack("i", fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, bytes(4)))
        return int(count)
    return -1
