"""Counting requests against rates.

The counting is throttled-py's, with the generic cell rate algorithm: no window in which a client could
spend two budgets at its border. The library brings Redis's with it and takes a while to import, so nothing
here imports it before something is counted.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttled import BaseStore
    from throttled.rate_limiter import GCRARateLimiter

    from gatehouse.identity.rate import Rate

PREFIX = "mcp-gate"
"""The beginning of all keys that the gate stores."""

MIN_WAIT_SECONDS = 0.001
"""The shortest wait that a client is told: rounding must not make it zero."""

MAX_RATES = 256
"""How many rates keep their limiter. Any more have theirs made anew for each request."""


class Counts:
    """Counts requests against rates in one store. A key has a budget of its own under each rate.

    A key whose rate has changed therefore begins anew. `open_store` makes the store when the first
    request is counted; `take` raises the store's errors, then and later.
    """

    def __init__(self, open_store: Callable[[], BaseStore]) -> None:
        store = cache(open_store)
        self._limiter = lru_cache(MAX_RATES)(lambda rate: _limiter(rate, store()))

    def take(self, key: str, rate: Rate) -> float | None:
        """Take one request from the key's budget: None if one was left, else the seconds until one is."""
        result = self._limiter(rate).limit(key)
        return max(result.state.retry_after, MIN_WAIT_SECONDS) if result.limited else None


def counts_in_memory(max_keys: int) -> Counts:
    """Counts of `max_keys` keys in this process: one more replaces the one unused for longest."""

    def open_store() -> BaseStore:
        from throttled import MemoryStore

        return MemoryStore(options={"MAX_SIZE": max_keys})

    return Counts(open_store)


def _limiter(rate: Rate, store: BaseStore) -> GCRARateLimiter:
    from throttled.rate_limiter import GCRARateLimiter, Quota
    from throttled.rate_limiter import Rate as Period

    quota = Quota(Period(timedelta(seconds=rate.seconds), rate.count), rate.burst)
    prefix = f"{PREFIX}:rate:{rate.count}/{rate.seconds}/{rate.burst}"
    return GCRARateLimiter(quota, store, key_prefix=prefix)
