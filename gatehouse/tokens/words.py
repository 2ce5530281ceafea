"""Words for people about a token and its values: age, validity, last use, rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.tokens.durations import in_words
from gatehouse.tokens.token import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gatehouse.identity.grants import Grants
    from gatehouse.tokens.last_use import LastUse
    from gatehouse.tokens.token import Token
    from gatehouse.tokens.value import TokenValue


KEEP = "Keep the value below: it is not stored anywhere, and is not shown again."
"""The sentence above a new value."""


def about_use(token: Token) -> Iterator[str]:
    """Sentences about the lanes and the rights of a token, if there is something to say."""
    if "query" in token.lanes:
        yield (
            "It may also come in the URL, as ?key=VALUE. URLs show up in logs, so do that only with a "
            "client that cannot send headers."
        )
    if token.grants.restricted:
        named = [kind for kind in KINDS if getattr(token.grants, kind) is not None]
        others = " or ".join(kind for kind in KINDS if kind not in named)
        yield f"It may use only: {rights(token.grants)}" + (
            f". It may use no {others}, because no list names any." if others else "."
        )


def about_old_values(token: Token, now: datetime) -> Iterator[str]:
    """A sentence for each value that a token had before its last one."""
    for old in token.values[:-1]:
        end = "is not valid any more" if old.expired_at(now) else validity(old, now)
        yield f"The old value {old.id} {end}."


def rights(grants: Grants) -> str:
    """The things that the grants allow, in words."""
    if not grants.restricted:
        return "everything"
    granted = [f"{kind} {', '.join(globs)}" for kind in KINDS if (globs := getattr(grants, kind))]
    return "; ".join(granted) or "nothing"


def age(value: TokenValue, now: datetime) -> str:
    """The time since the value was made."""
    return in_words((now - value.created).total_seconds()) if value.created else "unknown"


def validity(value: TokenValue, now: datetime) -> str:
    """The beginning and the end of the value, in words."""
    words = []
    if value.not_before and value.not_before > now:
        words.append(f"begins in {in_words((value.not_before - now).total_seconds())}")
    if value.expires is None:
        words.append("does not expire")
    elif value.expires > now:
        words.append(f"expires in {in_words((value.expires - now).total_seconds())}")
    else:
        words.append(f"expired {in_words((now - value.expires).total_seconds())} ago")
    return ", ".join(words)


def last_use_of(value: TokenValue, last_use: LastUse, now: datetime) -> str:
    """When the value was last used: "2 hours ago", "never", "unknown"."""
    used = last_use.of(value)
    if used is not None:
        return f"{since(used, now)} ago"
    return "never" if last_use.knows(value) else "unknown"


def since(moment: float, now: datetime) -> str:
    """The time since a moment that is given as Unix time."""
    return in_words(now.timestamp() - moment)


def printable(text: str) -> str:
    """The text with codes in the place of characters that could move the cursor or turn the line around."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
