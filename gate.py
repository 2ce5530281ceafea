"""The gate: a raw ASGI callable that lets a request in if it carries a good token.

The walk of a request, which is also the order of this file:

1.  `Gate.__call__` answers lifespan, refuses WebSockets, and hands HTTP to `handle`.
2.  `decide` looks at the request line and the header fields. What is malformed is refused; a page of our
    own is answered at once. For the MCP endpoint `refusal` goes through the questions in their order:
    by what name and from what page does it come, what token does it bring, is there room for it. Only
    then is a byte of the body read.
3.  `forward` makes the outbound request from the raw path and query: every end-to-end header field,
    without the credentials, and sends it through a transport of its own.
4.  `RequestBody` feeds the client's body to the upstream chunk by chunk, as fast as the upstream takes
    it. Then the exchange's watcher takes over `receive`: a client that leaves cancels the exchange.
    Only an exchange that is not over in a moment gets one.
5.  `relay` hands the response back as it arrives: the head at once, each chunk as it comes, undecoded.
    Into an event stream that stays silent the watcher writes a comment, between two whole events.

Promises. Nothing is buffered, neither way. What has not started may still become a 502 or 504; what
has started is either finished or *aborted*, never ended politely, so that a client can tell a cut
response from a whole one. One task at a time calls `receive`. No token gets past this file: not
upstream, not into a log.

What it does not do: parse bodies (JSON-RPC passes as bytes), retry (a POST may have taken effect), or
know what MCP server stands behind it. What it decides by is in `gatehouse/`, as plain functions.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import httpx
import trio

from gatehouse import replies
from gatehouse.credentials import AmbiguousCredentialsError, credentials_from, without_key
from gatehouse.events import COMMENT, EventBorders
from gatehouse.framing import malformation
from gatehouse.headers import (
    SECRET_HEADER,
    announces_body,
    is_event_stream,
    request_headers,
    response_headers,
    sound,
    value_of,
)
from gatehouse.landing import landing_page
from gatehouse.logs import without_text
from gatehouse.origins import CORS, Origins, cors_headers, preflight
from gatehouse.routes import Route, route_of, upstream_path
from gatehouse.serving import HOLD_HEAD
from gatehouse.transports import Transports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

    from gatehouse.credentials import Verifier
    from gatehouse.headers import Headers
    from gatehouse.inprocess import Call, Calls
    from gatehouse.replies import Reply
    from gatehouse.settings import Settings
    from gatehouse.transports import Transport

logger = logging.getLogger("gate")
access = logging.getLogger("gate.access")

LINGER_SECONDS, LINGER_BYTES = 1.0, 1024 * 1024
"""How long, and how much of, a refused body is still read, so that the client gets to read the
refusal instead of a reset connection (RFC 9112 section 9.6)."""

LEAST_BYTES_PER_SECOND = 1024
"""A body that comes faster than this may take as long as it is large."""

FIRST_COMMENT_SECONDS = 0.25
"""How soon a silent event stream gets its first comment: some fronts hold back the head until then."""

WATCH_SECONDS = 0.025
"""An exchange that is not over by then gets a watcher, at the latest when as much again is over. Most are
over before, and the task would be a fifth of what they cost."""

REDIRECTS = frozenset(range(300, 400)) - {304}  # 304 is an answer; the others point elsewhere


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


class BodyTooLargeError(Exception):
    """The request's body is larger than MAX_BODY_BYTES."""


