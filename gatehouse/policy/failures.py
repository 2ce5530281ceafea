"""Failures to authenticate, counted per client address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http.address import address_group
from gatehouse.policy.counting import counts_in_memory

if TYPE_CHECKING:
    from gatehouse.identity.rate import Rate

MAX_ADDRESSES = 4096
"""How many addresses have their failures kept."""


class Failures:
    """Counts, per client address, the credentials that were no good. Without a rate, it counts nothing.

    It counts only after a comparison has failed. A good token is therefore let in however often
    others have failed from its address: nobody can lock out others' tokens.

    An IPv6 client counts by its /64, of which it has every address. The counts stay in this
    process, for the last MAX_ADDRESSES addresses.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._counts = counts_in_memory(MAX_ADDRESSES)

    def retry_after(self, address: str) -> float | None:
        """Count a failure: None if 401 is the answer, else the seconds that a 429 tells to wait."""
        if self._rate is None:
            return None
        return self._counts.take(address_group(address), self._rate)
