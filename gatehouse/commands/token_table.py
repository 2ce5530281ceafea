"""The table of `tokens list`: each value with its age, its end and its last use, and the values that can go.

A note is not shown as it stands in the file: it could move the cursor.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gatehouse import advice
from gatehouse.commands.durations import in_words
from gatehouse.tokens.token import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gatehouse.http.mcp import Kind
    from gatehouse.identity.grants import Grants
    from gatehouse.tokens.last_use import LastUse
    from gatehouse.tokens.token import Token
    from gatehouse.tokens.value import TokenValue

MIN_UNUSED = timedelta(days=7)
"""An old value that is unused for this long is probably in no client any more."""

COLUMNS = ("NAME", "VALUE", "AGE", "VALID", "LAST USE", "LANES", "FOR", "RATE", "NOTE")


def as_table(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> str:
    """A line for each value, under a line of titles; only a token's first line tells the token's own columns."""
    rows = [COLUMNS]
    for token in tokens:
        of_token = (
            ", ".join(sorted(token.lanes)),
            rights(token.grants),
            str(token.rate or "none"),
            token.note,
        )
        for value in token.values:
            age = in_words((now - value.created).total_seconds()) if value.created else "unknown"
            of_value = (value.id, age, validity(value, now), _last_use(value, last_use, now))
            rows.append((token.name, *of_value, *of_token))
            of_token = ("", "", "", "")
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def hints(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> Iterator[str]:
    """A sentence for each value that can go, with the command for it."""
    for token in tokens:
        revoke = advice.revoke_token(token.name)
        if all(value.expired_at(now) for value in token.values):
            rotate = advice.rotate_token(token.name)
            yield f"{token.name}: has expired; renew it: {rotate} or drop it: {revoke}"
            continue
        for value in token.values:
            if value.expired_at(now):
                words = f"value {value.id} {validity(value, now)}"
            elif _is_left_behind(value, token, last_use, now):
                used = last_use.of(value)
                unused = "never used" if used is None else f"unused for {_since(used, now)}"
                words = f"old value {value.id} {unused}"
            else:
                continue
            yield f"{token.name}: {words}, safe to drop: {advice.revoke_value(token.name, value.id)}"


def _is_left_behind(value: TokenValue, token: Token, last_use: LastUse, now: datetime) -> bool:
    """True if a newer value is in use instead of this one, and has been for long enough to tell."""
    since = last_use.unused_since(value)
    if now.timestamp() - since < MIN_UNUSED.total_seconds():
        return False
    used = last_use.of(value) or 0.0
    return any(
        newer.created is not None
        and (value.created is None or newer.created > value.created)
        and (last_use.of(newer) or 0.0) > used
        for newer in token.values
        if newer is not value
    )


def as_json(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> str:
    """The same for programs: times as ISO 8601 in UTC, null for none.

    `last_use` may also be "never" or "unknown"; null for `tools` and the like means everything.
    """
    tokens = tuple(tokens)
    listed: list[dict[str, Any]] = [
        {
            "name": token.name,
            "note": token.note,
            "lanes": sorted(token.lanes),
            "rate": str(token.rate) if token.rate else None,
            **{kind: _granted(token.grants, kind) for kind in KINDS},
            "values": [_value_for_json(value, last_use, now) for value in token.values],
        }
        for token in tokens
    ]
    return json.dumps({"tokens": listed, "hints": [*hints(tokens, last_use, now)]}, indent=2)


def _value_for_json(value: TokenValue, last_use: LastUse, now: datetime) -> dict[str, Any]:
    used = last_use.of(value)
    return {
        "id": value.id,
        "valid": value.valid_at(now.timestamp()),
        **{key: _iso(getattr(value, key)) for key in ("created", "not_before", "expires")},
        "last_use": _last_use(value, last_use, now)
        if used is None
        else _iso(datetime.fromtimestamp(used, UTC)),
    }


def _granted(grants: Grants, kind: Kind) -> list[str] | None:
    """The globs of a kind; None is everything."""
    return list(getattr(grants, kind) or ()) if grants.restricted else None


def _iso(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def rights(grants: Grants) -> str:
    """The things that the grants allow, in words."""
    if not grants.restricted:
        return "everything"
    granted = [f"{kind} {', '.join(globs)}" for kind in KINDS if (globs := getattr(grants, kind))]
    return "; ".join(granted) or "nothing"


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


def _last_use(value: TokenValue, last_use: LastUse, now: datetime) -> str:
    used = last_use.of(value)
    if used is not None:
        return f"{_since(used, now)} ago"
    return "never" if last_use.knows(value) else "unknown"


def _since(moment: float, now: datetime) -> str:
    return in_words(now.timestamp() - moment)


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
