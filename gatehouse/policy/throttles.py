"""Throttles: they count requests against the rates of their tokens, and failures to authenticate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http.address import address_group
from gatehouse.policy.counting import counts_in_memory
from gatehouse.policy.shared_state import BUSY, UNAVAILABLE
from gatehouse.scheduling.fair_threads import BusyError

if TYPE_CHECKING:
    from gatehouse.identity.rate import Rate
    from gatehouse.policy.shared_state import SharedState

MOST_KEYS = 10_000
"""How many keys have their budgets kept."""

MOST_ADDRESSES = 4096
"""How many addresses have their failures kept."""


class Limits:
    """Counts requests against rates, per key. With `shared`, several gates have one budget.

    Keys come from the configuration, never from a client: made-up keys would push others out of the
    table, and these would begin anew.

    Each gate counts for itself first, and then asks the shared state. One gate's requests therefore
    never exceed a rate, whether the shared state is there, lies or comes and goes; and requests
    refused here cost the shared state nothing.
    """

    def __init__(self, shared: SharedState | None = None) -> None:
        self._local = counts_in_memory(MOST_KEYS)
        self._shared = shared

    async def retry_after(self, key: str, rate: Rate, name: str = "") -> float | None:
        """Take one request of the key's budget: None lets it in, else the seconds to wait (above 0).

        Raises BusyError if the name (by default the key's own) has too many questions under way: a client
        can bring that about, so it lets nobody in.
        """
        wait = self._local.take(key, rate)
        if wait is not None or self._shared is None:
            return wait
        answer = await self._shared.take(name or key, key, rate)
        if answer is BUSY:
            raise BusyError
        return None if answer is UNAVAILABLE else answer


class FailureThrottle:
    """Counts, per client address, the credentials that were no good. Without a rate, it never throttles.

    It counts only after a comparison has failed. A good token is therefore let in however often
    others have failed from its address: nobody can lock out others' tokens.

    An IPv6 client counts by its /64, of which it has every address. The counts stay in this
    process, for the last MOST_ADDRESSES addresses.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._failures = counts_in_memory(MOST_ADDRESSES)

    def retry_after(self, address: str) -> float | None:
        """Count a failure: None if 401 is the answer, else the seconds that a 429 tells to wait."""
        if self._rate is None:
            return None
        return self._failures.take(address_group(address), self._rate)
