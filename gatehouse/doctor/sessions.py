"""Checks of sessions: unknown ones, their end, and whether another token gets in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.visit import in_session, lets_in

if TYPE_CHECKING:
    from gatehouse.doctor.visit import Visit

NONE = "the server keeps no sessions"


async def unknown_session(visit: Visit) -> list[Finding]:
    """A session that there never was: clients have one after the server's restart."""
    async with visit.session() as session:
        if not session:
            return [fine(NONE)]
    answer = await visit.call("tools/list", None, *in_session(uuid.uuid4().hex))
    seen = f"an unknown session gets {answer.status}"
    return [fine(seen) if answer.status == 404 else found("unknown-session", seen)]


async def delete(visit: Visit) -> list[Finding]:
    """The end of a session."""
    async with visit.session() as session:
        if not session:
            return [fine(NONE)]
        answer = await visit.ask("DELETE", *in_session(session))
        if not answer.good:
            return [found("delete-refused", f"DELETE gets {answer.status}")]
        after = await visit.call("tools/list", None, *in_session(session))
        seen = f"DELETE gets {answer.status}, the session {after.status} after it"
        return [found("delete-ignored", seen) if lets_in(after) else fine(seen)]


async def session_of_another(visit: Visit) -> list[Finding]:
    """A session that the first token has opened, used with the second one."""
    if len(visit.tokens) < 2:
        return [found("one-token", "with one token, this cannot be seen")]
    second = visit.tokens[1]
    answer = await visit.knock(token=second)
    if not lets_in(answer):
        return [found("second-token-refused", f"the second token gets {answer.status}")]
    async with visit.session() as session:
        if not session:
            return [fine(NONE)]
        answer = await visit.call("tools/list", None, *in_session(session), token=second)
        seen = f"the second token gets {answer.status} in a session of the first"
        return [found("session-shared", seen) if lets_in(answer) else fine(seen)]