class Gate:
    """The ASGI callable.

    `verifier` turns credentials into a principal. `calls` carries the requests to an upstream in this
    process; without it they go over the network. For an upstream that this program hosts, `started` is
    set when it is up, and `secret` is what it wants to see over the network, or it answers nobody. `name`
    is what the landing page calls the upstream; it may be set later.
    """

    def __init__(
        self,
        settings: Settings,
        verifier: Verifier,
        *,
        calls: Calls | None = None,
        started: trio.Event | None = None,
        secret: str = "",
        name: str = "MCP server",
    ) -> None:
        self.settings = settings
        self.verifier = verifier
        self.name = name
        self.transports: Transports | Calls = calls or Transports(
            settings.upstream_host,
            settings.upstream_port,
            keep_alive=settings.hosts_upstream or settings.upstream_keep_alive,
        )
        self._origins = Origins(settings)
        self._authority = self.transports.authority.encode("ascii")
        self._endpoint = settings.upstream_path.encode("ascii")
        self._secret = secret.encode("ascii")
        self._url = httpx.URL(f"http://{self.transports.authority}")
        self._started = started
        self._waiting: set[trio.CancelScope] = set()  # of the requests that wait for the start
        self._draining = False
        self._in_flight: set[Exchange] = set()
        self._unwatched: dict[Exchange, None] = {}  # of those in flight, the oldest first
        self._some_unwatched = trio.Event()
        self._drained = trio.Event()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http":
            await self.handle(Exchange(scope, receive, send, self.settings))
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:  # MCP has no WebSocket transport; closing before accepting is a 403
            await send({"type": "websocket.close", "code": 1008, "reason": None})

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async with trio.open_nursery() as watchers:
            watchers.start_soon(self.start_watchers, watchers)
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            watchers.cancel_scope.cancel()
        await self.transports.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def start_watchers(self, watchers: trio.Nursery) -> None:
        """Have every exchange watched that has been in flight for WATCH_SECONDS."""
        while True:
            await self._some_unwatched.wait()
            await trio.sleep(WATCH_SECONDS)
            young = time.perf_counter() - WATCH_SECONDS
            while self._unwatched:
                exchange = next(iter(self._unwatched))
                if exchange.began > young:
                    break
                del self._unwatched[exchange]
                exchange.start_watcher(watchers)
            else:
                self._some_unwatched = trio.Event()

    async def drain(self) -> None:
        """Take no new requests; return when those in flight are over, or GRACE_SECONDS are.

        Streams that stand open end at once, those that answer a call when the grace is over; both at a
        border between two events. What is no event stream and not over by then is for the caller to cut.
        """
        self._draining = True
        for patience in self._waiting:
            patience.cancel()
        for exchange in self._in_flight:
            if exchange.stands_open:
                exchange.end_events()
        if self._in_flight:
            with trio.move_on_after(self.settings.grace_seconds):
                await self._drained.wait()
        for exchange in self._in_flight:
            exchange.end_events()

    async def handle(self, exchange: Exchange) -> None:
        """Carry one HTTP exchange to its end, and write its one line of log."""
        try:
            await self.decide(exchange)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this exchange, not the gate
            logger.error("failed on %s: %s", exchange.described, without_text(error))
            if not exchange.status:
                await exchange.reply(replies.FAILED)
        finally:
            exchange.log()

    async def decide(self, exchange: Exchange) -> None:
        scope = exchange.scope
        if reply := malformation(scope, self.settings):
            await exchange.reply(reply)
            return
        route = route_of(scope["raw_path"])
        if route is not Route.MCP:
            await exchange.reply(await self.page(route, scope["method"]))
        elif reply := self.refusal(exchange) or await self.not_started():
            await exchange.reply(reply)
        else:
            await self.forward(exchange)

    async def page(self, route: Route, method: str) -> Reply:
        """What the gate answers itself, to anybody."""
        if route is Route.NOWHERE:
            return replies.NOT_FOUND
        if method not in {"GET", "HEAD"}:
            return replies.METHOD_NOT_ALLOWED
        if route is Route.HEALTH:
            return replies.ALIVE
        ready = not self._draining and await self.transports.upstream_accepts()
        if route is Route.READY:
            return replies.READY if ready else replies.NOT_READY
        return landing_page(self.settings.public_endpoint, self.name, ready=ready)

    def refusal(self, exchange: Exchange) -> Reply | None:
        """The reply to a request that is not let in to the MCP endpoint, or None for one that is."""
        scope = exchange.scope
        headers = scope["headers"]
        origin = value_of(headers, b"origin")
        if reply := self._origins.refusal(value_of(headers, b"host") or b"", origin):
            return reply
        if origin is not None:
            exchange.cors = cors_headers(origin)
            if scope["method"] == "OPTIONS" and value_of(headers, b"access-control-request-method"):
                return preflight(value_of(headers, b"access-control-request-headers") or b"")
        try:
            credentials = credentials_from(headers, scope["query_string"])
        except AmbiguousCredentialsError:
            return replies.AMBIGUOUS_CREDENTIALS
        if self.verifier(credentials) is None:
            return replies.CHALLENGE
        if self._draining:
            return replies.DRAINING
        if int(value_of(headers, b"content-length") or 0) > self.settings.max_body_bytes:
            return replies.BODY_TOO_LARGE
        return None

    async def not_started(self) -> Reply | None:
        """Wait for a hosted upstream that is still coming up; a reply if it does not come in time."""
        started = self._started
        if started is None or started.is_set():
            return None
        if len(self._waiting) >= self.settings.start_requests:
            return replies.STARTING
        with trio.move_on_after(self.settings.start_seconds) as patience:
            self._waiting.add(patience)
            try:
                await started.wait()
            finally:
                self._waiting.discard(patience)
        if self._draining:
            return replies.DRAINING
        return None if started.is_set() else replies.STARTING

    async def forward(self, exchange: Exchange) -> None:
        """Send the request upstream and relay what comes back, until either side is done."""
        self._in_flight.add(exchange)
        self._unwatched[exchange] = None
        self._some_unwatched.set()
        try:
            transport = await self.transports.take()
            whole = False
            try:
                with exchange.leaving:
                    response = await self.round_trip(exchange, transport)
                    if response is not None:
                        whole = await self.relay(exchange, transport, response)
            finally:
                await transport.release(whole=whole)
        finally:
            self._in_flight.discard(exchange)
            self._unwatched.pop(exchange, None)
            await exchange.end_watcher()
            if self._draining and not self._in_flight:
                self._drained.set()

    async def round_trip(
        self, exchange: Exchange, transport: Transport | Call
    ) -> httpx.Response | None:
        """Send the request and wait for the response's head; None if it came to nothing.

        Then the client has got a local reply that says why, or is gone.
        """
        request = self.outbound(exchange)
        try:
            with exchange.body.patience as patience:
                response = await transport.handle_async_request(request)
        except ClientLeftError:
            exchange.outcome = "client left"
            return None
        except BodyTooLargeError:
            await exchange.reply(replies.BODY_TOO_LARGE)
            return None
        except httpx.HTTPError as error:
            self.complain(exchange, "failed: %s", type(error).__name__)
            await exchange.reply(reply_for(error))
            return None
        if patience.cancelled_caught and exchange.body.awaited:
            await exchange.reply(replies.BODY_TOO_SLOW)
            return None
        if patience.cancelled_caught:
            self.complain(exchange, "did not answer within %g s", self.settings.upstream_seconds)
            await exchange.reply(replies.UPSTREAM_TIMED_OUT)
            return None
        if response.status_code in REDIRECTS or response.status_code < 200:
            self.complain(
                exchange,
                "answered with status %d, which is not passed on: is UPSTREAM_PATH exactly the path "
                "of its MCP endpoint?",
                response.status_code,
            )
            await exchange.reply(replies.UPSTREAM_REDIRECTED)
            return None
        if not sound(response.headers.raw):
            self.complain(exchange, "answered with %s in a header field", "control characters")
            await exchange.reply(replies.UPSTREAM_BROKE)
            return None
        return response

    def complain(self, exchange: Exchange, what: str, detail: object) -> None:
        """Log what the upstream did wrong: `what` has a place for `detail`."""
        logger.warning(
            "upstream %s, asked %s, %s",
            self.transports.authority,
            exchange.described,
            what % detail,
        )

    def outbound(self, exchange: Exchange) -> httpx.Request:
        """The request for the upstream; `stream=` makes httpx add no header field of its own."""
        scope = exchange.scope
        client = scope["client"]
        query = without_key(scope["query_string"])
        if query != scope["query_string"]:
            # RFC 6750 section 2.3: an answer to a token in a URL is for no cache.
            exchange.added.append((b"Cache-Control", b"no-store"))
        target = upstream_path(scope["raw_path"], self._endpoint)
        headers = request_headers(
            scope["headers"],
            host=self._authority,
            peer=client[0].encode("ascii") if client else b"unknown",
            scheme=scope["scheme"].encode("ascii"),
        )
        if self._secret:
            headers.append((SECRET_HEADER, self._secret))
        if not self.transports.keep_alive:
            headers.append(replies.CLOSE_CONNECTION)
        return httpx.Request(
            scope["method"],
            self._url,
            headers=headers,
            stream=exchange.body,
            extensions={"target": target + b"?" + query if query else target},
        )

    async def relay(
        self, exchange: Exchange, transport: Transport | Call, response: httpx.Response
    ) -> bool:
        """Hand the response to the client as it arrives. True if it came to its whole end.

        If the upstream breaks off, the exchange ends without a last message: Hypercorn then closes
        the connection, and the client sees a cut response, never a complete-looking one.
        """
        stream = cast("httpx.AsyncByteStream", response.stream)
        headers = response_headers(response.headers.raw)
        if exchange.cors:  # the gate's word on origins stands for both
            headers = [pair for pair in headers if not pair[0].lower().startswith(CORS)]
        try:
            await exchange.start(response.status_code, headers, body_follows=bool(transport.unread))
            if is_event_stream(headers) and exchange.scope["method"] != "HEAD":
                exchange.expect_events()
                if not await self.relay_events(exchange, aiter(stream)):
                    await exchange.finish()
                    return False
            else:
                async for chunk in stream:
                    await exchange.write(chunk)
            await stream.aclose()
        except httpx.HTTPError as error:
            self.complain(exchange, "broke off its answer: %s", type(error).__name__)
            exchange.outcome = "upstream broke off"
            return False
        await exchange.finish()
        return True

    async def relay_events(self, exchange: Exchange, chunks: AsyncIterator[bytes]) -> bool:
        """Relay an event stream. True at its end, False if it was ended by us, at a border."""
        while True:
            if exchange.ending and exchange.events.at_border:
                return False
            with trio.CancelScope() as exchange.awaiting_event:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return True
            if exchange.awaiting_event.cancelled_caught:
                return False
            if exchange.ending and (border := exchange.events.upto_border(chunk)):
                chunk = chunk[:border]
            exchange.events.feed(chunk)
            await exchange.write(chunk)


