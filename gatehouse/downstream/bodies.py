"""Bounds the bytes of request bodies under way: for one name, and for all together.

The gate itself passes a body on as it comes. But the server collects all of it before looking at it, as
FastMCP does, and a hosted server's memory is this program's. A body therefore counts from when it is let
in until its exchange is over: with the length that it announces, or else with the bytes that have come.
A name is here a principal's id, which for a static token is its name.
"""

from __future__ import annotations

SMALL_BYTES = 16 * 1024
"""A body up to this size counts as nothing: MAX_CONNECTIONS bounds such bodies, and an ordinary call
has one. Large bodies therefore never keep anybody from calling a tool."""

MAX_LARGEST_BODIES = 64
"""How many bodies of MAX_BODY_BYTES all bodies together may amount to: 256 MiB by default."""


class BodiesFullError(Exception):
    """There is no room now for a body, or for the rest of it."""


class Bodies:
    """Counts the bytes of bodies under way, `most` at a time.

    With `by_name`, one name may have as much as it leaves free: half if it is alone, and if n names take
    all they can get, each has one part of n + 1. There is thus always room for a name that has nothing yet.
    Without, there is but one token, and nobody needs protection from it.
    """

    def __init__(self, most: int, *, by_name: bool) -> None:
        self.under_way = 0
        self._most = most
        self._by_name = by_name
        self._of: dict[str, int] = {}

    def take(self, name: str, size: int) -> None:
        """Count `size` more bytes for the name. Raises BodiesFullError if there is no room for them."""
        own = self._of.get(name, 0) + size
        free = self._most - self.under_way - size
        if free < (own if self._by_name else 0):
            raise BodiesFullError
        self._of[name] = own
        self.under_way += size

    def give_back(self, name: str, size: int) -> None:
        """Count `size` fewer bytes for the name, which must have them."""
        self.under_way -= size
        self._of[name] -= size
        if not self._of[name]:
            del self._of[name]
