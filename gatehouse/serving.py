"""How the gate is served: Hypercorn's Trio worker, with every connection made safe.

Hypercorn 0.18 (pinned exactly; its last release is of November 2025) has faults that one unauthenticated
connection can use: most errors leave the connection's task and end the whole process, and HTTP/2 and
WebSockets, through which most of them come, cannot be switched off. So this module, and no other, puts
two classes of ours in the place of Hypercorn's:

- `Connection` for `TCPServer`, which owns a socket. What goes wrong in it ends there. It has a deadline
  whenever it waits for the other side, and there are only so many at a time.
- `Http1` for `H11Protocol`, which turns bytes into ASGI. It speaks HTTP/1.1 and nothing else.

Both use private names of Hypercorn; `tests/test_serving.py` fails when one of them changes.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import h11
import hypercorn.trio
import hypercorn.trio.run
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.utils import parse_socket_addr

from gatehouse import replies
from gatehouse.logs import without_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import AppWrapper, ConnectionState, H11SendableEvent, LifespanState

    from gatehouse.replies import Reply

logger = logging.getLogger("gate.connections")

MAX_RECV = 64 * 1024
LINGER_SECONDS = 2.0
"""How long a connection that we have ended is still read, so that the client gets to read our last
words before unread input turns them into a reset (RFC 9112 section 9.6)."""

SWEEP_SECONDS = 1.0
"""How often deadlines are looked at: one task for all connections instead of a timer in each."""

OVERFLOW = 64
"""So many connections over the limit are told so; what comes beyond them is closed without a word."""

MAX_PIPELINED = 64 * 1024
"""What may wait behind an unanswered request, beyond the 64 KiB that have been read already."""

SO_MEMINFO = 55  # linux/include/uapi/asm-generic/socket.h; first of what it tells: unread bytes
CLOSE_WAIT, CLOSE = 8, 7  # of `tcpi_state`, linux/include/net/tcp_states.h

HOLD_HEAD = "gate.hold_head"
"""In a scope's `state`: call it before `http.response.start` if the first of the body follows at once.
Both then leave in one packet. Whoever serves the gate may leave it out."""

# The client has said its last word: what follows a request that closes its connection is nobody's
# (RFC 9112 section 9.6), and after a syntax error nothing can be told apart any more.
FINISHED = (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)


class GateConfig(Config):
    """Hypercorn's configuration, and the limits and the register of connections that go with ours.

    The limits have no defaults here: `Settings` has them. Times are in seconds. `keep_alive_timeout` is Hypercorn's own setting: what a connection may rest
    between two requests.
    """

    max_connections: int
    header_timeout: float
    write_timeout: float
    max_target: int

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.turned_away = 0
        """How many connections over the limit are being told so."""
        self.failures = 0
        """How many connections ended by an error that nobody foresaw."""


@dataclass(frozen=True)
class Reset(Event):
    """End the connection at once, in a way that cannot be taken for the end of a response."""


async def serve(
    app: Any,
    config: GateConfig,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Hypercorn's `serve`, with connections that are swept, and at the end closed at once if resting."""

    async def trigger() -> None:
        await shutdown_trigger()
        for connection in config.connections:
            if connection.resting:
                connection.cut()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep, config)
        await hypercorn.trio.serve(
            app, config, shutdown_trigger=trigger, task_status=task_status, mode="asgi"
        )
        nursery.cancel_scope.cancel()


async def sweep(config: GateConfig) -> None:
    """Cut the connections whose deadline is over, or whose client has gone unnoticed."""
    while True:
        await trio.sleep(SWEEP_SECONDS)
        now = trio.current_time()
        for connection in config.connections:
            if (
                now > min(connection.deadline, connection.write_deadline)
                or connection.client_is_gone()
            ):
                connection.cut()