def reply_for(error: Exception) -> Reply:
    """The local reply for an upstream that failed before its response began."""
    unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return replies.UPSTREAM_UNREACHABLE if unreachable else replies.UPSTREAM_BROKE


class RequestBody(httpx.AsyncByteStream):
    """The client's body as httpx asks for it: one chunk at a time, so the upstream sets the pace.

    Written as an iterator, not as a generator, so that a transport may stop asking half-way. Raises
    ClientLeftError or BodyTooLargeError. Only the time in which the client is waited for counts against
    it.
    """

    def __init__(self, receive: ASGIReceiveCallable, length: int | None, limits: Settings) -> None:
        self._receive = receive
        self._length = length
        self._limits = limits
        self._waited = 0.0
        self.patience = trio.CancelScope()
        """Around the wait for the response's head. Its clock runs for whoever has the word: the client
        while it is asked for a chunk (`awaited`), else the upstream, which has got one, or all."""
        self.awaited = False
        self.size = 0
        self.released = trio.Event()
        """Set when `receive` is free for another caller."""
        self.ended = trio.Event()
        """Set when the body has been read to its end, or the client has left before."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self.ended.is_set() and self.size != self._length:
            began = trio.current_time()
            allowed = self._limits.body_seconds + self.size / LEAST_BYTES_PER_SECOND
            self.patience.deadline = began + allowed - self._waited
            self.awaited = True
            chunk = await self._next()
            self.awaited = self.patience.cancel_called  # then it came too late, if only just
            self._waited += trio.current_time() - began
            if self.size > self._limits.max_body_bytes:
                raise BodyTooLargeError
            if chunk:
                self._give_the_word()
                return chunk
        self._give_the_word()
        self.released.set()
        raise StopAsyncIteration

    def _give_the_word(self) -> None:
        self.patience.deadline = trio.current_time() + self._limits.upstream_seconds

    async def read_out(self) -> None:
        """Read on to the end and drop what comes, unless that is too much; `ended` tells which."""
        enough = self.size + LINGER_BYTES
        with suppress(ClientLeftError):
            while not self.ended.is_set() and self.size < enough:
                await self._next()

    async def discard(self) -> None:
        """Drop what comes, and return when the client has left."""
        with suppress(ClientLeftError):
            while True:
                await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            # It may come in place of the last chunk, so it is never the end of a body.
            self.ended.set()
            raise ClientLeftError
        self.size += len(message["body"])
        if not message["more_body"]:
            self.ended.set()
        return message["body"]


class Exchange:
    """One request and its response: the two ASGI callables, and what the log will say of them."""

    def __init__(
        self,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        settings: Settings,
    ) -> None:
        self.scope = scope
        length = value_of(scope["headers"], b"content-length") or b""
        self.body = RequestBody(receive, int(length) if length.isdigit() else None, settings)
        self.cors: Headers = []
        self.added: Headers = []
        """Header fields of the gate's own for the response, whoever makes it."""
        self.status = 0
        self.outcome = "cut"
        self.events = EventBorders()
        self.ending = False
        self.awaiting_event = trio.CancelScope()
        self.began = time.perf_counter()
        self.leaving = trio.CancelScope()
        """Around all that is to end when the client leaves."""
        self._settings = settings
        self._send = send
        self._sent = 0
        self._watching = trio.CancelScope()
        self._watcher_over: trio.Event | None = None
        self._alarm = trio.CancelScope()
        self._carries_events = False
        self._wrote_at = 0.0

    @property
    def described(self) -> str:
        """Method and path for a line of log: never the query."""
        return f"{self.scope['method'][:16]} {self.scope['raw_path'].decode('ascii', 'backslashreplace')}"

    # The way back to the client.

    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None:
        """Send the head: at once, or together with the first of the body if that is there already."""
        self.status = status
        self.body.released.set()  # a transport that has an answer asks for no more of the body
        headers = headers + self.cors + self.added
        if body_follows and (hold_head := self.scope.get("state", {}).get(HOLD_HEAD)):
            hold_head()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._carries_events:
            self._wrote_at = trio.current_time()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self) -> None:
        # Before the last send, because Hypercorn reports a disconnect from within it.
        self.outcome = "done"
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def reply(self, reply: Reply) -> None:
        """Answer from the gate itself, whether or not the request has been read to its end."""
        has_body = bool(reply.body) and self.scope["method"] != "HEAD"
        self.outcome = "done"  # whatever becomes of the request: it has had its answer
        await self.start(reply.status, reply.fields(), body_follows=has_body)
        if has_body:
            await self.write(reply.body)
        await self.end_watcher()
        if announces_body(self.scope["headers"]):
            with trio.move_on_after(LINGER_SECONDS):
                await self.body.read_out()
        await self.finish()

    # Event streams.

    @property
    def stands_open(self) -> bool:
        """Whether this is a stream that ends only when somebody ends it, rather than with a result."""
        subscribes = value_of(self.scope["headers"], b"mcp-method") == b"subscriptions/listen"
        return self.scope["method"] == "GET" or subscribes

    def expect_events(self) -> None:
        """From here on the response is an event stream, which the watcher keeps from falling silent."""
        self._carries_events = True
        if self._settings.comment_seconds:
            due = trio.current_time() + FIRST_COMMENT_SECONDS
            self._wrote_at = due - self._settings.comment_seconds
            self._alarm.deadline = due

    def end_events(self) -> None:
        """End an event stream at the next border between two events, which may be right now."""
        self.ending = True
        if self._carries_events and self.events.at_border:
            self.awaiting_event.cancel()

    # The client's side of the connection.

    def start_watcher(self, nursery: trio.Nursery) -> None:
        """Have an eye on the client: cancel the exchange when it leaves, and keep events from silence."""
        self._watcher_over = trio.Event()
        nursery.start_soon(self._watch, self._watcher_over)

    async def end_watcher(self) -> None:
        """Return when there is no watcher, nor will be, so that `receive` is free."""
        self._watching.cancel()
        if self._watcher_over is not None:
            with trio.CancelScope(shield=True):
                await self._watcher_over.wait()

    async def _watch(self, over: trio.Event) -> None:
        try:
            with self._watching:
                await self.body.released.wait()
                while True:
                    with trio.CancelScope(deadline=self._alarm.deadline) as self._alarm:
                        await self.body.discard()
                    if not self._alarm.cancelled_caught:
                        break
                    await self._break_silence()
                if self.outcome != "done":
                    self.outcome = "client left"
                    self.leaving.cancel()
        except Exception as error:  # noqa: BLE001 - it would end the watchers of all others
            logger.error("failed to watch %s: %s", self.described, without_text(error))
            self.leaving.cancel()
        finally:
            over.set()

    async def _break_silence(self) -> None:
        """Write a comment if the stream has been silent long enough, and set the next alarm."""
        now = trio.current_time()
        due = self._wrote_at + self._settings.comment_seconds
        if now >= due and self.outcome != "done" and self.events.at_border:
            await self.write(COMMENT)
            due = now + self._settings.comment_seconds
        elif now >= due:
            due = now + 1.0  # in the middle of an event: look again soon
        self._alarm = trio.CancelScope(deadline=due)

    def log(self) -> None:
        """Write the one line that a request leaves behind: no query, no header field."""
        access.info(
            "%s %d %.1f ms, %d bytes in, %d bytes out%s",
            self.described,
            self.status or 499,  # nginx's number for: the client left before there was an answer
            (time.perf_counter() - self.began) * 1000,
            self.body.size,
            self._sent,
            "" if self.outcome == "done" else f" ({self.outcome})",
        )
