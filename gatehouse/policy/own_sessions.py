"""The policy on sessions: is the session the principal's own?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.fields import values_of
from gatehouse.http.for_people import worded
from gatehouse.http.mcp import SESSION
from gatehouse.http.paths import is_endpoint
from gatehouse.identity.principal import is_token
from gatehouse.policy.base import Policy
from gatehouse.policy.shared_state import BUSY, UNAVAILABLE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from gatehouse.http.fields import Headers
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Principal
    from gatehouse.policy.sessions import Sessions


class OwnSessions(Policy):
    """Lets a principal use the sessions that it opened, and no other."""

    def __init__(self, ledger: Sessions) -> None:
        self._ledger = ledger
        self._opens: bool | None = None
        """True if the upstream has opened a session, False if it answers without; None if nobody knows yet."""

    async def refusal(self, request: Request, principal: Principal) -> Reply | None:
        if not request.sessions:
            return None
        if len(request.sessions) > 1:  # one would be judged, and perhaps another one served
            return refusals.malformed(400)
        owner = await self._ledger.owner(request.sessions[0], principal.id)
        if owner == principal.id:
            return None
        if owner is UNAVAILABLE:
            return refusals.SESSIONS_UNKNOWN
        if owner is BUSY:
            return worded(refusals.TOO_MANY_QUESTIONS, token=is_token(principal.id))
        return refusals.SESSION_NOT_FOUND

    def during(self, request: Request) -> AbstractContextManager[None]:
        """Keeps the exchange's session, if it has one, from becoming idle."""
        if not request.sessions:
            return super().during(request)
        return self._ledger.use(request.sessions[0])

    def must_see_head(self, request: Request) -> bool:
        """True if the answer may open a session: one that nobody knew of would count for no name, and never end."""
        return self._opens is not False and may_open(request)

    async def objection(
        self, request: Request, principal: Principal, status: int, headers: Headers
    ) -> str:
        """Keeps the ledger in step with the answer.

        A session is opened by an answer that names one which the request did not name (MCP 2025-11-25, transports,
        «Session Management»). It ends when the upstream says that it no longer knows the session, or has
        deleted it.
        """
        if request.sessions and may_end(request):
            if status == 404:
                await self._ledger.lost(request.sessions[0], principal.id)
            elif request.method == "DELETE" and status < 300:
                await self._ledger.ended(request.sessions[0], principal.id)
        named = values_of(headers, SESSION) if status < 300 else []
        opened = [session for session in named if session not in request.sessions]
        if opened:
            self._opens = True
        elif self._opens is None and status == 200 and tells(request):
            self._opens = False
        if opened and not await self._ledger.opened(opened[0], principal.id):
            return "opened a session that it had opened for another token"
        return ""


def may_open(request: Request) -> bool:
    """True if the answer may open a session: since MCP 2026-07-28, whose requests name their call, there are none."""
    return request.method == "POST" and not request.sessions and request.call is None


def may_end(request: Request) -> bool:
    """True if the answer may tell that the session is over. Below the endpoint, and since MCP 2026-07-28, 404 and
    success mean something else.
    """
    return is_endpoint(request.path) and request.call is None and not request.call_is_unclear


def tells(request: Request) -> bool:
    """True if an answer without a session tells that there are none. Below the endpoint, a route may be anything."""
    return may_open(request) and is_endpoint(request.path) and not request.call_is_unclear
