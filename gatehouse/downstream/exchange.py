"""One request and its response, from the client's side, through `receive` and `send`.

`gate.py` decides when things happen; this module does them. One task at a time calls `receive`: first the
one that feeds the upstream, then the watcher.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.downstream.body import RequestBody
from gatehouse.downstream.overheard import Overheard, told_only
from gatehouse.downstream.scope import HOLD_HEAD, NEEDS, PROVEN
from gatehouse.errors import without_message
from gatehouse.http import refusals
from gatehouse.http.events import COMMENT, EventBorders
from gatehouse.http.for_people import worded
from gatehouse.http.mcp import METHOD
from gatehouse.http.reply import NO_REFERRER
from gatehouse.identity.principal import OPEN, Unknown
from gatehouse.records.loggers import logger_of
from gatehouse.records.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable

    from gatehouse.http.fields import Headers
    from gatehouse.http.limits import Limits
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Principal
    from gatehouse.identity.verifiers import Verifiers

logger = logger_of("gate")

LINGER_SECONDS = 1.0
"""How long a refused body is still read."""

FIRST_COMMENT_SECONDS = 0.25
"""How soon a silent event stream gets its first comment: some fronts hold back the head until then."""


class Exchange:
    """One request and its response: the two ASGI callables, and the facts for the log."""

    def __init__(
        self,
        request: Request,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        limits: Limits,
        state: Mapping[str, Any],
    ) -> None:
        """`state` holds what the connection lets an exchange do, besides `receive` and `send`."""
        self.request = request
        self.body = RequestBody(receive, request.length, limits)
        self.cors: Headers = []
        self.added: Headers = []
        """The gate's own header fields for the response, the upstream's or its own."""
        self.principal: Principal | None = None
        self.id = self.name = self.lane = ""
        """The principal's id; the name of the credential, good or not, if known; where a good one stood, or OPEN."""
        self.status, self.in_trouble = 0, refusals.FAILED  # the reply if the gate itself fails
        self.over = False
        """True once the client has been sent all that it will get."""
        self.outcome, self.reason = "cut", ""
        """The outcome in words, and the reason if the request was not carried out."""
        self.revoked = self.ending = self.carries_events = False
        self.revoked_at = math.inf
        """When it ends, because its credential is no longer good."""
        self.left, self.must_see_head = False, False
        """The client left before it had all of its answer; the head of the answer is waited for even then."""
        self.events = EventBorders()
        self.awaiting_event = trio.CancelScope()
        self.began = time.perf_counter()
        self.leaving = trio.CancelScope()
        """Around all work that ends when the client leaves."""
        self._limits, self._send, self._state = limits, send, state
        self._overheard: Overheard | None = None
        self._watching = trio.CancelScope()
        self._watcher_over: trio.Event | None = None
        self._alarm = trio.CancelScope()
        self._wrote_at = self._first_byte_at = 0.0
        self._silent_since, self._sent = math.inf, 0

    async def identify(self, verifiers: Verifiers) -> Reply | None:
        """Find the principal; returns a reply if there is none."""
        if self.lane == OPEN:
            return None
        if self.request.credentials is None:
            return refusals.AMBIGUOUS_CREDENTIALS
        who = await verifiers.identify(self.request)
        self.name = who.name
        self.request = verifiers.seen(self.request, who)
        if isinstance(who, Unknown):
            return verifiers.refusal(self.request, who)
        self.principal = who
        good = self.is_from(who.id, who.name, who.lane)
        return None if good else worded(refusals.TOO_MANY_OF_NAME, token=who.kind == "token")

    def is_from(self, principal: str, name: str, lane: str) -> bool:
        """Note who sent it, by id, name and lane. False if they hold as many connections as they may."""
        self.id, self.name, self.lane = principal, name, lane
        prove = self._state.get(PROVEN)
        return prove is None or prove(principal)

    # The way back to the client.

    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None:
        """Send the head: at once, or together with the first of the body if that follows at once."""
        self.status = status
        self._first_byte_at = time.perf_counter()
        self.body.released.set()  # a transport that has an answer asks for no more of the body
        headers = headers + self.cors + self.added
        if body_follows and (hold_head := self._state.get(HOLD_HEAD)):
            hold_head()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._overheard is not None:
            self._overheard.answer.feed(chunk)
        if self.carries_events:
            self._wrote_at = trio.current_time()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def overhear(self) -> None:
        """Keep the beginnings of both bodies, so that the record can tell what was called, and how it ended."""
        if self.request.method == "POST":
            self._overheard = Overheard()
            self.body.kept = self._overheard.request

    def asks_upstream(self) -> None:
        """From here on we wait for the upstream to send the next part of its answer."""
        self._silent_since = trio.current_time()

    def has_heard_upstream(self) -> None:
        """The upstream has sent something, or has ended its answer."""
        self._silent_since = math.inf

    def end_silence(self) -> float:
        """Break off the answer if the upstream has been silent for too long in it; the limit, or 0 if not.

        An event stream may be silent for ever, unless UPSTREAM_SILENCE_SECONDS says otherwise. Each piece of any other
        body has UPSTREAM_SECONDS, as long as other servers have for the whole.
        """
        limits = self._limits
        limit = limits.silence_seconds if self.carries_events else limits.upstream_seconds
        if self.over or trio.current_time() < self._silent_since + limit:
            return 0
        self.outcome, self.reason = "upstream broke off", "upstream-silent"
        self.leaving.cancel()
        return limit

    def complete(self, outcome: str = "done") -> None:
        """The client has been sent all that it is going to get, so it may leave."""
        if not self.over:
            self.over, self.outcome = True, "revoked" if self.revoked else outcome

    async def finish(self) -> None:
        self.complete()  # before the last send, because Hypercorn reports a disconnect from within it
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def reply(self, reply: Reply) -> None:
        """Answer from the gate itself, whether or not the request has been read to its end."""
        has_body = bool(reply.body) and self.request.method != "HEAD"
        if self.request.has_url_key:
            self.added.append(NO_REFERRER)  # no reply of ours is for a cache anyway
        # Whatever happens to the request now, it has had its answer.
        self.over, self.outcome, self.reason = True, reply.outcome, reply.reason
        await self.start(reply.status, reply.fields(), body_follows=has_body)
        if has_body:
            await self.write(reply.body)
        await self.end_watcher()
        if self.request.has_body:
            with trio.move_on_after(LINGER_SECONDS):
                await self.body.read_out()
        await self.finish()

    # Event streams.

    @property
    def is_subscription(self) -> bool:
        """True for a stream that ends only when somebody ends it, not with a result."""
        subscribes = self.request.value(METHOD) == b"subscriptions/listen"
        return self.request.method == "GET" or subscribes

    def expect_events(self) -> None:
        """From here on the response is an event stream, which the watcher keeps from falling silent."""
        self.carries_events = True
        if math.isfinite(self._limits.comment_seconds):
            due = trio.current_time() + FIRST_COMMENT_SECONDS
            self._wrote_at = due - self._limits.comment_seconds
            self._alarm.deadline = due

    def end_events(self) -> None:
        """End an event stream at the next border between two events, perhaps at once."""
        self.ending = True
        if self.carries_events and self.events.at_border:
            self.awaiting_event.cancel()

    @property
    def respite(self) -> float:
        """How long it may go on once its credential is no longer good: a person's call may finish, none of a static token."""
        is_token = self.principal is not None and self.principal.kind == "token"
        return 0 if is_token or self.is_subscription else self._limits.upstream_seconds

    # The client's side of the connection.

    def start_watcher(self, nursery: trio.Nursery) -> None:
        """Watch the client: cancel the exchange when it leaves, and keep event streams from falling silent."""
        self._watcher_over = trio.Event()
        nursery.start_soon(self._watch, self._watcher_over)

    async def end_watcher(self) -> None:
        """Return when there is no watcher and will be none, so that `receive` is free."""
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
                if not self.over:
                    self._leave()
        except Exception as error:  # noqa: BLE001 - it would end the watchers of all others
            logger.error("failed to watch %s: %s", self.request, without_message(error))
            self.leaving.cancel()
        finally:
            over.set()

    def _leave(self) -> None:
        """The client has left: the exchange ends now, or soon if the head of its answer must be seen."""
        self.left, self.outcome = True, "client left"
        if self.must_see_head and not self.status:
            self.body.hurry(self._state.get(NEEDS, float))
        else:
            self.leaving.cancel()

    async def _break_silence(self) -> None:
        """Write a comment if the stream has been silent long enough, and set the next alarm."""
        now = trio.current_time()
        due = self._wrote_at + self._limits.comment_seconds
        if now >= due and not self.over and self.events.at_border:
            await self.write(COMMENT)
            due = now + self._limits.comment_seconds
        elif now >= due:
            due = now + 1.0  # in the middle of an event: look again soon
        self._alarm = trio.CancelScope(deadline=due)

    async def fail(self, error: Exception) -> None:
        """A fault of ours ends the exchange."""
        logger.error("failed on %s: %s", self.request, without_message(error))
        if not self.status:
            await self.reply(self.in_trouble)

    def complain(self, upstream: str, words: str, detail: object) -> None:
        """Log a fault of the upstream at that authority: `words` have a place for `detail`."""
        logger.warning("upstream %s, asked %s, %s", upstream, self.request, words % detail)

    def record(self) -> Record:
        """The record of the exchange at its end: no query, no header field but for the names in MCP's."""
        request, now = self.request, time.perf_counter()
        heard = self._overheard.heard(request.call) if self._overheard else told_only(request)
        if (heard.end, self.status, self.outcome) == ("refused", 200, "done"):
            self.outcome, self.reason = "refused", "grants"
        return Record(
            request_id=request.id,
            client=request.client,
            name=self.name,
            lane=self.lane,
            method=request.shown_method,
            path=request.shown_path,
            route=request.route,
            rpc_method=heard.method,
            tool=heard.name,
            differs=heard.differs,
            result=heard.end,
            status=self.status or 499,  # nginx's number for: the client left before an answer
            bytes_in=self.body.size,
            bytes_out=self._sent,
            first_byte_seconds=self._first_byte_at - self.began if self._first_byte_at else None,
            seconds=now - self.began,
            outcome=self.outcome,
            reason=self.reason or ("draining" if self.ending and self.outcome == "cut" else ""),
        )
