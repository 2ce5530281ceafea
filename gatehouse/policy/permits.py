"""Permits: the requests that a known principal may make.

The questions, in their order: has the principal asked too often, is the session its own, may it call
this thing. All of them are optional. A gate with one shared token and no rates has no permits at all,
and asks nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.fields import values_of
from gatehouse.http.paths import is_endpoint
from gatehouse.identity.principal import SHARED_NAME
from gatehouse.policy.shared_state import BUSY, UNAVAILABLE
from gatehouse.policy.tools import policy_refusal
from gatehouse.scheduling.fair_threads import BusyError

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers
    from gatehouse.http.refusals import Reply
    from gatehouse.identity.principal import Principal
    from gatehouse.identity.rate import Rate
    from gatehouse.policy.sessions import Sessions
    from gatehouse.policy.throttles import Limits

SESSION = b"mcp-session-id"

BELOW_ENDPOINT = refusals.forbidden(
    "Forbidden: this token is limited to some tools, and what lies below the MCP endpoint is none. Ask the "
    "operator of this server for a token without lists.",
    "grants",
)


class Permits:
    """The checks of each request, and of its answer.

    A gate with a single token has no `sessions`, and does not tell them apart. `rate` holds for tokens
    without a rate of their own, the others for tokens in a URL.
    """

    def __init__(
        self,
        limits: Limits,
        sessions: Sessions | None,
        *,
        hosted: bool,
        rate: Rate | None,
        shared_query_rate: Rate | None,
        named_query_rate: Rate | None,
    ) -> None:
        self._limits = limits
        self.sessions = sessions
        self._hosted = hosted
        self._rate = rate
        self._shared_query_rate = shared_query_rate
        self._named_query_rate = named_query_rate

    async def refusal(
        self, principal: Principal, raw_path: bytes, headers: Headers
    ) -> Reply | None:
        """The reply that refuses the request, or None to let it in."""
        try:
            if reply := await self._too_often(principal):
                return reply
        except BusyError:
            return refusals.TOO_MANY_QUESTIONS
        sessions = values_of(headers, SESSION)
        if len(sessions) > 1:  # one would be judged, and perhaps another one served
            return refusals.malformed(400)
        if sessions and (reply := await self._not_own(principal, sessions[0])):
            return reply
        if principal.grants.restricted and not is_endpoint(raw_path):
            return BELOW_ENDPOINT
        return policy_refusal(headers, principal.grants, name=principal.name, hosted=self._hosted)

    async def _too_often(self, principal: Principal) -> Reply | None:
        rates = {principal.name: principal.rate or self._rate}
        if principal.lane == "query":
            shared = principal.name == SHARED_NAME
            rate = self._shared_query_rate if shared else self._named_query_rate
            rates[f"{principal.name} by query"] = rate
        for key, rate in rates.items():
            if not rate:
                continue
            seconds = await self._limits.retry_after(key, rate, principal.name)
            if seconds is not None:
                return refusals.too_many_requests(
                    seconds,
                    f"Too many requests with the token '{principal.name}': it may make {rate}"
                    f"{' in a URL' if key != principal.name else ''}.",
                    "rate",
                )
        return None

    async def _not_own(self, principal: Principal, session: bytes) -> Reply | None:
        if self.sessions is None:
            return None
        owner = await self.sessions.owner(session, principal.name)
        if owner == principal.name:
            return None
        if owner is UNAVAILABLE:
            return refusals.SESSIONS_UNKNOWN
        return refusals.TOO_MANY_QUESTIONS if owner is BUSY else refusals.SESSION_NOT_FOUND

    def session_in_use(self, headers: Headers) -> AbstractContextManager[None]:
        """Keep the exchange's session, if it has one, from becoming idle during the block."""
        sessions = values_of(headers, SESSION)
        if not sessions or self.sessions is None:
            return nullcontext()
        return self.sessions.use(sessions[0])

    async def learn(
        self, principal: Principal, method: str, sent: Headers, status: int, answered: Headers
    ) -> bool:
        """Keep the ledger in step with an answer's head; False if the answer is not this principal's.

        A session is opened by the answer to a request that named none (MCP 2025-11-25, transports,
        «Session Management»). It ends when the upstream says that it no longer knows the session, or has
        deleted it.
        """
        if self.sessions is None:
            return True
        sessions = values_of(sent, SESSION)
        opened = values_of(answered, SESSION)
        if sessions:
            if status == 404 or (method == "DELETE" and status < 300):
                await self.sessions.ended(sessions[0], principal.name)
        elif opened and status < 300:
            return await self.sessions.opened(opened[0], principal.name)
        return True
