"""One request and its response, from the client's side, through `receive` and `send`.

`RequestBody` is the body on its way in, `Exchange` everything else. `gate.py` decides when things
happen; this module does them. One task at a time calls `receive`: first the one that feeds the
upstream, then the watcher.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import trio

from gatehouse.downstream.bodies import SMALL_BYTES
from gatehouse.downstream.scope import HOLD_HEAD, PROVEN
from gatehouse.errors import without_text
from gatehouse.http import refusals
from gatehouse.http.credentials import without_key
from gatehouse.http.events import COMMENT, EventBorders
from gatehouse.http.fields import announces_body, value_of
from gatehouse.http.mcp import NAME, named_call
from gatehouse.http.results import has_result
from gatehouse.records import record
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from gatehouse.downstream.bodies import Bodies
    from gatehouse.http.fields import Headers
    from gatehouse.http.limits import Limits
    from gatehouse.http.refusals import Reply
    from gatehouse.identity.principal import Principal
    from gatehouse.records.record import Record

logger = logger_of("gate")

LINGER_SECONDS, LINGER_BYTES = 1.0, 1024 * 1024
"""How long, and how many bytes of, a refused body is still read, so that the client reads the
refusal instead of a reset connection (RFC 9112 section 9.6)."""

LEAST_BYTES_PER_SECOND = 1024
"""A body that comes faster than this, and is never silent for BODY_SECONDS, may take as long as it is large."""

FIRST_COMMENT_SECONDS = 0.25
"""How soon a silent event stream gets its first comment: some fronts hold back the head until then."""

MAX_ERROR_BYTES = 8192
"""How long an answer may be to count as an error: that a server has no such tool takes some hundred bytes."""

REVOKED_GRACE_SECONDS = 2.5
"""How long an exchange whose token is no longer good may take to reach a border between two events: with the
time until that is noticed, less than 5 s."""


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


class BodyTooLargeError(Exception):
    """The request's body is larger than MAX_BODY_BYTES."""


class RequestBody(httpx.AsyncByteStream):
    """The client's body as httpx asks for it: one chunk at a time, so the upstream sets the pace.

    Written as an iterator, not as a generator, so that a transport may stop asking half-way. Raises
    ClientLeftError, BodyTooLargeError or BodiesFullError. Only the time that we wait for the client
    counts against it.
    """

    def __init__(self, receive: ASGIReceiveCallable, length: int | None, limits: Limits) -> None:
        self._receive = receive
        self._length = length
        self._limits = limits
        self._bodies: Bodies | None = None
        self._owner = ""
        self._counted = 0
        self._waited = 0.0
        self.patience = trio.CancelScope()
        """Around the wait for the response's head. Its deadline is the client's while we wait for a
        chunk (`awaited`), and the upstream's otherwise."""
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
            silence = self._limits.body_seconds
            credit = self.size / LEAST_BYTES_PER_SECOND - self._waited
            self.patience.deadline = began + silence + min(credit, 0.0)
            self.awaited = True
            chunk = await self._next()
            self.awaited = self.patience.cancel_called  # then the chunk came too late, if only just
            self._waited += trio.current_time() - began
            if self.size > self._limits.body_bytes:
                raise BodyTooLargeError
            self._count(self.size)
            if chunk:
                self._give_the_word()
                return chunk
        self._give_the_word()
        self.released.set()
        raise StopAsyncIteration

    def admit(self, bodies: Bodies, name: str) -> None:
        """Count the body among `bodies` until `give_back`. Raises BodiesFullError before a byte of it is read."""
        self._bodies, self._owner = bodies, name
        self._count(self._length or 0)

    def give_back(self) -> None:
        """Give the body's room back."""
        if self._counted and self._bodies is not None:
            self._bodies.give_back(self._owner, self._counted)
        self._counted, self._bodies = 0, None

    def _count(self, size: int) -> None:
        if size > SMALL_BYTES and size > self._counted and self._bodies is not None:
            self._bodies.take(self._owner, size - self._counted)
            self._counted = size

    def _give_the_word(self) -> None:
        self.patience.deadline = trio.current_time() + self._limits.upstream_seconds

    async def read_out(self) -> None:
        """Read on to the end and drop the chunks, unless there are too many; `ended` tells which."""
        enough = self.size + LINGER_BYTES
        with suppress(ClientLeftError):
            while not self.ended.is_set() and self.size < enough:
                await self._next()

    async def discard(self) -> None:
        """Drop all input, and return when the client has left."""
        with suppress(ClientLeftError):
            while True:
                await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            # A disconnect may come in place of the last chunk, so it is never the end of a body.
            self.ended.set()
            raise ClientLeftError
        self.size += len(message["body"])
        if not message["more_body"]:
            self.ended.set()
        return message["body"]