class Connection:
    """One accepted connection, from its first byte to its last: in the place of `TCPServer`."""

    def __init__(
        self,
        app: AppWrapper,
        config: GateConfig,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        self.app = app
        self.config = config
        self.context = context
        self.state = state
        self.stream = stream
        self.deadline = trio.current_time() + config.header_timeout
        """When the client must have done what we wait for; infinite while the gate has the word."""
        self.write_deadline = math.inf
        """When it must have taken what is being written."""
        self.protocol: Http1 | None = None
        self._scope = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._ended = False  # by us: what still comes in is dropped
        self._head_began = True
        self._busy = False  # the reader is waiting for the gate, not for the client
        self._seen_gone = False

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    @property
    def resting(self) -> bool:
        """Whether no request is under way, nor may be on its way: a connection is made to send one."""
        return self.protocol is not None and self.protocol.stream is None and not self._head_began

    def cut(self) -> None:
        """End everything about this connection."""
        self._scope.cancel()

    def client_is_gone(self) -> bool:
        """Whether the client has closed its side, seen at two looks in a row, while nobody reads.

        The reader cannot see it while it waits: for the upstream to take more, or for the answer to
        one request before it looks at the next. So the kernel is asked. It cannot know either once its
        buffer is full, so whoever sends that much behind an unanswered request counts as gone.
        """
        socket = self.stream.socket
        behind = self.protocol is not None and self.protocol.waiting and has_much_unread(socket)
        gone = behind or (self._busy and tcp_state(socket) in (CLOSE_WAIT, CLOSE))
        seen_before, self._seen_gone = self._seen_gone, gone
        return gone and seen_before

    async def run(self) -> None:
        """Serve the connection; never raises, whatever happens in it."""
        try:
            with self._scope:
                if len(self.config.connections) < self.config.max_connections:
                    await self._serve()
                elif self.config.turned_away < OVERFLOW:
                    await self._turn_away()
        except* OSError:
            pass  # the peer vanished
        except* Exception as group:  # noqa: BLE001 - a fault in one connection ends no other
            self._fail(group)
        finally:
            if self.protocol is not None and self.protocol.would_look_whole:
                linger = struct.pack("ii", 1, 0)  # close() then sends RST
                with suppress(OSError):
                    self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await trio.aclose_forcefully(self.stream)

    def _fail(self, error: Exception) -> None:
        if not self._scope.cancel_called:  # else it follows from what has ended the connection
            self.config.failures += 1
            logger.error("a connection ended by: %s", without_text(error))
            self.cut()

    async def _serve(self) -> None:
        socket = self.stream.socket
        client = parse_socket_addr(socket.family, socket.getpeername())
        server = parse_socket_addr(socket.family, socket.getsockname())
        self.config.connections.add(self)
        try:
            async with TaskGroup() as group:
                self.protocol = Http1(
                    self.app,
                    self.config,
                    self.context,
                    group,
                    cast("ConnectionState", self.state),
                    False,  # no TLS: that is the business of the front
                    client,
                    server,
                    self._handle,
                )
                await self._read(self.protocol)
        finally:
            self.config.connections.discard(self)

    async def _turn_away(self) -> None:
        self.config.turned_away += 1
        try:
            with suppress(trio.BrokenResourceError), trio.move_on_after(LINGER_SECONDS):
                await self.stream.receive_some(MAX_RECV)
                await self.stream.send_all(raw(replies.TOO_MANY_CONNECTIONS))
                await self.stream.send_eof()
        finally:
            self.config.turned_away -= 1

    async def _read(self, protocol: Http1) -> None:
        """Feed the protocol until the client ends its side, which counts as leaving."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self.stream.receive_some(MAX_RECV):
                if self._ended:
                    continue
                if protocol.stream is None and not self._head_began:
                    self._head_began = True
                    self.deadline = trio.current_time() + self.config.header_timeout
                self._busy = True
                await protocol.handle(RawData(bytes(data)))
                self._busy = False
        # The application is told; but one that is waiting for its upstream does not listen.
        self.deadline = trio.current_time() + SWEEP_SECONDS
        await protocol.handle(Closed())

    async def _handle(self, event: Event) -> None:
        """What the protocol wants, which is not the application's fault if it fails."""
        try:
            if not self._scope.cancel_called:
                await self._obey(event)
        except OSError:
            self.cut()  # the peer vanished
        except Exception as error:  # noqa: BLE001 - the application could not end the connection
            self._fail(error)

    async def _obey(self, event: Event) -> None:
        """Send bytes, end the connection, or change its deadline."""
        if isinstance(event, RawData):
            if event.data:  # the end of a message with a length is no byte at all
                await self._write(event.data)
        elif isinstance(event, Updated):
            self._update(idle=event.idle)
        elif isinstance(event, Reset):
            self.cut()
        elif isinstance(event, Closed):
            self._ended = True
            self.deadline = trio.current_time() + LINGER_SECONDS
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with self._send_lock:  # behind what is being written, not across it
                    await self.stream.send_eof()

    def _update(self, *, idle: bool) -> None:
        config = self.config
        # The next head may have begun to come in behind the request that is now answered.
        self._head_began = idle and self.protocol is not None and self.protocol.has_unread
        rest = config.header_timeout if self._head_began else config.keep_alive_timeout
        self.deadline = trio.current_time() + rest if idle else math.inf

    async def _write(self, data: bytes) -> None:
        # Not shielded, as Hypercorn's is: a client that reads nothing would hold up the exit for ever.
        try:
            try:
                self._send_lock.acquire_nowait()  # far cheaper than acquire(), and nearly always enough
            except trio.WouldBlock:
                await self._send_lock.acquire()
            try:
                self.write_deadline = trio.current_time() + self.config.write_timeout
                await self.stream.send_all(data)
            finally:
                self.write_deadline = math.inf
                self._send_lock.release()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.cut()
        except trio.Cancelled:
            self.cut()  # half of it may be out, so nothing can follow
            raise


class Http1(H11Protocol):
    """HTTP/1.1 and nothing else: an Upgrade, or HTTP/2's preface, is a request like any other."""

    config: GateConfig
    connection: h11.Connection

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.waiting = False
        """Whether the next request has begun to come in, and waits for the answer to the last one."""
        self._over = False
        self._hold = False
        self._held = b""
        self._ends_with_connection = False  # the response has neither length nor chunks

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come in that are no whole request yet."""
        return bool(self.connection.trailing_data[0])

    @property
    def would_look_whole(self) -> bool:
        """Whether a response is under way that the end of the connection would end as if it were whole."""
        return self._ends_with_connection and self.connection.our_state is h11.SEND_BODY

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self.connection.their_state in FINISHED:
            return
        await super().handle(event)

    async def _handle_events(self) -> None:
        """Turn what has come in into ASGI. Unlike Hypercorn's, it stops where the client did."""
        connection = self.connection
        while not self._over and connection.their_state not in FINISHED:
            if connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif event is h11.PAUSED:
                self.waiting = True
                await self.can_read.clear()
                await self.can_read.wait()
                self.waiting = False
            elif self.stream is None or not isinstance(event, h11.Data | h11.EndOfMessage):
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            else:
                await self.stream.handle(EndBody(stream_id=STREAM_ID))

    async def _create_stream(self, request: h11.Request) -> None:
        """Always HTTP, whatever `Upgrade` says; and the method as it was sent, not in upper case."""
        stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.stream = stream
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=request.headers.raw_items(),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=cast("ConnectionState", {**self.connection_state, HOLD_HEAD: self.hold_head}),
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    def hold_head(self) -> None:
        """Let the next response's head wait for the first of its body, which the app has ready."""
        self._hold = True

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if self._hold and isinstance(event, h11.Response):
            self._held = data
            return
        self._hold = False
        data, self._held = self._held + data, b""
        await self.send(RawData(data))

    async def stream_send(self, event: StreamEvent) -> None:
        if not isinstance(event, Response):
            await super().stream_send(event)
            return
        headers = list(event.headers)
        last = self.keep_alive_requests >= self.config.keep_alive_max_requests
        names = {name.lower() for name, _ in headers}
        if b"connection" not in names and (last or self.context.terminated.is_set()):
            headers.append(replies.CLOSE_CONNECTION)
        lengths = {b"content-length", b"transfer-encoding"} & names
        self._ends_with_connection = not lengths and self.connection.their_http_version == b"1.0"
        await self._send_h11_event(
            h11.Response(
                status_code=event.status_code, headers=headers, reason=phrase(event.status_code)
            )
        )

    async def _refuse(self, status: int) -> None:
        """Answer what is no HTTP, if the client can still be answered, and end the connection."""
        connection, stream = self.connection, self.stream
        self._over = True
        if connection.our_state is h11.SEND_BODY and isinstance(stream, HTTPStream):
            # An answer is under way. Who makes it learns that nothing more will come, and ends it or
            # cuts it; `_maybe_recycle` then ends the connection.
            await stream.app_put({"type": "http.disconnect"})
            return
        if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            if (
                status == 431
                and connection.our_state is h11.IDLE
                and b"\n" not in connection.trailing_data[0][: self.config.max_target]
            ):
                status = 414  # the buffer is full of a request line
            connection.send_failed()  # the application may still be at work, and must add nothing
            to_head = isinstance(stream, HTTPStream) and stream.scope["method"] == "HEAD"
            await self.send(RawData(raw(replies.malformed(status), to_head=to_head)))
        await self.send(Closed())
        await self._close_stream()

    async def _maybe_recycle(self) -> None:
        """After a response: make ready for the next request, or end the connection."""
        await self._close_stream()
        connection = self.connection
        if self._held:  # the body that should have followed did not come
            held, self._held = self._held, b""
            await self.send(RawData(held))
        done = connection.our_state is h11.DONE and connection.their_state is h11.DONE
        if done and not self.context.terminated.is_set():
            connection.start_next_cycle()
            await self.send(Updated(idle=True))
            await self.can_read.set()
            return
        self._over = True
        await self.can_read.set()
        await self.send(Reset() if self.would_look_whole else Closed())


def phrase(status: int) -> bytes:
    """The reason phrase that belongs to a status, or nothing."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def raw(reply: Reply, *, to_head: bool = False) -> bytes:
    """A reply as bytes, for a client that no protocol speaks to any more."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, phrase(reply.status))]
    lines += [b": ".join(pair) for pair in reply.fields()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if to_head else reply.body)


def has_much_unread(sock: trio.socket.SocketType) -> bool:
    """Whether the kernel holds MAX_PIPELINED or more that nobody has read; no where it does not tell."""
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4)
    except OSError:
        return False
    return int.from_bytes(memory, sys.byteorder) >= MAX_PIPELINED


def tcp_state(sock: trio.socket.SocketType) -> int:
    """The kernel's state of a TCP connection; 0 where it does not tell."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, AttributeError):
        return 0


setattr(hypercorn.trio.run, "TCPServer", Connection)  # noqa: B010 - there is no public way
