"""Budgets: requests counted against the rates of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.policy.counting import counts_in_memory
from gatehouse.policy.shared_state import BUSY, UNAVAILABLE
from gatehouse.scheduling.fair_threads import BusyError

if TYPE_CHECKING:
    from gatehouse.identity.rate import Rate
    from gatehouse.policy.shared_state import SharedState

MAX_KEYS = 10_000
"""How many keys have their budgets kept."""


class Budgets:
    """Counts requests against rates, per key. With `shared`, several gates have one budget.

    Keys come from the configuration, or from an issuer that vouches for a person, never from a client: made-up keys
    would push others out of the table, and these would begin anew.

    Each gate counts for itself first, and then asks the shared state. One gate's requests therefore
    never exceed a rate, whether the shared state is there, lies or comes and goes; and requests
    refused here cost the shared state nothing.
    """

    def __init__(self, shared: SharedState | None = None) -> None:
        self._local = counts_in_memory(MAX_KEYS)
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
