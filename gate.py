"""The gate: a raw ASGI callable that lets a request in if it carries a good token.

The walk of a request, which is also the order of this file:

1.  `Gate.__call__` answers lifespan, refuses WebSockets, and hands HTTP to `handle`.
2.  `decide` looks at the raw path. A page of our own is answered at once. For the MCP endpoint the
    credentials are verified; without a good one a challenge (401) goes out before a byte of the body
    is read.
3.  `forward` makes the outbound request from the raw path and query: every end-to-end header field,
    without the credentials, and sends it through a transport of its own.
4.  `RequestBody` feeds the client's body to the upstream chunk by chunk, as fast as the upstream takes
    it. Then `watch_for_disconnect` takes over `receive`, and a client that leaves cancels the exchange.
5.  `relay` hands the response back as it arrives: the head at once, each chunk as it comes, undecoded.

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
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, cast

import httpx
import trio

from gatehouse import replies
from gatehouse.credentials import AmbiguousCredentialsError, credentials_from, without_key
from gatehouse.headers import has_body, request_headers, response_headers
from gatehouse.landing import landing_page
from gatehouse.logs import without_text
from gatehouse.routes import Route, route_of, upstream_path
from gatehouse.transports import Transport, Transports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        HTTPScope,
        Scope,
    )

    from gatehouse.credentials import Verifier
    from gatehouse.headers import Headers
    from gatehouse.replies import Reply

logger = logging.getLogger("gate")
access = logging.getLogger("gate.access")

CONNECT_SECONDS = 2.0
"""How long the upstream may take to accept a connection. On loopback it is at once or never."""

# No limit on reading: an event stream may be silent, and a JSON answer comes when its tool is done.
TIMEOUTS = {"read": None, "write": None}

LINGER_SECONDS, LINGER_BYTES = 1.0, 1024 * 1024
"""How long, and how much of, a refused body is still read, so that the client gets to read the
refusal instead of a reset connection (RFC 9112 section 9.6)."""

REDIRECTS = frozenset(range(300, 400)) - {304}  # 304 is an answer; the others point elsewhere


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the MCP server listens: `path` is its endpoint. See `Transports` for `keep_alive`."""

    host: str
    port: int
    path: str = "/mcp"
    keep_alive: bool = False

    @property
    def authority(self) -> str:
        """`host:port` as it stands in a Host field (RFC 9110 section 7.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def accepts_connections(self) -> bool:
        """Whether a connection can be opened now."""
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(self.host, self.port)
        except (OSError, trio.TooSlowError):
            return False
        await trio.aclose_forcefully(stream)
        return True


class Gate:
    """The ASGI callable.

    `verifier` turns credentials into a principal; `upstream` is where admitted requests go; `endpoint`
    is the URL of the gate's own `/mcp` as clients see it, shown on the landing page together with
    `name`, which may be set later, when the hosted server is known.
    """

    def __init__(
        self, verifier: Verifier, upstream: Upstream, *, endpoint: str, name: str = "MCP server"
    ) -> None:
        self.verifier = verifier
        self.upstream = upstream
        self.endpoint = endpoint
        self.name = name
        self.transports = Transports(
            upstream.host,
            upstream.port,
            connect_seconds=CONNECT_SECONDS,
            keep_alive=upstream.keep_alive,
        )
        self._authority = upstream.authority.encode("ascii")
        self._endpoint_path = upstream.path.encode("ascii")
        self._url = httpx.URL(f"http://{upstream.authority}")

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http":
            await self.handle(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:  # MCP has no WebSocket transport; closing before accepting is a 403
            await send({"type": "websocket.close", "code": 1008, "reason": None})

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.transports.aclose()
        await send({"type": "lifespan.shutdown.complete"})

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
        route = route_of(scope["raw_path"])
        if route is not Route.MCP:
            await exchange.reply(await self.page(route, scope["method"]))
            return
        try:
            credentials = credentials_from(scope["headers"], scope["query_string"])
        except AmbiguousCredentialsError:
            await exchange.reply(replies.AMBIGUOUS_CREDENTIALS)
            return
        if self.verifier(credentials) is None:
            await exchange.reply(replies.CHALLENGE)
            return
        await self.forward(exchange)

    async def page(self, route: Route, method: str) -> Reply:
        """What the gate answers itself, to anybody."""
        if route is Route.NOWHERE:
            return replies.NOT_FOUND
        if method not in {"GET", "HEAD"}:
            return replies.METHOD_NOT_ALLOWED
        if route is Route.HEALTH:
            return replies.ALIVE
        ready = await self.upstream.accepts_connections()
        if route is Route.READY:
            return replies.READY if ready else replies.NOT_READY
        return landing_page(self.endpoint, self.name, ready=ready)

    async def forward(self, exchange: Exchange) -> None:
        """Send the request upstream and relay what comes back, until either side is done."""
        transport = await self.transports.take()
        whole = False
        try:
            async with exchange.watching():
                response = await self.round_trip(exchange, transport)
                if response is not None:
                    whole = await self.relay(exchange, response)
        finally:
            if whole:
                await self.transports.give_back(transport)
            else:
                await transport.aclose()

    async def round_trip(self, exchange: Exchange, transport: Transport) -> httpx.Response | None:
        """Send the request and wait for the response's head; None if it came to nothing.

        Then the client has got a local reply that says why, or is gone.
        """
        try:
            response = await transport.handle_async_request(self.outbound(exchange))
        except ClientLeftError:
            exchange.outcome = "client left"
            return None
        except httpx.HTTPError as error:
            logger.warning(
                "upstream %s failed on %s: %s",
                self.upstream.authority,
                exchange.described,
                type(error).__name__,
            )
            await exchange.reply(reply_for(error))
            return None
        if response.status_code in REDIRECTS or response.status_code < 200:
            logger.warning(
                "upstream %s answered %s with status %d, which is not passed on: is UPSTREAM_PATH=%s "
                "exactly the path of its MCP endpoint?",
                self.upstream.authority,
                exchange.described,
                response.status_code,
                self.upstream.path,
            )
            await exchange.reply(replies.UPSTREAM_REDIRECTED)
            return None
        return response

    def outbound(self, exchange: Exchange) -> httpx.Request:
        """The request for the upstream; `stream=` makes httpx add no header field of its own."""
        scope = exchange.scope
        client = scope["client"]
        target = upstream_path(scope["raw_path"], self._endpoint_path)
        if query := without_key(scope["query_string"]):
            target += b"?" + query
        headers = request_headers(
            scope["headers"],
            host=self._authority,
            peer=client[0].encode("ascii") if client else b"unknown",
            scheme=scope["scheme"].encode("ascii"),
        )
        if not self.upstream.keep_alive:
            headers.append((b"Connection", b"close"))
        return httpx.Request(
            scope["method"],
            self._url,
            headers=headers,
            stream=exchange.body,
            extensions={"target": target, "timeout": TIMEOUTS},
        )

    async def relay(self, exchange: Exchange, response: httpx.Response) -> bool:
        """Hand the response to the client as it arrives. True if it came to its whole end.

        If the upstream breaks off, the exchange ends without a last message: Hypercorn then closes
        the connection, and the client sees a cut response, never a complete-looking one.
        """
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            await exchange.start(response.status_code, response_headers(response.headers.raw))
            async for chunk in stream:
                await exchange.write(chunk)
            await stream.aclose()
        except httpx.HTTPError as error:
            logger.warning(
                "upstream %s broke off its answer to %s: %s",
                self.upstream.authority,
                exchange.described,
                type(error).__name__,
            )
            exchange.outcome = "upstream broke off"
            return False
        await exchange.finish()
        return True


def reply_for(error: Exception) -> Reply:
    """The local reply for an upstream that failed before its response began."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return replies.UPSTREAM_UNREACHABLE
    if isinstance(error, httpx.TimeoutException):
        return replies.UPSTREAM_TIMED_OUT
    return replies.UPSTREAM_BROKE


