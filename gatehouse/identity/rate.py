"""Rates: how they are written in settings, `60/min, burst 20`, and how requests are counted against them.

The counting is throttled-py's, with the generic cell rate algorithm: no window in which a client could
spend two budgets at its border. The parsing is ours, though throttled-py knows the same words: it brings
Redis's library with it and takes a while to import, so that is left until something is counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttled import BaseStore
    from throttled.rate_limiter import GCRARateLimiter

MOST = 1_000_000
"""The largest number in a rate. A larger one is a slip, or no limit at all."""

_SECONDS = {"s": 1, "min": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "hour"),
    **dict.fromkeys(("d", "day", "days"), "day"),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "week"),
}

_RATE = re.compile(
    r"(?P<count>[0-9]+)\s*(?:/\s*|per\s+)(?P<unit>[a-z]+)"
    r"(?:(?:\s*,\s*|\s+)burst\s+(?P<burst>[0-9]+))?",
    re.ASCII | re.IGNORECASE,
)

PREFIX = "mcp-gate"
"""How the keys of everything that the gate stores begin."""

LEAST_SECONDS = 0.001
"""The shortest wait that is told: rounding must not make it zero."""

MOST_RATES = 256
"""How many rates keep their limiter. Any more have theirs made anew for each request."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests in `seconds`, evenly, and `burst` of them at once after a pause."""

    count: int
    seconds: int
    burst: int

    @property
    def interval(self) -> float:
        """The seconds after which there is room for one more."""
        return self.seconds / self.count

    def __str__(self) -> str:
        """The rate as settings write it: `60/min, burst 20`, or `60/min` if that is also the burst."""
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        burst = "" if self.burst == self.count else f", burst {self.burst}"
        return f"{self.count}/{unit}{burst}"


def parse_rate(text: str) -> Rate:
    """The rate that `text` says, such as `60/min, burst 20`, `10/s` or `1000 per hour`.

    Without a burst, all requests of one period may come at once. Raises ValueError, in words that
    complete «NAME: ...» and do not repeat the text.
    """
    match = _RATE.fullmatch(text.strip())
    unit = _UNITS.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(
            "must be a rate such as 60/min or 60/min, burst 20; the units are s, min, hour, day, week"
        )
    count = _number(match["count"])
    burst = count if match["burst"] is None else _number(match["burst"])
    return Rate(count, _SECONDS[unit], burst)


def _number(digits: str) -> int:
    number = int(digits) if len(digits) <= len(str(MOST)) else 0
    if not 1 <= number <= MOST:
        raise ValueError(f"must be a rate whose numbers are from 1 to {MOST}, such as 60/min")
    return number


class Counts:
    """Counts requests against rates in one store. A key has a budget of its own under each rate.

    A key whose rate has changed therefore begins anew. `open_store` makes the store when the first
    request is counted; `take` raises the store's errors, then and later.
    """

    def __init__(self, open_store: Callable[[], BaseStore]) -> None:
        store = cache(open_store)
        self._limiter = lru_cache(MOST_RATES)(lambda rate: _limiter(rate, store()))

    def take(self, key: str, rate: Rate) -> float | None:
        """Take one request from the key's budget: None if one was left, else the seconds until one is."""
        result = self._limiter(rate).limit(key)
        return max(result.state.retry_after, LEAST_SECONDS) if result.limited else None


def counts_in_memory(most_keys: int) -> Counts:
    """Counts of `most_keys` keys in this process: one more replaces the one unused for longest."""

    def open_store() -> BaseStore:
        from throttled import MemoryStore

        return MemoryStore(options={"MAX_SIZE": most_keys})

    return Counts(open_store)


def _limiter(rate: Rate, store: BaseStore) -> GCRARateLimiter:
    from throttled.rate_limiter import GCRARateLimiter, Quota
    from throttled.rate_limiter import Rate as Period

    quota = Quota(Period(timedelta(seconds=rate.seconds), rate.count), rate.burst)
    prefix = f"{PREFIX}:rate:{rate.count}/{rate.seconds}/{rate.burst}"
    return GCRARateLimiter(quota, store, key_prefix=prefix)
