"""The policy on rates: has the principal asked too often?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.for_people import worded
from gatehouse.identity.principal import is_token
from gatehouse.identity.rate import OFF
from gatehouse.policy.base import Policy
from gatehouse.scheduling.fair_threads import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Principal
    from gatehouse.identity.rate import Rate
    from gatehouse.policy.budgets import Budgets


class Rates(Policy):
    """Counts each principal's requests against its own rate, or that of all.

    `by_query` gives the rate for credentials in a URL, which are the easiest to lose, by the principal's id.
    """

    def __init__(
        self, budgets: Budgets, rate: Rate | None, by_query: Callable[[str], Rate | None]
    ) -> None:
        self._budgets = budgets
        self._rate = rate
        self._by_query = by_query

    async def refusal(self, request: Request, principal: Principal) -> Reply | None:
        if principal.lane != "query" and not (principal.rate or self._rate):
            return None
        try:
            for key, rate, where in self._rates(principal):
                seconds = await self._budgets.retry_after(key, rate, principal.id)
                if seconds is not None:
                    return refusals.too_many_requests(
                        seconds,
                        f"Too many requests {_by(principal.name)} may make {rate}{where}. Wait as long as Retry-After says.",
                        "rate",
                    )
        except BusyError:
            return worded(refusals.TOO_MANY_QUESTIONS, token=is_token(principal.id))
        return None

    def _rates(self, principal: Principal) -> Iterator[tuple[str, Rate, str]]:
        """The keys that the request counts for, each with its rate, and the words for it."""
        rate = principal.rate or self._rate
        if rate and rate != OFF:
            yield principal.id, rate, ""
        if principal.lane == "query" and (rate := self._by_query(principal.id)):
            yield f"{principal.id} by query", rate, " in a URL"


def _by(name: str) -> str:
    """The one whose requests were too many, in words that «may» follows."""
    return f"with the token '{name}': it" if is_token(name) else f"by {name}, who"