class Exchange:
    """One request and its response: the two ASGI callables, and the facts for the log."""

    def __init__(
        self,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        limits: Limits,
    ) -> None:
        self.scope = scope
        self.headers = list(scope["headers"])
        length = value_of(self.headers, b"content-length") or b""
        self.body = RequestBody(receive, int(length) if length.isdigit() else None, limits)
        self.cors: Headers = []
        self.added: Headers = []
        """The gate's own header fields for the response, the upstream's or its own."""
        self.principal: Principal | None = None
        self.name = ""
        """The name of the request's token, good or not, if it is known."""
        self.status = 0
        self.over = False
        """True once the client has been sent all that it will get."""
        self.outcome, self.reason = "cut", ""
        """The outcome in words, and the reason if the request was not carried out."""
        self.revoked = False
        self.events = EventBorders()
        self.ending = False
        self.awaiting_event = trio.CancelScope()
        self.began = time.perf_counter()
        self.leaving = trio.CancelScope()
        """Around all work that ends when the client leaves."""
        self._limits = limits
        self._send = send
        self._sent = 0
        self._answer: list[bytes] | None = None
        self._watching = trio.CancelScope()
        self._watcher_over: trio.Event | None = None
        self._alarm = trio.CancelScope()
        self.carries_events = False
        self._wrote_at = 0.0
        self._silent_since = math.inf
        self._revoked_at = 0.0
        self._first_byte_at = 0.0

    @property
    def described(self) -> str:
        """Method and path for a line of log: never the query."""
        return f"{self.scope['method'][:16]} {self.scope['raw_path'].decode('ascii', 'backslashreplace')}"

    # The way back to the client.

    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None:
        """Send the head: at once, or together with the first of the body if that follows at once."""
        self.status = status
        self._first_byte_at = time.perf_counter()
        self.body.released.set()  # a transport that has an answer asks for no more of the body
        headers = headers + self.cors + self.added
        if body_follows and (hold_head := self.scope.get("state", {}).get(HOLD_HEAD)):
            hold_head()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def prove(self) -> bool:
        """Tell the connection that its token is good; False if the name may hold no more connections."""
        prove = self.scope.get("state", {}).get(PROVEN)
        return prove is None or prove(self.name)

    async def write(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._answer is not None and self._sent <= MAX_ERROR_BYTES:
            self._answer.append(chunk)
        if self.carries_events:
            self._wrote_at = trio.current_time()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def look_at_answer(self) -> None:
        """Keep the answer to a call while it is short, so that the record can tell whether it is an error."""
        if value_of(self.headers, NAME) is not None:
            self._answer = []

    def has_result(self) -> bool:
        """True if the call ended with a result that is no error: a long answer is none."""
        if self._answer is None:
            return False
        return self._sent > MAX_ERROR_BYTES or has_result(b"".join(self._answer))

    def asks_upstream(self) -> None:
        """From here on we wait for the upstream to send the next part of its answer."""
        self._silent_since = trio.current_time()

    def has_heard_upstream(self) -> None:
        """The upstream has sent something, or has ended its answer."""
        self._silent_since = math.inf

    def end_silence(self) -> float:
        """Break off the answer if the upstream has been silent for too long in it; the limit, or 0 if not.

        An event stream may be silent as long as it likes, unless UPSTREAM_SILENCE_SECONDS says otherwise. For
        any other body the limit is UPSTREAM_SECONDS: a server that makes its answer while sending it has as
        long for each piece as others have for the whole.
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
        has_body = bool(reply.body) and self.scope["method"] != "HEAD"
        if without_key(self.scope["query_string"]) != self.scope["query_string"]:
            self.added.append(refusals.NO_REFERRER)  # no reply of ours is for a cache anyway
        # Whatever happens to the request now, it has had its answer.
        self.over, self.outcome, self.reason = True, reply.outcome, reply.reason
        await self.start(reply.status, reply.fields(), body_follows=has_body)
        if has_body:
            await self.write(reply.body)
        await self.end_watcher()
        if announces_body(self.headers):
            with trio.move_on_after(LINGER_SECONDS):
                await self.body.read_out()
        await self.finish()

    # Event streams.

    @property
    def stands_open(self) -> bool:
        """True for a stream that ends only when somebody ends it, not with a result."""
        subscribes = value_of(self.headers, b"mcp-method") == b"subscriptions/listen"
        return self.scope["method"] == "GET" or subscribes

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

    def revoke(self) -> None:
        """End the exchange, because its token is no longer good: now if possible, else within the grace."""
        now = trio.current_time()
        if not self.revoked:
            self.revoked, self._revoked_at = True, now
            self.end_events()
        elif now >= self._revoked_at + REVOKED_GRACE_SECONDS and not self.over:
            self.outcome = "revoked"
            self.leaving.cancel()

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
        due = self._wrote_at + self._limits.comment_seconds
        if now >= due and not self.over and self.events.at_border:
            await self.write(COMMENT)
            due = now + self._limits.comment_seconds
        elif now >= due:
            due = now + 1.0  # in the middle of an event: look again soon
        self._alarm = trio.CancelScope(deadline=due)

    def record(self, client: str) -> Record:
        """The record of the exchange at its end: no query, no header field but for the names in MCP's.

        `client` is the client's address.
        """
        now = time.perf_counter()
        rpc_method, tool = named_call(self.headers)
        return record.Record(
            request_id=record.request_id_of(self.headers),
            client=client,
            name=self.name,
            lane=self.principal.lane if self.principal else "",
            method=self.scope["method"][:16],
            path=self.scope["raw_path"].decode("ascii", "backslashreplace"),
            rpc_method=rpc_method,
            tool=tool,
            status=self.status or 499,  # nginx's number for: the client left before an answer
            bytes_in=self.body.size,
            bytes_out=self._sent,
            first_byte_seconds=self._first_byte_at - self.began if self._first_byte_at else None,
            seconds=now - self.began,
            outcome=self.outcome,
            reason=self.reason or ("draining" if self.ending and self.outcome == "cut" else ""),
            has_result=self.has_result,
        )
