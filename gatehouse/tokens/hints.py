"""Finds the values that can go: those that have expired, and old ones that no client has any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.tokens.words import since, validity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from gatehouse.tokens.last_use import LastUse
    from gatehouse.tokens.token import Token
    from gatehouse.tokens.value import TokenValue

MIN_UNUSED = timedelta(days=7)
"""An old value that is unused for this long is probably in no client any more."""


class Hint(NamedTuple):
    """A token, or one value of it, that can go, and the reason as the rest of a sentence."""

    name: str
    value_id: str
    """Empty if the whole token has expired: then it may also be renewed."""
    words: str


def hints_about(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> Iterator[Hint]:
    """A hint for each token that has expired, and for each other value that can go."""
    for token in tokens:
        if all(value.expired_at(now) for value in token.values):
            yield Hint(token.name, "", "has expired")
            continue
        for value in token.values:
            if value.expired_at(now):
                words = f"value {value.id} {validity(value, now)}"
            elif _is_left_behind(value, token, last_use, now):
                used = last_use.of(value)
                unused = "never used" if used is None else f"unused for {since(used, now)}"
                words = f"old value {value.id} {unused}"
            else:
                continue
            yield Hint(token.name, value.id, f"{words}, safe to drop")


def _is_left_behind(value: TokenValue, token: Token, last_use: LastUse, now: datetime) -> bool:
    """True if a newer value is in use instead of this one, and has been for long enough to tell."""
    unused_since = last_use.unused_since(value)
    if now.timestamp() - unused_since < MIN_UNUSED.total_seconds():
        return False
    used = last_use.of(value) or 0.0
    return any(
        newer.created is not None
        and (value.created is None or newer.created > value.created)
        and (last_use.of(newer) or 0.0) > used
        for newer in token.values
        if newer is not value
    )
