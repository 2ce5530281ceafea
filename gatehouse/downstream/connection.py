"""One client's connection: HTTP/1.1 with h11, from its first byte to its last.

A connection is one task. It speaks HTTP/1.1 and nothing else, and *pulls*: between two requests the
connection itself reads the socket, and within one the application does, through `receive`.
Back-pressure is therefore the kernel's. A fault in a connection ends there. A connection has a
deadline whenever it waits for the other side; `gatehouse/downstream/serve.py` checks the deadlines.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import h11
import trio
from hypercorn.utils import parse_socket_addr

from gatehouse.downstream.incoming import Incoming
from gatehouse.errors import without_text
from gatehouse.http import refusals
from gatehouse.http.address import client_address
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIReceiveEvent,
        ASGISendEvent,
        ConnectionState,
        HTTPResponseStartEvent,
        HTTPScope,
    )

    from gatehouse.downstream.serve import GateConfig
    from gatehouse.http.refusals import Reply

logger = logger_of("gate.connections")

MAX_RECV = 64 * 1024
LINGER_SECONDS = 2.0
"""How long we still read a connection that we have ended: unread input would cause a reset before
the client has read our last words (RFC 9112 section 9.6)."""

SWEEP_SECONDS = 1.0
"""How often deadlines are checked: one task for all connections instead of a timer in each."""

ANSWER_SECONDS = 0.0005
"""About how long it takes to read and answer a request that shows no good token."""

OVERFLOW = 64
"""How many connections over the limit are told so; any more are closed without a word."""

MAX_PIPELINED = 64 * 1024
"""How many bytes may wait behind an unanswered request: read ahead, and as many again in the kernel."""

SO_MEMINFO = 55  # linux/include/uapi/asm-generic/socket.h; its first value: unread bytes
CLOSE_WAIT, CLOSE = 8, 7  # of `tcpi_state`, linux/include/net/tcp_states.h

HOLD_HEAD = "gate.hold_head"
"""In a scope's `state`: call it before `http.response.start` if the first of the body follows at once.
Both then leave in one packet. A server of the gate may leave it out."""

PROVEN = "gate.proven"
"""In a scope's `state`, and optional, too: call it with the name of the good token that the request has
shown. False if that name holds as many connections as it may."""

# The client has said its last word: bytes after a request that closes its connection are ignored
# (RFC 9112 section 9.6), and after a syntax error no message can be told from the next.
FINISHED = (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)


class ClientGoneError(Exception):
    """The client has ended its side of the connection, which counts as leaving."""


class Connection:
    """One accepted connection, from its first byte to its last."""

    def __init__(
        self,
        app: Any,
        config: GateConfig,
        state: ConnectionState,
        stream: trio.SocketStream,
    ) -> None:
        self.app = app
        self.config = config
        self.state = state
        self.stream = stream
        self.deadline = trio.current_time() + config.header_timeout
        """When the client must have done what we wait for; infinite while the gate is at work."""
        self.write_deadline = math.inf
        """When the client must have taken the bytes that are being written."""
        self.resting = False
        """True if no request is under way, or about to come: a connection is made to send one."""
        self.proven = False
        """True if its last request has shown a good token: such connections go before all others."""
        self._http = h11.Connection(h11.SERVER, config.h11_max_incomplete_size)
        self._incoming = Incoming(self._http, config.max_lines, config.share)
        self._scope = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._requests = 0
        self._busy = True  # nobody reads, because the gate is at work
        self._full = False  # nobody reads, because enough bytes wait behind an unanswered request
        self._seen_gone = False
        self._client: tuple[str, int] | None = None
        # Of the exchange under way:
        self._request: h11.Request | None = None
        self._to_head = False
        self._request_read = False
        self._ends_with_connection = False  # the response has neither length nor chunks
        self._hold = False
        self._held = b""

    @property
    def peer(self) -> str:
        """The address at the other end."""
        return self._client[0] if self._client else "unknown"

    def cut(self) -> None:
        """End everything about this connection."""
        self._scope.cancel()

    def give_up(self) -> None:
        """End the connection, because another one needs its place."""
        self.config.ends.ended("given-up", self._client_address() or self.peer)
        if self._http.our_state is h11.IDLE and not self.resting:  # a request is on its way
            with suppress(OSError):  # as far as it goes at once
                descriptor = self.stream.socket.fileno()
                os.write(descriptor, raw(refusals.TOO_MANY_CONNECTIONS))
                os.read(descriptor, MAX_RECV)  # unread bytes would cause a reset
        self.cut()

    def cut_if_late(self, now: float) -> None:
        """End the connection if its deadline is over, or its client has gone unnoticed."""
        if self._scope.cancel_called:
            return
        if now > self.write_deadline:
            self.config.ends.ended("write-late", self.peer)
        elif now > self.deadline:
            if self._http.our_state is h11.IDLE and not self.resting:
                self.config.ends.ended("head-late", self.peer)
        elif not self.client_is_gone():
            return
        self.cut()

    def has_unread(self) -> bool:
        """True if bytes have arrived that nobody has read."""
        return self.stream.socket.is_readable()

    def client_is_gone(self) -> bool:
        """True if the client has closed its side at two looks in a row, while nobody reads.

        The kernel tells it. Once its buffer is full, the kernel cannot tell either, so a client that
        sends that much behind an unanswered request counts as gone.
        """
        socket = self.stream.socket
        behind = self._full and has_much_unread(socket)
        gone = behind or (self._busy and tcp_state(socket) in (CLOSE_WAIT, CLOSE))
        seen_before, self._seen_gone = self._seen_gone, gone
        return gone and seen_before

    async def run(self) -> None:
        """Serve the connection; never raises, whatever happens in it."""
        try:
            with self._scope:
                sock = self.stream.socket
                self._client = parse_socket_addr(sock.family, sock.getpeername())
                self._server = parse_socket_addr(sock.family, sock.getsockname())
                if self.config.places.enter(self, "" if self.config.hops else self.peer):
                    await self._serve()
                else:
                    await self._turn_away()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer vanished
        except* Exception as group:  # noqa: BLE001 - a fault in one connection ends no other
            self._fail(group)
        finally:
            if self._would_look_whole:
                linger = struct.pack("ii", 1, 0)  # close() then sends RST
                with suppress(OSError):
                    self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.stream.socket.close()

    def _fail(self, error: Exception) -> None:
        if not self._scope.cancel_called:  # else the end of the connection caused it
            self.config.failures += 1
            logger.error("a connection ended by: %s", without_text(error))

    async def _serve(self) -> None:
        self.config.connections.add(self)
        try:
            with suppress(ClientGoneError):
                while await self._exchange() and await self._recycled():
                    self._rest()
                if not self._would_look_whole:
                    await self._end()
        finally:
            self.config.places.leave(self)
            self.config.connections.discard(self)

    async def _turn_away(self) -> None:
        self.config.ends.ended("turned-away", self.peer)
        if self.config.turned_away >= OVERFLOW:
            return
        self.config.turned_away += 1
        try:
            with suppress(trio.BrokenResourceError), trio.move_on_after(LINGER_SECONDS):
                await self.stream.receive_some(MAX_RECV)
                await self.stream.send_all(raw(refusals.TOO_MANY_CONNECTIONS))
                await self.stream.send_eof()
        finally:
            self.config.turned_away -= 1

    # One request and its response.

    async def _exchange(self) -> bool:
        """Read a request and let the application answer it. False if no request came.

        Raises ClientGoneError if the client sends no more requests.
        """
        try:
            request = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        if not isinstance(request, h11.Request):
            return False
        self.deadline = math.inf
        self._requests += 1
        if self.proven:
            self._incoming.begin()
        self._request = request
        self.proven = False
        self._to_head = request.method == b"HEAD"
        self._request_read = False
        self._ends_with_connection = False
        await self.app(self._scope_for(request), self._receive, self._send)
        if self._held:  # the body that should have followed did not come
            await self._write(b"")
        return True

    def _scope_for(self, request: h11.Request) -> HTTPScope:
        """The ASGI scope: the method as it was sent, and HTTP whatever `Upgrade` says."""
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "http_version": request.http_version.decode("ascii"),
            "method": cast("Any", request.method.decode("ascii")),
            "scheme": "http",  # TLS is the business of the front
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": request.headers.raw_items(),
            "client": self._client,
            "server": self._server,
            "state": cast("Any", {**self.state, HOLD_HEAD: self._hold_head, PROVEN: self._prove}),
            "extensions": {},
        }

    async def _receive(self) -> ASGIReceiveEvent:
        """ASGI's `receive`: the next part of the body, or the client's leaving. For one task at a time."""
        http = self._http
        try:
            if self._request_read:
                await self._wait_for_end()
            if http.they_are_waiting_for_100_continue:
                await self._write(
                    http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                )
            body = await self._body()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return {"type": "http.disconnect"}
        except ClientGoneError:
            # The application is told; but one that is waiting for its upstream does not listen.
            self.deadline = trio.current_time() + SWEEP_SECONDS
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": not self._request_read}

    async def _body(self) -> bytes:
        """The next part of the body: all pieces that have arrived, as one. Notes its end."""
        incoming = self._incoming
        event = await self._next_event()
        pieces = []
        size = 0
        while isinstance(event, h11.Data):
            pieces.append(event.data)
            size += len(event.data)
            if size >= MAX_RECV or incoming.due:
                break
            event = incoming.event()
        self._request_read = isinstance(event, h11.EndOfMessage)
        return b"".join(pieces)

    async def _send(self, message: ASGISendEvent) -> None:
        """ASGI's `send`."""
        http = self._http
        try:
            if message["type"] == "http.response.start":
                if not self.proven and self._requests > 1:
                    await self.config.share.turn(ANSWER_SECONDS)
                data = http.send(self._response(message)) or b""
                if self._hold:
                    self._held, data = data, b""
            elif message["type"] == "http.response.body":
                body = message.get("body", b"")
                data = http.send(h11.Data(data=body)) or b"" if body else b""
                if not message.get("more_body", False):
                    data += http.send(h11.EndOfMessage()) or b""
            else:
                raise ValueError(f"no message of HTTP: {message['type']}")
        except h11.LocalProtocolError:
            if http.their_state is not h11.ERROR and http.our_state is not h11.ERROR:
                raise
            return  # the client has been refused meanwhile
        if data:
            self._hold = False
            await self._write(data)

    def _response(self, message: HTTPResponseStartEvent) -> h11.Response:
        headers = list(message["headers"])
        names = {name.lower() for name, _ in headers}
        last = self._requests >= self.config.keep_alive_max_requests
        if b"connection" not in names and (last or self.config.closing):
            headers.append(refusals.CLOSE_CONNECTION)
        framed = b"content-length" in names or b"transfer-encoding" in names
        self._ends_with_connection = not framed and self._http.their_http_version == b"1.0"
        status = message["status"]
        return h11.Response(status_code=status, headers=headers, reason=phrase(status))

    def _hold_head(self) -> None:
        """Let the next response's head wait for the first of its body, which the app has ready."""
        self._hold = True

    def _prove(self, name: str) -> bool:
        """The request has shown a good token of that name. False if the name holds too many places."""
        self.proven = self.config.places.prove(self, name)
        return self.proven

    def _client_address(self) -> str:
        """The client address of its last request; empty if there is a front that did not tell it."""
        hops = self.config.hops
        if not hops or self._request is None:
            return self.peer
        address = client_address(self.peer, self._request.headers, hops)
        return "" if address == self.peer else address

    async def _recycled(self) -> bool:
        """After an exchange, get ready for the next one. False if the connection has to end."""
        http, incoming = self._http, self._incoming
        if http.our_state is not h11.DONE or self.config.closing:
            return False
        with suppress(h11.RemoteProtocolError):
            while (
                http.their_state is h11.SEND_BODY
            ):  # the rest may be there, and nobody has read it
                if incoming.due:
                    await incoming.pause()
                if incoming.event() is h11.NEED_DATA:
                    return False
        if http.their_state is not h11.DONE:
            return False
        incoming.recycle()
        return True

    def _rest(self) -> None:
        """Set the deadline for the next head, which may have begun to come in."""
        self.resting = not self._incoming.unread
        config = self.config
        allowed = config.keep_alive_timeout if self.resting else config.header_timeout
        self.deadline = trio.current_time() + allowed
        if not self.proven:
            config.places.unprove(self, self._client_address())
        if self.resting:
            config.places.rests(self)

    async def _refuse(self, status: int) -> None:
        """Answer a request that is no HTTP, if the client can still be answered."""
        http = self._http
        if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.config.ends.ended("garbled", self.peer)
            # An answer is under way: the application learns that nothing more will come, and ends or
            # cuts it.
            return
        if (
            status == 431
            and http.our_state is h11.IDLE
            and b"\n" not in http.trailing_data[0][: self.config.max_target]
        ):
            status = 414  # the buffer is full of a request line
        http.send_failed()  # the application may still be at work, and must add nothing
        reply = refusals.malformed(status)
        self.config.ends.refused(reply.status, reply.reason, self.peer)
        await self._write(raw(reply, to_head=self._to_head))

    # The socket.

    @property
    def _would_look_whole(self) -> bool:
        """True if the end of the connection would make the response under way look whole."""
        return self._ends_with_connection and self._http.our_state is h11.SEND_BODY

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The client's next event. Raises RemoteProtocolError or ClientGoneError."""
        incoming = self._incoming
        while True:
            if incoming.due:
                await incoming.pause()
            if (event := incoming.event()) is not h11.NEED_DATA:
                return event
            incoming.add(await self._read())

    async def _wait_for_end(self) -> None:
        """Raise ClientGoneError when the client leaves, and keep the bytes that it sends before."""
        while True:
            if self._incoming.unread >= MAX_PIPELINED:
                self._full = True
                try:
                    await trio.sleep_forever()  # the sweeper sees it leave
                finally:
                    self._full = False
            data = await self._read()
            if self._http.their_state not in FINISHED:
                self._incoming.add(data)

    async def _read(self) -> bytes:
        """The next bytes. Raises ClientGoneError at their end."""
        if self._incoming.costly:  # then more of it is there at the next turn
            await self._incoming.pause()
        self._busy = False
        try:
            data = await self.stream.receive_some(MAX_RECV)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGoneError from None
        finally:
            self._busy = True
        if not self.proven:  # thousands may come at once, or leave
            newcomer = not self._requests and not self._incoming.unread
            try:
                await self.config.crowd.turn(newcomer=newcomer)
            except trio.Cancelled:
                self._incoming.add(data)
                raise
        if not data:
            raise ClientGoneError
        if self.resting:
            self.resting = False
            self.config.places.begins(self)
            self.deadline = trio.current_time() + self.config.header_timeout
        return data

    async def _write(self, data: bytes) -> None:
        """Send the bytes held back, and `data`. The application gets no errors, since they are not its fault."""
        data, self._held = self._held + data, b""
        if not data or self._scope.cancel_called:  # the end of a message with a length is no byte
            return
        try:
            try:
                self._send_lock.acquire_nowait()  # far cheaper than acquire(), and nearly always enough
            except trio.WouldBlock:
                await self._send_lock.acquire()
            try:
                await self._send_all(data)
            finally:
                self.write_deadline = math.inf
                self._send_lock.release()
        except (OSError, trio.ClosedResourceError):
            self.cut()
        except trio.Cancelled:
            self.cut()  # half of it may be out, so nothing can follow
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)
            self.cut()

    async def _send_all(self, data: bytes) -> None:
        """Send `data`; the client's time starts anew with each piece that the kernel takes."""
        rest = memoryview(data)
        while rest:
            self.write_deadline = trio.current_time() + self.config.write_timeout
            rest = rest[await self.stream.socket.send(rest) :]

    async def _end(self) -> None:
        """Say that nothing more will come, and drop the client's further input. Raises ClientGoneError."""
        self.deadline = trio.current_time() + LINGER_SECONDS
        async with self._send_lock:  # after a write under way, not in the middle of it
            await self.stream.send_eof()
        self._incoming.close()
        while True:
            self._incoming.add(await self._read())


def phrase(status: int) -> bytes:
    """The reason phrase of a status, or nothing."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def raw(reply: Reply, *, to_head: bool = False) -> bytes:
    """A reply as bytes, for a client with which h11 has nothing more to do."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, phrase(reply.status))]
    lines += [b": ".join(pair) for pair in reply.fields()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if to_head else reply.body)


def has_much_unread(sock: trio.socket.SocketType) -> bool:
    """True if the kernel holds MAX_PIPELINED or more unread bytes; False if it does not tell."""
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4)
    except OSError:
        return False
    return int.from_bytes(memory, sys.byteorder) >= MAX_PIPELINED


def tcp_state(sock: trio.socket.SocketType) -> int:
    """The kernel's state of a TCP connection; 0 if it does not tell."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, AttributeError):
        return 0
