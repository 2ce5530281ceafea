"""Refusals that speak of a token, in other words for people and machines that have none of the gate's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse.http import refusals

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply


def _reworded(reply: Reply, *words: tuple[bytes, bytes]) -> Reply:
    body = reply.body
    for ours, theirs in words:
        body = body.replace(ours, theirs)
    return replace(reply, body=body)


WORDED = {
    refusals.TOO_MANY_OF_NAME: _reworded(
        refusals.TOO_MANY_OF_NAME,
        (
            b"This token holds as many connections as it may",
            b"You hold as many connections as you may",
        ),
    ),
    refusals.TOO_MANY_QUESTIONS: _reworded(
        refusals.TOO_MANY_QUESTIONS, (b"This token sends more requests", b"You send more requests")
    ),
    refusals.BESIDE_ENDPOINT: _reworded(
        refusals.BESIDE_ENDPOINT,
        (b"this token may use some tools only", b"you may use some tools only"),
        (b"for a token without lists", b"to lift that limit"),
    ),
}


def worded(reply: Reply, *, token: bool) -> Reply:
    """The reply in the words for its reader: one with a static token, or anybody else."""
    return reply if token else WORDED[reply]
