"""The gate: a raw ASGI callable that lets a request in if it carries a good credential.

The walk of a request, which is also the order of this file:

1.  `Gate.__call__` reads the request's head once, into a `Request` (`gatehouse/http/request.py`), and makes
    an `Exchange` of it (`gatehouse/downstream/exchange.py`). It refuses WebSockets.
2.  `handle` gets the gate's own reply from `answer`, if there is one, sends it, and hands the one record of
    the request to the observers.
3.  `answer` goes through the possible replies in their order: the refusal of a malformed request; a page of
    our own (`gatehouse/pages/`); the refusal by one of the questions; what `forward` has to say.
4.  `refusal` asks the questions: from where, who, is there room, may they, is anybody there to ask. Only
    then is a byte of the body read.
5.  `forward` sends the request upstream, with every end-to-end header field and without the credentials, on a
    transport of its own. The exchange's `RequestBody` (`gatehouse/downstream/body.py`) feeds the client's
    body to the upstream chunk by chunk, as fast as the upstream takes it.
6.  `relay` hands the response back as it arrives: the head at once, each chunk as it comes, undecoded.

Meanwhile `gatehouse/downstream/in_flight.py` watches: a client that leaves cancels its exchange, and a
silent event stream gets a comment.

Promises. Nothing is buffered, either way. A response that has not started may still become a 502 or
504; a response that has started is either finished or *cut*, never ended politely, so that a
client can tell a cut response from a whole one. One task at a time calls `receive`. No credential gets
past this file: not upstream, not into a log.

The gate does not parse bodies (JSON-RPC passes as bytes; only the records read a copy, afterwards), retry (a POST
may have taken effect; `gatehouse/upstream/wire.py` has the one exception), or know which MCP server stands
behind it. `gatehouse/assembly/` builds it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httpx
import trio

from gatehouse.downstream.bodies import BodiesFullError
from gatehouse.downstream.body import BodyTooLargeError, ClientLeftError
from gatehouse.downstream.exchange import Exchange
from gatehouse.http import challenges, refusals
from gatehouse.http.fields import has_no_controls, is_event_stream
from gatehouse.http.forward import response_headers
from gatehouse.http.paths import is_endpoint
from gatehouse.http.reply import TO_URL_KEY, Reply
from gatehouse.http.request import read_request
from gatehouse.policy.base import NOTHING
from gatehouse.policy.origins import CORS, cors_fields, preflight
from gatehouse.upstream.base import FloodError, reply_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    from gatehouse.downstream.bodies import Bodies
    from gatehouse.downstream.hosted_start import HostedStart
    from gatehouse.downstream.in_flight import InFlight
    from gatehouse.http.limits import Limits
    from gatehouse.identity.verifiers import Verifiers
    from gatehouse.pages.table import Pages
    from gatehouse.policy.base import Policy
    from gatehouse.policy.origins import Origins
    from gatehouse.policy.strangers import Strangers
    from gatehouse.records.record import Observer
    from gatehouse.upstream.base import Transport, Upstream
    from gatehouse.upstream.outbound import Outbound

REDIRECTS = frozenset(range(300, 400)) - {304}  # 304 is an answer; the others point elsewhere


@dataclass(kw_only=True, eq=False, repr=False)  # no text of it: its parts hold secrets
class Gate:
    """The ASGI callable. Its fields are the parts that decide and carry."""

    limits: Limits
    hops: int
    """How many trusted fronts stand before the gate."""
    pages: Pages
    origins: Origins
    verifiers: Verifiers
    bodies: Bodies
    """Bounds the bytes of request bodies under way."""
    policies: Sequence[Policy]
    strangers: Strangers
    """Bounds the requests that need no token."""
    hosted_start: HostedStart
    """Lets requests wait until the hosted server is up."""
    upstream: Upstream
    """The way to the MCP server: hands out a transport for each exchange."""
    outbound: Outbound
    """Makes the upstream requests."""
    observers: list[Observer]
    records_calls: bool
    """True if the records tell what the bodies say about calls."""
    in_flight: InFlight
    apart: Sequence[tuple[bytes, bytes]] = ()
    """Goes along with each answer of the endpoint, where pages of the gate's own need to be kept apart from it."""
    beside: Sequence[Callable[[], Awaitable[None]]]
    """Work beside the requests, for ever: functions for tasks of their own."""

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http":
            request = read_request(scope, self.limits, self.hops)
            state = scope.get("state", {})
            await self.handle(Exchange(request, receive, send, self.limits, state))
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:  # MCP has no WebSocket transport; closing before accepting is a 403
            await send({"type": "websocket.close", "code": 1008, "reason": None})

    async def handle(self, exchange: Exchange) -> None:
        """Carry one exchange from its request to its one record."""
        try:
            if reply := await self.answer(exchange):
                await exchange.reply(reply)
        except ClientLeftError:
            exchange.outcome = "client left"
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this exchange, not the gate
            await exchange.fail(error)
        finally:
            await self.in_flight.remove(exchange)
            self.tell(exchange)

    async def answer(self, exchange: Exchange) -> Reply | None:
        """The gate's own reply, or None if the upstream's answer has been relayed, or cut."""
        return (
            self.pages.fault(exchange.request)
            or await self.pages.reply(exchange)
            or await self.refusal(exchange)
            or await self.forward(exchange)
        )

    async def refusal(self, exchange: Exchange) -> Reply | None:
        """The questions, in their order; the reply that refuses the request, or None to let it in."""
        return (
            self.misplaced(exchange)
            or await exchange.identify(self.verifiers)
            or self.no_room(exchange)
            or await self.not_permitted(exchange)
            or await self.hosted_start.refusal()
        )

    def misplaced(self, exchange: Exchange) -> Reply | None:
        """From where does it come? A preflight ends here."""
        if reply := self.origins.refusal(exchange.request):
            return reply
        exchange.cors = cors_fields(exchange.request)
        return preflight(exchange.request)

    def no_room(self, exchange: Exchange) -> Reply | None:
        """Is there room for it?"""
        if self.in_flight.draining:
            return refusals.DRAINING
        if (exchange.request.length or 0) > self.limits.body_bytes:
            return refusals.BODY_TOO_LARGE
        return None

    async def not_permitted(self, exchange: Exchange) -> Reply | None:
        """May they?"""
        if exchange.principal is None:
            return self.strangers.turned_away(exchange.request)
        for policy in self.policies:
            if reply := await policy.refusal(exchange.request, exchange.principal):
                return reply
        return None

    async def forward(self, exchange: Exchange) -> Reply | None:
        """Send the request upstream and relay the response, until either side is done.

        Returns a reply if the upstream has no answer to relay. Raises ClientLeftError.
        """
        self.in_flight.add(exchange)
        if self.records_calls and is_endpoint(exchange.request.path):
            exchange.overhear()
        transport = await self.upstream.take()
        whole = False
        reply = None
        try:
            with exchange.leaving, ExitStack() as during:
                for policy in self.policies if exchange.principal else (self.strangers,):
                    if (block := policy.during(exchange.request)) is not NOTHING:
                        during.enter_context(block)
                    exchange.must_see_head |= policy.must_see_head(exchange.request)
                response = await self.round_trip(exchange, transport)
                if exchange.left:
                    raise ClientLeftError
                if isinstance(response, Reply):
                    reply = response
                else:
                    whole = await self.relay(exchange, transport, response)
        finally:
            try:
                await transport.release(whole=whole)
            finally:  # not before: until then the upstream holds it
                exchange.body.give_back()
        if exchange.revoked and not exchange.status:
            return await self.no_longer_good(exchange)
        return reply

    async def no_longer_good(self, exchange: Exchange) -> Reply:
        """The reply if the credential has ended before the answer began; for people as if they came now."""
        is_token = exchange.principal is not None and exchange.principal.kind == "token"
        again = None if is_token else await exchange.identify(self.verifiers)
        ended = challenges.ENDED if self.in_flight.has_ended(exchange) else None
        return again or ended or refusals.challenge("revoked")

    async def round_trip(self, exchange: Exchange, transport: Transport) -> httpx.Response | Reply:
        """Send the request and wait for the response's head; a reply if there is none to relay."""
        request = self.outbound.forwarded(exchange.request, exchange.principal, exchange.body)
        try:
            exchange.body.admit(self.bodies, exchange.id)
            with exchange.body.patience as patience:
                response = await transport.handle_async_request(request)
        except BodyTooLargeError:
            return refusals.BODY_TOO_LARGE
        except BodiesFullError:
            return refusals.TOO_MANY_BODIES
        except httpx.HTTPError as error:
            self.complain(exchange, "failed: %s", error)
            return reply_for(error, reached=self.upstream.reached.ever)
        if patience.cancelled_caught and exchange.left:
            raise ClientLeftError
        if patience.cancelled_caught and exchange.body.awaited:
            return refusals.BODY_TOO_SLOW
        if patience.cancelled_caught:
            self.complain(exchange, "did not answer within %g s", self.limits.upstream_seconds)
            return refusals.UPSTREAM_TIMED_OUT
        return await self.unfit(exchange, response) or response

    async def unfit(self, exchange: Exchange, response: httpx.Response) -> Reply | None:
        """The reply in place of an answer that the client must not get, or None."""
        status, headers = response.status_code, response.headers.raw
        if status in REDIRECTS or status < 200:
            self.complain(
                exchange,
                "answered with status %d, which is not passed on: is UPSTREAM_URL (or UPSTREAM_PATH) exactly its MCP "
                "endpoint, https:// and the slash at its end included?",
                status,
            )
            return refusals.UPSTREAM_REDIRECTED
        if not has_no_controls(headers):
            self.complain(exchange, "answered with %s in a header field", "control characters")
            return refusals.UPSTREAM_BROKE
        if (who := exchange.principal) is not None:
            for policy in self.policies:
                asked, request = policy.judges_answers, exchange.request
                if asked and (words := await policy.objection(request, who, status, headers)):
                    self.complain(exchange, "%s", words)
                    return refusals.UPSTREAM_BROKE
        return None

    async def relay(
        self, exchange: Exchange, transport: Transport, response: httpx.Response
    ) -> bool:
        """Hand the response to the client as it arrives. True if it came to its whole end.

        If the upstream breaks off, the exchange ends without a last message: the connection is then
        closed, and the client sees a cut response, never a complete-looking one.
        """
        stream = cast("httpx.AsyncByteStream", response.stream)
        headers = response_headers(response.headers.raw)
        if exchange.cors:  # the gate's word on origins stands for both
            headers = [pair for pair in headers if not pair[0].lower().startswith(CORS)]
        if exchange.request.has_url_key:
            exchange.added += TO_URL_KEY
        if self.apart and is_endpoint(exchange.request.path):
            exchange.added += self.apart
        try:
            await exchange.start(response.status_code, headers, body_follows=bool(transport.unread))
            if is_event_stream(headers) and exchange.request.method != "HEAD":
                exchange.expect_events()
                if not await self.relay_events(exchange, aiter(stream)):
                    exchange.complete("done" if exchange.is_subscription else "cut")
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
            if exchange.ending and (border := exchange.events.last_border_in(chunk)):
                chunk = chunk[:border]
            exchange.events.feed(chunk)
            await exchange.write(chunk)

    def complain(self, exchange: Exchange, words: str, detail: object) -> None:
        """Log a fault of the upstream: `words` have a place for `detail`."""
        exchange.complain(self.upstream.authority, words, detail)

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Do the work beside the requests, from the server's start to its end."""
        async with trio.open_nursery() as nursery:
            for keep in (self.in_flight.keep, self.upstream.sweep, *self.beside):
                nursery.start_soon(keep)
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            nursery.cancel_scope.cancel()
        await self.upstream.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def tell(self, exchange: Exchange) -> None:
        """Give the exchange's record to the observers."""
        record = exchange.record()
        for observe in self.observers:
            observe(record)

    def tell_rest(self) -> None:
        """The same for all in flight, in any thread: the event loop stands still, and the process is about to end."""
        for exchange in self.in_flight:
            self.tell(exchange)

    async def drain(self) -> None:
        """Take no new requests; return when those in flight are over, or after the grace."""
        self.hosted_start.give_up()
        await self.in_flight.drain()


if __name__ == "__main__":
    raise SystemExit("gate.py serves nothing by itself; start run.py, as README.md says")
