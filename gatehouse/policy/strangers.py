"""Those who come without a token, for paths that need none: what they may take."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.address import address_group
from gatehouse.http.reply import busy
from gatehouse.policy.base import Policy
from gatehouse.policy.counting import counts_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.rate import Rate

MAX_ADDRESSES = 4096
"""How many addresses have their requests counted."""

MAX_AT_ONCE, MAX_OF_ADDRESS = 64, 16
"""How many of their requests may be under way: the server then still has time for those with a token, and one address
leaves room for others."""

TOO_MANY_AT_ONCE = busy(
    "As many requests without a token are under way as may be at a time, or as may come from this address. Try "
    "again in a few seconds.",
    5,
    reason="open-places",
)


class Strangers(Policy):
    """Bounds the requests without a principal, by address: how often they come, and how many are under way.

    Nobody of them waits for a hosted server to start, since the places for that are for tokens.
    """

    def __init__(self, rate: Rate | None, started: trio.Event) -> None:
        self._rate = rate
        self._counts = counts_in_memory(MAX_ADDRESSES)
        self._started = started
        self._under_way: Counter[str] = Counter()

    def turned_away(self, request: Request) -> Reply | None:
        """The reply that refuses a request without a principal, or None to let it in."""
        group = address_group(request.client)
        if self._rate is not None:
            seconds = self._counts.take(group, self._rate)
            if seconds is not None:
                words = "Too many requests without a token have come from this address. Wait, and send fewer."
                return refusals.too_many_requests(seconds, words, "open-rate")
        if self._under_way[group] >= MAX_OF_ADDRESS or self._under_way.total() >= MAX_AT_ONCE:
            return TOO_MANY_AT_ONCE
        return None if self._started.is_set() else refusals.STARTING

    @contextmanager
    def during(self, request: Request) -> Iterator[None]:
        """A block around the exchange, which counts it."""
        group = address_group(request.client)
        self._under_way[group] += 1
        try:
            yield
        finally:
            self._under_way[group] -= 1
            if not self._under_way[group]:
                del self._under_way[group]
