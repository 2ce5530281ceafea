"""One client's socket: reads, writes with a deadline, and notices that the client has gone."""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
from contextlib import suppress

import trio
from hypercorn.utils import parse_socket_addr

MAX_RECV_BYTES = 64 * 1024

MAX_UNREAD_BYTES = 64 * 1024
"""How many bytes may wait in the kernel behind an unanswered request; as many are read ahead."""

SO_MEMINFO = 55  # linux/include/uapi/asm-generic/socket.h; its first value: unread bytes
CLOSE_WAIT, CLOSE = 8, 7  # of `tcpi_state`, linux/include/net/tcp_states.h
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # of SO_LINGER: close() sends RST


class ClientGoneError(Exception):
    """The client has ended its side of the connection, which counts as leaving."""


class ClientSocket:
    """The socket of an accepted connection."""

    def __init__(self, stream: trio.SocketStream, write_seconds: float) -> None:
        self.write_deadline = math.inf
        """When the client must have taken the bytes that are being written."""
        self._stream = stream
        self._write_seconds = write_seconds
        self._write_lock = trio.Lock()
        self._busy = True  # nobody reads, because the gate is at work
        self._full = False  # nobody reads, because enough bytes wait behind an unanswered request
        self._seen_gone = False

    def addresses(self) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """The client's end, and ours. Raises OSError if the client has vanished."""
        sock = self._stream.socket
        return (
            parse_socket_addr(sock.family, sock.getpeername()),
            parse_socket_addr(sock.family, sock.getsockname()),
        )

    async def read(self) -> bytes:
        """The next bytes; empty at their end. Raises ClientGoneError if the connection is broken."""
        self._busy = False
        try:
            return await self._stream.receive_some(MAX_RECV_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGoneError from None
        finally:
            self._busy = True

    async def leave_unread(self) -> None:
        """Read no more until cancelled: enough bytes wait."""
        self._full = True
        try:
            await trio.sleep_forever()
        finally:
            self._full = False

    async def write(self, data: bytes | memoryview) -> None:
        """Send `data`, after a write under way. The client's time starts anew with each piece that the kernel takes."""
        try:
            self._write_lock.acquire_nowait()  # far cheaper than acquire(), and nearly always enough
        except trio.WouldBlock:
            await self._write_lock.acquire()
        try:
            while data:
                self.write_deadline = trio.current_time() + self._write_seconds
                sent = await self._stream.socket.send(data)
                data = memoryview(data)[sent:] if sent < len(data) else b""
        finally:
            self.write_deadline = math.inf
            self._write_lock.release()

    async def end_writing(self) -> None:
        """Say that nothing more will come, after a write under way."""
        async with self._write_lock:
            await self._stream.send_eof()

    def write_at_once(self, data: bytes) -> None:
        """Send `data` as far as the kernel takes it now, for a connection that is then closed."""
        with suppress(OSError):
            descriptor = self._stream.socket.fileno()
            os.write(descriptor, data)
            os.read(descriptor, MAX_RECV_BYTES)  # unread bytes would cause a reset

    def close(self, *, reset: bool = False) -> None:
        """Close the socket, with `reset` by RST."""
        if reset:
            with suppress(OSError):
                self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._stream.socket.close()

    def has_unread(self) -> bool:
        """True if bytes have arrived that nobody has read."""
        return self._stream.socket.is_readable()

    def client_is_gone(self) -> bool:
        """True if the client has closed its side at two looks in a row, while nobody reads.

        The kernel tells it. Once its buffer is full, the kernel cannot tell either, so a client that
        sends that much behind an unanswered request counts as gone.
        """
        sock = self._stream.socket
        behind = self._full and has_much_unread(sock)
        gone = behind or (self._busy and tcp_state(sock) in (CLOSE_WAIT, CLOSE))
        seen_before, self._seen_gone = self._seen_gone, gone
        return gone and seen_before


def has_much_unread(sock: trio.socket.SocketType) -> bool:
    """True if the kernel holds MAX_UNREAD_BYTES or more unread bytes; False if it does not tell."""
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4)
    except OSError:
        return False
    return int.from_bytes(memory, sys.byteorder) >= MAX_UNREAD_BYTES


def tcp_state(sock: trio.socket.SocketType) -> int:
    """The kernel's state of a TCP connection; 0 if it does not tell."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, AttributeError):
        return 0
