"""One client's connection: HTTP/1.1, from its first byte to its last.

A connection is one task. It speaks HTTP/1.1 and nothing else, and *pulls*: between two requests it reads the
socket itself, and within one the application does, through `receive`. Back-pressure is therefore the kernel's. A
fault in a connection ends there. While it waits for the other side it has a deadline, which `serve` checks.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.downstream.client_socket import ClientGoneError, ClientSocket
from gatehouse.downstream.connections import SWEEP_SECONDS
from gatehouse.downstream.http1 import BadRequestError, Http1, raw
from gatehouse.downstream.incoming import Incoming
from gatehouse.downstream.scope import HOLD_HEAD, NEEDS, PROVEN, http_scope
from gatehouse.errors import without_message
from gatehouse.http import refusals
from gatehouse.http.address import FORWARDED_FOR, client_address
from gatehouse.http.fields import values_of
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, ConnectionState

    from gatehouse.downstream.connections import Connections
    from gatehouse.downstream.http1 import RequestHead

logger = logger_of("gate.connections")

MAX_REQUESTS = 1000
"""After this many requests a connection ends: its memory is freed, and the clients of several gates spread anew."""

LINGER_SECONDS = 2.0
"""How long we still read a connection that we have ended: unread input would cause a reset before
the client has read our last words (RFC 9112 section 9.6)."""

ANSWER_SECONDS = 0.0005
"""About how long it takes to read and answer a request that shows no good token."""

MAX_TURNED_AWAY = 64
"""How many connections over the limit get a 503 at a time; any more are closed without a word."""


class Connection:
    """One accepted connection, from its first byte to its last."""

    def __init__(
        self, app: Any, common: Connections, state: ConnectionState, stream: trio.SocketStream
    ) -> None:
        self.app = app
        self.common = common
        """All that connections have in common."""
        self.state = state
        self.deadline = trio.current_time() + common.limits.header_seconds
        """When the client must have done what we wait for; infinite while the gate is at work."""
        self.resting = False
        """True if no request is under way, or about to come: a connection is made to send one."""
        self.client: tuple[str, int] | None = None
        """The address at the other end."""
        self._server: tuple[str, int] | None = None
        self._socket = ClientSocket(stream, common.limits.write_seconds)
        self._http = Http1(common.limits)
        self._incoming = Incoming(self._http, self._socket, share=common.share, crowd=common.crowd)
        self._scope = trio.CancelScope()
        self._head: RequestHead | None = None  # of the last request
        self._hold = False
        self._held = b""
        self._outlasts = False  # until the deadline, the exchange goes on without its client

    @property
    def peer(self) -> str:
        """The address at the other end, for logs."""
        return self.client[0] if self.client else "unknown"

    @property
    def proven(self) -> bool:
        """True if its last request has shown a good token."""
        return self._incoming.proven

    # Others end it.

    def cut(self) -> None:
        """End everything about this connection."""
        self._scope.cancel()

    def give_up(self) -> None:
        """End the connection, because another one needs its place."""
        self.common.ends.ended("given-up", self._client_address() or self.peer)
        if self._head_is_coming:
            self._socket.write_at_once(raw(refusals.TOO_MANY_CONNECTIONS))
        self.cut()

    def cut_if_late(self, now: float) -> None:
        """End the connection if its deadline is over, or its client has gone unnoticed."""
        if self._scope.cancel_called:
            return
        if now > self._socket.write_deadline:
            self.common.ends.ended("write-late", self.peer)
        elif now > self.deadline:
            if self._head_is_coming:
                self.common.ends.ended("head-late", self.peer)
        elif self._outlasts or not self._socket.client_is_gone():
            return
        self.cut()

    def has_unread(self) -> bool:
        """True if bytes have arrived that nobody has read."""
        return self._socket.has_unread()

    @property
    def _head_is_coming(self) -> bool:
        return self._http.awaits_request and not self.resting

    # Its life.

    async def run(self) -> None:
        """Serve the connection; never raises, whatever happens in it."""
        try:
            with self._scope:
                self.client, self._server = self._socket.addresses()
                if self.common.places.enter(self, "" if self.common.hops else self.peer):
                    await self._serve()
                else:
                    await self._turn_away()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer vanished
        except* Exception as group:  # noqa: BLE001 - a fault in one connection ends no other
            self._fail(group)
        finally:
            self._socket.close(reset=self._http.end_would_look_whole)

    def _fail(self, error: Exception) -> None:
        if not self._scope.cancel_called:  # else the end of the connection caused it
            self.common.failures += 1
            logger.error("a connection ended by: %s", without_message(error))

    async def _serve(self) -> None:
        self.common.open.add(self)
        try:
            with suppress(ClientGoneError):
                while await self._exchange() and not self.common.closing:
                    if not await self._incoming.recycled():
                        break
                    self._rest()
                if not self._http.end_would_look_whole:
                    await self._end()
        finally:
            self.common.places.leave(self)
            self.common.open.discard(self)

    async def _turn_away(self) -> None:
        """Tell the client that there is no place for its connection."""
        self.common.ends.ended("turned-away", self.peer)
        if self.common.turned_away >= MAX_TURNED_AWAY:
            return
        self.common.turned_away += 1
        try:
            with suppress(ClientGoneError, trio.BrokenResourceError):
                with trio.move_on_after(LINGER_SECONDS):
                    await self._socket.read()
                    await self._socket.write(raw(refusals.TOO_MANY_CONNECTIONS))
                    await self._socket.end_writing()
        finally:
            self.common.turned_away -= 1

    def _rest(self) -> None:
        """Set the deadline for the next head, which may have begun to come in."""
        self.resting = not self._http.begun
        limits, places = self.common.limits, self.common.places
        allowed = limits.keep_alive_seconds if self.resting else limits.header_seconds
        self.deadline = trio.current_time() + allowed
        if not self.proven:
            places.unprove(self, self._client_address())
        if self.resting:
            places.rests(self)

    def _begins(self) -> None:
        """Bytes of the next request have come."""
        if self.resting:
            self.resting = False
            self.common.places.begins(self)
            self.deadline = trio.current_time() + self.common.limits.header_seconds

    async def _end(self) -> None:
        """Say that nothing more will come, and drop the client's further input. Raises ClientGoneError."""
        self.deadline = trio.current_time() + LINGER_SECONDS
        await self._socket.end_writing()
        await self._incoming.drop()

    # One request and its response.

    async def _exchange(self) -> bool:
        """Read a request and let the application answer it. False if no request came.

        Raises ClientGoneError if the client sends no more requests.
        """
        try:
            head = await self._incoming.request(self._begins)
        except BadRequestError as error:
            await self._refuse(error.status)
            return False
        self.deadline = math.inf
        self._head = head
        state = {**self.state, HOLD_HEAD: self._hold_head, PROVEN: self._prove, NEEDS: self._needs}
        scope = http_scope(head, self.client, self._server, state)
        await self.app(scope, self._receive, self._send)
        if self._held:  # no body has followed the head
            await self._write(b"")
        return True

    async def _receive(self) -> ASGIReceiveEvent:
        """ASGI's `receive`: the next part of the body, or the client's leaving. For one task at a time."""
        http = self._http
        try:
            if http.request_read:
                await self._incoming.wait_for_end()
            if proceed := http.proceed():
                await self._write(proceed)
            body = await self._incoming.body()
        except BadRequestError as error:
            await self._refuse(error.status)
            return {"type": "http.disconnect"}
        except ClientGoneError:
            # The application is told; but one that is waiting for its upstream does not listen.
            self.deadline = trio.current_time() + SWEEP_SECONDS
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": not http.request_read}

    async def _send(self, message: ASGISendEvent) -> None:
        """ASGI's `send`."""
        if message["type"] == "http.response.start":
            if not self.proven and self._incoming.requests > 1:
                await self.common.share.turn(ANSWER_SECONDS)
            last = self._incoming.requests >= MAX_REQUESTS or self.common.closing
            data = self._http.head(message["status"], message["headers"], last=last)
            if self._hold:
                self._held, data = data, b""
        elif message["type"] == "http.response.body":
            more = message.get("more_body", False)
            data = self._http.body(message.get("body", b""), more=more)
        else:
            raise ValueError(f"no message of HTTP: {message['type']}")
        if data:
            self._hold = False
            await self._write(data)

    def _hold_head(self) -> None:
        """Let the next response's head wait for the first of its body, which the app has ready."""
        self._hold = True

    def _prove(self, principal: str) -> bool:
        """The request has shown a good token of the principal of that id. False if that one holds too many places."""
        good = self.common.places.prove(self, principal)
        self._incoming.proven = good
        return good

    def _needs(self, seconds: float) -> None:
        """The client has left, and the exchange needs so much time to end by itself."""
        self._outlasts = True
        self.deadline = trio.current_time() + seconds + SWEEP_SECONDS

    def _client_address(self) -> str:
        """The client address of its last request; empty if there is a front that did not tell it."""
        hops = self.common.hops
        if not hops or self._head is None:
            return self.peer
        address = client_address(self.peer, values_of(self._head.fields, FORWARDED_FOR), hops)
        return "" if address == self.peer else address

    async def _refuse(self, status: int) -> None:
        """Answer a request that is no HTTP, if the client can still be answered."""
        head = None if self._http.awaits_request else self._head
        if not (status := self._http.refuse(status)):
            # An answer is under way. The application learns that nothing more comes, and ends or cuts it.
            self.common.ends.ended("garbled", self.peer)
            return
        reply = refusals.malformed(status)
        self.common.ends.refused(reply.status, reply.reason, self.peer)
        await self._write(raw(reply, to_head=head is not None and head.method == b"HEAD"))

    async def _write(self, data: bytes) -> None:
        """Send the bytes held back, and `data`. The application gets no errors, since they are not its fault."""
        data, self._held = self._held + data, b""
        if not data or self._scope.cancel_called:  # the end of a message with a length is no byte
            return
        try:
            await self._socket.write(data)
        except (OSError, trio.ClosedResourceError):
            self.cut()
        except trio.Cancelled:
            self.cut()  # half of it may be out, so nothing can follow
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)
            self.cut()