class RequestBody(httpx.AsyncByteStream):
    """The client's body as httpx asks for it: one chunk at a time, so the upstream sets the pace.

    Written as an iterator, not as a generator, so that a transport may stop asking half-way.
    """

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive
        self.size = 0
        self.released = trio.Event()
        """Set when `receive` is free for another caller."""
        self.ended = trio.Event()
        """Set when the body has been read to its end, or its reader has gone, or had enough of it."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self.ended.is_set():
            if chunk := await self._next():
                return chunk
        self.released.set()
        raise StopAsyncIteration

    async def discard(self) -> None:
        """Read on and drop what comes; returns when the client has left."""
        self.released.set()
        enough = self.size + LINGER_BYTES
        try:
            while True:
                await self._next()
                if self.size > enough:
                    self.ended.set()
        except ClientLeftError:
            return

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
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        self.scope = scope
        self.body = RequestBody(receive)
        self.status = 0
        self.outcome = "cut"
        self._send = send
        self._began = time.perf_counter()
        self._sent = 0
        self._watched = False

    @property
    def described(self) -> str:
        """Method and path for a line of log: never the query."""
        return f"{self.scope['method'][:16]} {self.scope['raw_path'].decode('ascii', 'backslashreplace')}"

    # The way back to the client.

    async def start(self, status: int, headers: Headers) -> None:
        self.status = status
        self.body.released.set()  # a transport that has an answer asks for no more of the body
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self) -> None:
        # Before the last send, because Hypercorn reports a disconnect from within it.
        self.outcome = "done"
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def reply(self, reply: Reply) -> None:
        """Answer from the gate itself, whether or not the request has been read to its end."""
        if self._watched or not has_body(self.scope["headers"]):
            await self._reply(reply)
        else:
            async with self.watching():
                await self._reply(reply)

    async def _reply(self, reply: Reply) -> None:
        framing = (b"Content-Length", b"%d" % len(reply.body))
        headers = [(b"Date", formatdate(usegmt=True).encode("ascii")), *reply.headers, framing]
        await self.start(reply.status, headers)
        if self.scope["method"] != "HEAD":
            await self.write(reply.body)
        self.outcome = "done"  # the client has all of it, and may well leave now
        if self._watched:
            with trio.move_on_after(LINGER_SECONDS):
                await self.body.ended.wait()
        await self.finish()

    # The client's side of the connection.

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Cancel what happens inside as soon as the client leaves."""
        self._watched = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()

    async def _watch(self, exchange_scope: trio.CancelScope) -> None:
        await self.body.released.wait()
        await self.body.discard()
        if self.outcome != "done":
            self.outcome = "client left"
            exchange_scope.cancel()

    def log(self) -> None:
        """Write the one line that a request leaves behind: no query, no header field."""
        access.info(
            "%s %d %.1f ms, %d bytes in, %d bytes out%s",
            self.described,
            self.status or 499,  # nginx's number for: the client left before there was an answer
            (time.perf_counter() - self._began) * 1000,
            self.body.size,
            self._sent,
            "" if self.outcome == "done" else f" ({self.outcome})",
        )
