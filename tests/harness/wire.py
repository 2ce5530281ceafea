"""HTTP/1.1 on raw sockets, for both sides of the gate: what was sent, byte for byte."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

SECONDS = 10.0
"""No test waits longer for a single thing."""


@dataclass(frozen=True)
class Head:
    """A start line and the header fields under it, as they stood on the wire."""

    raw: bytes

    @property
    def start_line(self) -> bytes:
        return self.raw.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.raw.split(b"\r\n")[1:-2]
        return [
            (name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]

    @property
    def status(self) -> int:
        return int(self.start_line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, f"{name!r} occurs {len(values)} times"
        return values[0] if values else None


class Peer:
    """One end of a connection that speaks HTTP/1.1 by hand."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        with trio.fail_after(SECONDS):
            await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """Whatever comes next; empty at the end of the connection."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        with trio.fail_after(SECONDS):
            return bytes(await self.stream.receive_some(65536))

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`. Raises EOFError if the connection ends before."""
        while mark not in self._buffer:
            with trio.fail_after(SECONDS):
                data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        end = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            with trio.fail_after(SECONDS):
                data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    async def head(self) -> Head:
        return Head(await self.until(b"\r\n\r\n"))

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its proper end (RFC 9112 section 7.1)."""
        size = int((await self.until(b"\r\n")).strip(), 16)
        data = await self.exactly(size)
        assert await self.exactly(2) == b"\r\n"
        return data

    async def body(self, head: Head) -> bytes:
        """The whole body that `head` announces. Raises EOFError if it is cut."""
        if head.get(b"transfer-encoding"):
            chunks = []
            while chunk := await self.chunk():
                chunks.append(chunk)
            return b"".join(chunks)
        return await self.exactly(int(head.get(b"content-length") or 0))

    async def closed(self) -> bool:
        """True if the other side has ended the connection, with nothing more to read."""
        try:
            return await self.receive() == b""
        except trio.BrokenResourceError:
            return True

    async def reset(self) -> None:
        """Leave as rudely as possible."""
        await trio.aclose_forcefully(self.stream)


class Upstream:
    """A scripted upstream on loopback: records every request head, then does what the test says."""

    def __init__(
        self,
        script: Callable[[Peer, Head], Awaitable[None]] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """With `tls`, it speaks that."""
        self.script = script or answer()
        self.tls = tls
        self.heads: list[Head] = []
        self.connections = 0
        """How many have come."""
        self.open = 0
        """How many of them are open."""
        self.port = 0
        self._scope = trio.CancelScope()
        self.gone = trio.Event()
        """Set when the gate has ended a connection while the script was running or reading."""

    @property
    def head(self) -> Head:
        """The only request that came."""
        (head,) = self.heads
        return head

    async def serve(
        self, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until `stop`, on the same port each time."""
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        with trio.CancelScope() as self._scope:
            await trio.serve_listeners(self._connection, [listener], task_status=task_status)

    async def stop(self) -> None:
        """Stop listening, and drop every connection."""
        self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _connection(self, tcp: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        stream: Stream = tcp
        if self.tls is not None:
            stream = trio.SSLStream(tcp, self.tls, server_side=True)
        peer = Peer(stream)
        with suppress(trio.ClosedResourceError):  # the script has closed what is under TLS
            await self._conversation(peer)
        self.open -= 1

    async def _conversation(self, peer: Peer) -> None:
        async with peer.stream:
            try:
                while True:
                    with trio.fail_after(60):  # a kept connection may rest
                        head = await peer.head()
                    self.heads.append(head)
                    await self.script(peer, head)
            except (
                EOFError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                trio.TooSlowError,
            ):
                self.gone.set()


def answer(
    body: bytes = b"{}", *fields: bytes, status: bytes = b"200 OK"
) -> Callable[[Peer, Head], Awaitable[None]]:
    """A script that reads the whole request and answers it with `body`."""

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
        await peer.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    return script


async def until_gone(peer: Peer) -> None:
    """Wait until the other side ends the connection. Raises EOFError then."""
    while await peer.receive():
        pass
    raise EOFError
