"""The gate: a raw ASGI callable that lets a request in if it carries a good token.

The walk of a request, which is also the order of this file:

1.  `Gate.__call__` answers lifespan, refuses WebSockets, and hands HTTP to `handle`.
2.  `decide` looks at the request line and the header fields. A malformed request is refused; our own
    pages are answered at once. For the MCP endpoint `refusal` goes through the questions in their order:
    by which name and from which page does the request come, which token does it bring, is there room for
    it, and may it do that (`gatehouse/policy/permits.py`). Only then is a byte of the body read.
3.  `forward` makes the outbound request from the raw path and query: every end-to-end header field,
    without the credentials, and sends it through a transport of its own.
4.  The exchange's `RequestBody` (`gatehouse/downstream/exchange.py`) feeds the client's body to the upstream chunk
    by chunk, as fast as the upstream takes it. Then the exchange's watcher takes over `receive`: a client
    that leaves cancels the exchange. Only an exchange that outlasts a moment gets a watcher.
5.  `relay` hands the response back as it arrives: the head at once, each chunk as it comes, undecoded.
    Into an event stream that stays silent the watcher writes a comment, between two whole events.

Promises. Nothing is buffered, either way. A response that has not started may still become a 502 or
504; a response that has started is either finished or *aborted*, never ended politely, so that a
client can tell a cut response from a whole one. One task at a time calls `receive`. No token gets
past this file: not upstream, not into a log.

The gate does not parse bodies (JSON-RPC passes as bytes; only the figures read short answers), retry
(a POST may have taken effect), or know which MCP server stands behind it. The rules by which it decides are in `gatehouse/`, as plain
functions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import httpx
import trio

from gatehouse.downstream.bodies import MAX_LARGEST_BODIES, Bodies, BodiesFullError
from gatehouse.downstream.exchange import BodyTooLargeError, ClientLeftError, Exchange
from gatehouse.errors import without_text
from gatehouse.http import refusals
from gatehouse.http.address import client_address
from gatehouse.http.credentials import AmbiguousCredentialsError, credentials_from, without_key
from gatehouse.http.fields import (
    PRINCIPAL_HEADER,
    SECRET_HEADER,
    is_event_stream,
    request_headers,
    response_headers,
    sound,
    value_of,
)
from gatehouse.http.framing import malformation
from gatehouse.http.paths import Route, route_of, upstream_path
from gatehouse.http.refusals import Reply
from gatehouse.identity.principal import METRICS_NAME
from gatehouse.pages.landing import landing_page
from gatehouse.policy.origins import CORS, Origins, cors_headers, preflight
from gatehouse.policy.throttles import FailureThrottle
from gatehouse.records import record
from gatehouse.records.loggers import logger_of
from gatehouse.tokens.keyring import Keyring
from gatehouse.upstream.base import FloodError
from gatehouse.upstream.farewells import Farewells
from gatehouse.upstream.network import Transports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

    from gatehouse.downstream.config import GateConfig
    from gatehouse.http.refusals import Status
    from gatehouse.identity.principal import Verifier
    from gatehouse.policy.permits import Permits
    from gatehouse.records.metrics import Metrics
    from gatehouse.records.record import Observer
    from gatehouse.settings.environment import Settings
    from gatehouse.upstream.base import Transport, Upstream

logger = logger_of("gate")

WATCH_SECONDS = 0.025
"""An exchange that runs longer than this gets a watcher, at most twice as late. Most end sooner, and the
task would add a fifth to their cost."""

LOOK_SECONDS = 1.0
"""How often exchanges in flight are checked for revoked and expired tokens, and for silent upstreams."""

REDIRECTS = frozenset(range(300, 400)) - {304}  # 304 is an answer; the others point elsewhere


class Gate:
    """The ASGI callable.

    `verifier` turns credentials into a principal, and `permits`, if any, say what the principal may do.
    `calls` carries the requests to an upstream in this process; without it they go over the network. For an
    upstream that this program hosts, `started` is set when it is up; over the network it answers only requests
    with `secret`. `name` is the upstream's name on the landing page; it may be set later, and so may
    `observers`, which get a record of each request, `metrics`, and `stalls`, the facts that `/ready` tells
    about the times when the event loop stood still.
    """

    def __init__(
        self,
        settings: Settings,
        verifier: Verifier,
        *,
        permits: Permits | None = None,
        calls: Upstream | None = None,
        started: trio.Event | None = None,
        secret: str = "",
        name: str = "MCP server",
    ) -> None:
        self.settings = settings
        self._limits = settings.limits
        self.verifier = verifier
        self.name = name
        self.observers: list[Observer] = [record.write]
        self.metrics: Metrics | None = None
        self.stalls: Callable[[], Mapping[str, float]] = dict
        self.transports: Upstream = calls or Transports(
            settings.upstream_host,
            settings.upstream_port,
            idle_seconds=settings.idle_seconds,
        )
        self.bodies = Bodies(
            MAX_LARGEST_BODIES * settings.max_body_bytes, by_name=settings.tokens_file is not None
        )
        self._origins = Origins(
            settings.hosts_allowed, settings.allowed_origins, loopback=settings.on_loopback
        )
        self._permits = permits
        self._failures = FailureThrottle(settings.failure_rate)
        self._may_measure = metrics_verifier(settings)
        self._authority = self.transports.authority.encode("ascii")
        self._endpoint = settings.upstream_path.encode("ascii")
        self._secret = secret.encode("ascii")
        self._tells_names = settings.tokens_file is not None or settings.hosts_upstream
        self._farewells = Farewells(
            self.transports, settings.upstream_path, secret=secret, tells_names=self._tells_names
        )
        if permits is not None and permits.sessions is not None:
            permits.sessions.farewells = self._farewells
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
            await self.handle(Exchange(scope, receive, send, self._limits))
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:  # MCP has no WebSocket transport; closing before accepting is a 403
            await send({"type": "websocket.close", "code": 1008, "reason": None})

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async with trio.open_nursery() as watchers:
            watchers.start_soon(self.start_watchers, watchers)
            watchers.start_soon(self.transports.sweep)
            watchers.start_soon(self.end_overdue)
            watchers.start_soon(self._farewells.run)
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            watchers.cancel_scope.cancel()
        await self.transports.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def start_watchers(self, watchers: trio.Nursery) -> None:
        """Start a watcher for every exchange that has been in flight for WATCH_SECONDS."""
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

    async def end_overdue(self) -> None:
        """End every exchange in flight whose token was revoked or has expired, and every one whose upstream
        has been silent for too long in the middle of its answer.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            for exchange in self._in_flight:
                if exchange.principal and not self.verifier.in_force(exchange.principal):
                    exchange.revoke()
                if limit := exchange.end_silence():
                    self.complain(
                        exchange, "fell silent for %g s in the middle of its answer", limit
                    )

    @property
    def in_flight(self) -> int:
        """How many requests are being carried."""
        return len(self._in_flight)

    @property
    def open_streams(self) -> int:
        """How many of them are being answered with an event stream."""
        return sum(exchange.carries_events for exchange in self._in_flight)

    def measure(self, config: GateConfig, *, redact: Callable[[str], str]) -> None:
        """Count from now on, for the page of figures, with the connections of `config`; the page shows no name
        that `redact` changes.
        """
        # Slow to import, so only for gates that measure.
        from gatehouse.records.metrics import Metrics

        self.metrics = Metrics(
            in_flight=lambda: self.in_flight,
            open_streams=lambda: self.open_streams,
            connections=lambda: len(config.connections),
            ends=config.ends,
            stalls=self.stalls,
            redact=redact,
        )
        self.observers.append(self.metrics)

    async def drain(self) -> None:
        """Take no new requests; return when those in flight are over, or after GRACE_SECONDS.

        Streams that stand open end at once, and those that answer a call when the grace is over; both at
        a border between two events. The caller cuts all other exchanges that are left.
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
                await exchange.reply(refusals.FAILED)
        finally:
            self.tell(exchange)

    def tell(self, exchange: Exchange) -> None:
        """Give the exchange's record to the observers."""
        record = exchange.record(self.address_of(exchange.scope))
        for observe in self.observers:
            observe(record)

    def tell_rest(self) -> None:
        """The same for all in flight, in any thread: the event loop stands still, and the process is about to end."""
        for exchange in tuple(self._in_flight):
            self.tell(exchange)

    async def decide(self, exchange: Exchange) -> None:
        scope = exchange.scope
        if reply := malformation(scope, self._limits):
            await exchange.reply(reply)
            return
        route = route_of(scope["raw_path"])
        if route is not Route.MCP:
            await exchange.reply(await self.page(route, exchange))
        elif reply := await self.refusal(exchange) or await self.not_started():
            await exchange.reply(reply)
        else:
            await self.forward(exchange)

    async def page(self, route: Route, exchange: Exchange) -> Reply:
        """The gate's own pages: for anybody, except the figures."""
        if route is Route.NOWHERE or (route is Route.METRICS and self.metrics is None):
            return refusals.NOT_FOUND
        if exchange.scope["method"] not in {"GET", "HEAD"}:
            return refusals.METHOD_NOT_ALLOWED
        if self.metrics is not None and route is Route.METRICS:
            refused = self.identify(exchange, self._may_measure)
            if refused and refused.status == 401:
                return refusals.METRICS_CHALLENGE
            return refused or figures(self.metrics)
        if route is Route.HEALTH:
            return refusals.ALIVE
        status = await self.status()
        if route is Route.READY:
            return (
                refusals.ready(self.stalls()) if status == "ready" else refusals.not_ready(status)
            )
        return landing_page(
            self.settings.public_endpoint,
            self.name,
            status,
            url_keys=self.verifier.takes_url_keys,
        )

    async def status(self) -> Status:
        """Whether calls are taken now, for the pages."""
        if self._draining:
            return "stopping"
        if await self.transports.is_reachable():
            return "ready"
        return "unreachable" if self.transports.was_reached else "starting"

    async def refusal(self, exchange: Exchange) -> Reply | None:
        """The reply that refuses a request to the MCP endpoint, or None to let it in."""
        scope, headers = exchange.scope, exchange.headers
        origin = value_of(headers, b"origin")
        if reply := self._origins.refusal(value_of(headers, b"host") or b"", origin):
            return reply
        if origin is not None:
            exchange.cors = cors_headers(origin)
            if scope["method"] == "OPTIONS" and value_of(headers, b"access-control-request-method"):
                return preflight(value_of(headers, b"access-control-request-headers") or b"")
        if reply := self.identify(exchange, self.verifier):
            return reply
        if self._draining:
            return refusals.DRAINING
        if int(value_of(headers, b"content-length") or 0) > self._limits.body_bytes:
            return refusals.BODY_TOO_LARGE
        if self._permits is not None and exchange.principal is not None:
            return await self._permits.refusal(exchange.principal, scope["raw_path"], headers)
        return None

    def identify(self, exchange: Exchange, verifier: Verifier) -> Reply | None:
        """Find the principal; returns a reply if there is none.

        The credentials are compared first, and only failures are counted: a good token is let in
        however many failures come from its address.
        """
        try:
            credentials = credentials_from(exchange.headers, exchange.scope["query_string"])
        except AmbiguousCredentialsError:
            return refusals.AMBIGUOUS_CREDENTIALS
        exchange.principal = verifier(credentials)
        if exchange.principal is not None:
            exchange.name = exchange.principal.name
            return None if exchange.prove() else refusals.TOO_MANY_OF_NAME
        exchange.name, reason = verifier.why_not(credentials)
        if credentials:
            seconds = self._failures.retry_after(self.address_of(exchange.scope))
            if seconds is not None:
                return refusals.too_many_failures(seconds)
        if not verifier.takes_url_keys and any(lane == "query" for lane, _ in credentials):
            return refusals.URL_KEY_CHALLENGE
        return refusals.challenge(reason)

    def address_of(self, scope: HTTPScope) -> str:
        """The client's address: the other end of the connection, or the one that the trusted fronts name."""
        peer = scope["client"][0] if scope["client"] else "unknown"
        hops = self.settings.hops
        return client_address(peer, scope["headers"], hops) if hops else peer

    async def not_started(self) -> Reply | None:
        """Wait for a hosted upstream that is still starting; returns a reply if it does not start in time."""
        started = self._started
        if started is None or started.is_set():
            return None
        if len(self._waiting) >= self.settings.start_requests:
            return refusals.STARTING
        with trio.move_on_after(self.settings.start_seconds) as patience:
            self._waiting.add(patience)
            try:
                await started.wait()
            finally:
                self._waiting.discard(patience)
        if self._draining:
            return refusals.DRAINING
        return None if started.is_set() else refusals.STARTING

    async def forward(self, exchange: Exchange) -> None:
        """Send the request upstream and relay the response, until either side is done."""
        self._in_flight.add(exchange)
        self._unwatched[exchange] = None
        self._some_unwatched.set()
        try:
            if self._permits is None:
                await self.carry(exchange)
            else:
                with self._permits.session_in_use(exchange.headers):
                    await self.carry(exchange)
        finally:
            self._in_flight.discard(exchange)
            self._unwatched.pop(exchange, None)
            await exchange.end_watcher()
            if self._draining and not self._in_flight:
                self._drained.set()

    async def carry(self, exchange: Exchange) -> None:
        """The exchange itself, on a transport of its own."""
        transport = await self.transports.take()
        whole = False
        try:
            with exchange.leaving:
                response = await self.round_trip(exchange, transport)
                if response is not None:
                    whole = await self.relay(exchange, transport, response)
        finally:
            try:
                await transport.release(whole=whole)
            finally:  # not before: until then the upstream holds it
                exchange.body.give_back()
        if exchange.revoked and not exchange.status:
            await exchange.reply(refusals.challenge("revoked"))

    async def round_trip(self, exchange: Exchange, transport: Transport) -> httpx.Response | None:
        """Send the request and wait for the response's head; None if there is none.

        In that case the client has got a local reply that says why, or is gone.
        """
        request = self.outbound(exchange)
        try:
            exchange.body.admit(self.bodies, exchange.name)
            with exchange.body.patience as patience:
                response = await transport.handle_async_request(request)
        except ClientLeftError:
            exchange.outcome = "client left"
            return None
        except BodyTooLargeError:
            await exchange.reply(refusals.BODY_TOO_LARGE)
            return None
        except BodiesFullError:
            await exchange.reply(refusals.TOO_MANY_BODIES)
            return None
        except httpx.HTTPError as error:
            self.complain(exchange, "failed: %s", error)
            await exchange.reply(reply_for(error, reached=self.transports.was_reached))
            return None
        if patience.cancelled_caught and exchange.body.awaited:
            await exchange.reply(refusals.BODY_TOO_SLOW)
            return None
        if patience.cancelled_caught:
            self.complain(exchange, "did not answer within %g s", self._limits.upstream_seconds)
            await exchange.reply(refusals.UPSTREAM_TIMED_OUT)
            return None
        if response.status_code in REDIRECTS or response.status_code < 200:
            self.complain(
                exchange,
                "answered with status %d, which is not passed on: is UPSTREAM_PATH exactly the path "
                "of its MCP endpoint?",
                response.status_code,
            )
            await exchange.reply(refusals.UPSTREAM_REDIRECTED)
            return None
        if not sound(response.headers.raw):
            self.complain(exchange, "answered with %s in a header field", "control characters")
            await exchange.reply(refusals.UPSTREAM_BROKE)
            return None
        if not await self.learn(exchange, response):
            self.complain(exchange, "opened a session that it had %s", "opened for another token")
            await exchange.reply(refusals.UPSTREAM_BROKE)
            return None
        return response

    async def learn(self, exchange: Exchange, response: httpx.Response) -> bool:
        """Note the sessions that an answer opens or ends; False if it is about another name's."""
        if self._permits is None or exchange.principal is None:
            return True
        return await self._permits.learn(
            exchange.principal,
            exchange.scope["method"],
            exchange.headers,
            response.status_code,
            response.headers.raw,
        )

    def complain(self, exchange: Exchange, what: str, detail: object) -> None:
        """Log a fault of the upstream: `what` has a place for `detail`."""
        logger.warning(
            "upstream %s, asked %s, %s",
            self.transports.authority,
            exchange.described,
            what % detail,
        )

    def outbound(self, exchange: Exchange) -> httpx.Request:
        """The request for the upstream; `stream=` makes httpx add no header field of its own."""
        scope = exchange.scope
        query = without_key(scope["query_string"])
        if query != scope["query_string"]:
            exchange.added += refusals.TO_URL_KEY
        target = upstream_path(scope["raw_path"], self._endpoint)
        headers = request_headers(
            scope["headers"],
            host=self._authority,
            peer=self.address_of(scope).encode("ascii"),
            scheme=scope["scheme"].encode("ascii"),
        )
        if self._secret:
            headers.append((SECRET_HEADER, self._secret))
        if self._tells_names and exchange.principal is not None:
            headers.append((PRINCIPAL_HEADER, exchange.principal.name.encode("ascii")))
        if not self.transports.keep_alive:
            headers.append(refusals.CLOSE_CONNECTION)
        return httpx.Request(
            scope["method"],
            self._url,
            headers=headers,
            stream=exchange.body,
            extensions={"target": target + b"?" + query if query else target},
        )

    async def relay(
        self, exchange: Exchange, transport: Transport, response: httpx.Response
    ) -> bool:
        """Hand the response to the client as it arrives. True if it came to its whole end.

        If the upstream breaks off, the exchange ends without a last message: Hypercorn then closes
        the connection, and the client sees a cut response, never a complete-looking one.
        """
        stream = cast("httpx.AsyncByteStream", response.stream)
        headers = response_headers(response.headers.raw)
        if exchange.cors:  # the gate's word on origins stands for both
            headers = [pair for pair in headers if not pair[0].lower().startswith(CORS)]
        if self.metrics is not None:
            exchange.look_at_answer()
        try:
            await exchange.start(response.status_code, headers, body_follows=bool(transport.unread))
            if is_event_stream(headers) and exchange.scope["method"] != "HEAD":
                exchange.expect_events()
                if not await self.relay_events(exchange, aiter(stream)):
                    exchange.complete("done" if exchange.stands_open else "cut")
                    await exchange.finish()
                    return False
            else:
                exchange.asks_upstream()
                async for chunk in stream:
                    exchange.has_heard_upstream()
                    await exchange.write(chunk)
                    exchange.asks_upstream()
            exchange.complete()
            await stream.aclose()
        except httpx.HTTPError as error:
            self.complain(exchange, "broke off its answer: %s", error)
            exchange.outcome = "upstream broke off"
            exchange.reason = "upstream-flood" if isinstance(error, FloodError) else ""
            return False
        await exchange.finish()
        return True

    async def relay_events(self, exchange: Exchange, chunks: AsyncIterator[bytes]) -> bool:
        """Relay an event stream. True at its end, False if it was ended by us, at a border."""
        while True:
            if exchange.ending and exchange.events.at_border:
                return False
            with trio.CancelScope() as exchange.awaiting_event:
                exchange.asks_upstream()
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return True
            exchange.has_heard_upstream()
            if exchange.awaiting_event.cancelled_caught:
                return False
            if exchange.ending and (border := exchange.events.upto_border(chunk)):
                chunk = chunk[:border]
            exchange.events.feed(chunk)
            await exchange.write(chunk)


def metrics_verifier(settings: Settings) -> Verifier:
    """The verifier for the figures: it lets METRICS_TOKEN in, but not in a URL."""
    token = settings.metrics_token
    value = token.get_secret_value() if token else ""
    return Keyring(shared=value, shared_name=METRICS_NAME, query_keys=False)


def figures(metrics: Metrics) -> Reply:
    """The page for Prometheus."""
    content_type, body = metrics.page()
    return Reply(200, body, ((b"Content-Type", content_type), (b"Cache-Control", b"no-store")))


def reply_for(error: Exception, *, reached: bool) -> Reply:
    """The local reply for an upstream that failed before its response began; it may have been `reached` earlier."""
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return refusals.UPSTREAM_BROKE
    return refusals.UPSTREAM_DOWN if reached else refusals.UPSTREAM_UNREACHABLE
