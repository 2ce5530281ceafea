"""A TCP connection for httpcore, with the sending of requests in our own hands.

httpcore writes a request's head and body one after the other. Here the head waits for what follows it, so that a small
request leaves in one packet and costs one system call.

Servers end connections that rest, at any moment. Three things keep requests from being lost with them:

-   A connection is used again only if it has rested for a short time.
-   It is looked at just before the first byte is sent, not when it is taken: the upstream may have ended it while the
    client's body was awaited. Nothing has been sent by then, so a new connection takes its place.
-   A request may still cross the upstream's end on its way. It is sent once more, on a new connection, only if TCP
    knows that the upstream had ended this one before any byte of the request came: then nobody has read it.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import httpcore
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[[], Awaitable[trio.SocketStream]]

FIRST_READ_BYTES, MAX_READ_BYTES = 64 * 1024, 256 * 1024
"""How much of an answer is read at a time: more once there is more, since each piece costs the same."""

MAX_KEPT_BYTES = 64 * 1024
"""A longer request is not kept to be sent once more. Almost all calls of tools are far shorter."""


class Wire(httpcore.AsyncNetworkStream):
    """A connection that may rest for `idle_seconds` between two exchanges; `open_stream` opens another like it.

    There are no timeouts: the callers decide how long to wait. Writing and reading may raise `open_stream`'s errors.
    """

    def __init__(self, stream: trio.SocketStream, open_stream: Open, idle_seconds: float) -> None:
        self._stream = stream
        self._open = open_stream
        self._idle_seconds = idle_seconds
        self._rested_at: float | None = None  # the last exchange was over; None before the first
        self._begins = False  # the next write is held
        self._held = b""
        self._to_look_at = False
        self._sent: bytes | None = None  # of a request that may cross the upstream's end
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
        return rested > self._idle_seconds or self._stream.socket.is_readable()

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
                self._sent = b""
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
            raise httpcore.ReadError(str(error)) from error
        sent, self._sent = self._sent, None
        if not data and sent and unacknowledged(self._stream.socket) == len(sent):
            # Now the kernel no longer tries to deliver it: an upstream that still reads must not get it twice.
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await self._reopen()
            await self.write(sent)
            return await self.read(max_bytes)
        if len(data) == self._read_bytes < MAX_READ_BYTES:
            self._read_bytes *= 2
        return bytes(data)

    async def _reopen(self) -> None:
        """Go on with a new connection."""
        await self.aclose()
        self._stream = await self._open()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def unacknowledged(end: trio.socket.SocketType) -> int:
    """How many of the bytes that were sent the other side has not got, as far as this side knows; -1 if unknown."""
    with suppress(OSError):
        (count,) = struct.unpack("i", fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, bytes(4)))
        return int(count)
    return -1
