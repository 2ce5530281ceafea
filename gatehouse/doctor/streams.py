"""Checks of event streams: does a front hold them back or cut them, and how soon does the server know that one left?"""

from __future__ import annotations

import re
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from gatehouse.doctor.client import MAX_ANSWER_BYTES, NoAnswerError, called
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.visit import in_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.doctor.client import Answer, Call
    from gatehouse.doctor.visit import Visit

MAX_HEAD_SECONDS = 2.5
"""The head of a stream comes at once; one that comes later came with something else."""

MAX_CANCEL_SECONDS = 6.0
"""The gate knows within 3 seconds that a client has left."""

COMMENT = re.compile(rb"(?m)^:.*$")

NO_STREAM = "GET gets {}: the server sends nothing of its own accord"


@asynccontextmanager
async def listening(visit: Visit, session: str) -> AsyncIterator[Call]:
    """A stream that is open; its head has not been read."""
    lines = (("Accept", "text/event-stream"), ("Accept-Encoding", "gzip"), *in_session(session))
    async with called(visit.target, "GET", visit.fields(None, *lines)) as call:
        yield call


async def idle_stream(visit: Visit) -> list[Finding]:
    """A stream on which nothing happens."""
    seconds = visit.idle_seconds
    async with visit.session() as session, listening(visit, session) as call:
        head: Answer | None = None
        ended = False
        pieces: list[bytes] = []
        with trio.move_on_after(seconds) as watch:
            head = await call.head()
            if head.status != 200:
                return [found("no-stream", NO_STREAM.format(head.status))]
            ended = await read(call, pieces)
        watched = seconds - max(0.0, watch.deadline - trio.current_time())
        if head is None:
            return [found("head-held", f"no head came within {seconds:g} s")]
        return judged(head, pieces, watched, ended=ended)


async def read(call: Call, pieces: list[bytes]) -> bool:
    """Add the pieces of a stream until it ends, or until there are too many bytes. True if it has ended."""
    size = 0
    with suppress(NoAnswerError):  # cut, or ended in order: the same for a client
        async with aclosing(call.pieces()) as stream:
            async for piece in stream:
                pieces.append(piece)  # what came before somebody stops this counts
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    return False
    return True


def judged(head: Answer, pieces: list[bytes], watched: float, *, ended: bool) -> list[Finding]:
    """The findings about a stream that was watched for so many seconds."""
    findings = []
    if head.head_seconds > MAX_HEAD_SECONDS:
        findings.append(found("head-held", f"its head came after {head.head_seconds:.1f} s"))
    if encoding := head.get("content-encoding"):
        findings.append(found("stream-compressed", f"the stream comes with {encoding}"))
    if ended:
        findings.append(found("stream-cut", f"it ended after {watched:.1f} s"))
    if max((len(COMMENT.findall(piece)) for piece in pieces), default=0) > 1:
        findings.append(found("stream-buffered", "several comments came at once"))
    if not pieces and not ended:
        findings.append(found("no-comments", f"no byte came in {watched:.0f} s"))
    comments = sum(len(COMMENT.findall(piece)) for piece in pieces)
    seen = f"open for {watched:.0f} s, {comments} comments, head after {head.head_seconds * 1000:.0f} ms"
    return findings or [fine(seen)]


async def cancel(visit: Visit) -> list[Finding]:
    """The time until the server knows that a client has left: until it lets the next stream in."""
    async with visit.session() as session:
        if not session:
            return [fine("without sessions this cannot be seen from outside")]
        opened = False
        async with listening(visit, session) as first:
            with trio.move_on_after(MAX_HEAD_SECONDS):
                opened = (await first.head()).status == 200
            if not opened:
                return [fine("without a stream this cannot be seen from outside")]
            if await second_stream(visit, session) != 409:
                return [fine("the server allows several streams, so this cannot be seen")]
        left = trio.current_time()
        while (took := trio.current_time() - left) < 2 * MAX_CANCEL_SECONDS:
            if await second_stream(visit, session) == 200:
                break
            await trio.sleep(0.25)
    seen = f"the server knew after {took:.1f} s that a client had left"
    return [found("cancel-slow", seen) if took > MAX_CANCEL_SECONDS else fine(seen)]


async def second_stream(visit: Visit, session: str) -> int:
    """The status of one more stream in a session; 0 if there was none in time."""
    with trio.move_on_after(MAX_HEAD_SECONDS):
        async with listening(visit, session) as call:
            return (await call.head()).status
    return 0
