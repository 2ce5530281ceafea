"""The table of `tokens list`: each value with its age, its end and its last use, and the values that can go.

A note is not shown as it stands in the file: it could move the cursor.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gatehouse import advice
from gatehouse.tokens.hints import hints_about
from gatehouse.tokens.token import KINDS
from gatehouse.tokens.words import age, last_use_of, printable, rights, validity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gatehouse.http.mcp import Kind
    from gatehouse.identity.grants import Grants
    from gatehouse.tokens.last_use import LastUse
    from gatehouse.tokens.token import Token
    from gatehouse.tokens.value import TokenValue

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
            times = (age(value, now), validity(value, now), last_use_of(value, last_use, now))
            rows.append((token.name, value.id, *times, *of_token))
            of_token = ("", "", "", "")
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def hints(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> Iterator[str]:
    """A sentence for each value that can go, with the command for it."""
    for name, value_id, words in hints_about(tokens, last_use, now):
        if value_id:
            yield f"{name}: {words}: {advice.revoke_value(name, value_id)}"
        else:
            renew, drop = advice.rotate_token(name), advice.revoke_token(name)
            yield f"{name}: {words}; renew it: {renew} or drop it: {drop}"


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
        "last_use": last_use_of(value, last_use, now)
        if used is None
        else _iso(datetime.fromtimestamp(used, UTC)),
    }


def _granted(grants: Grants, kind: Kind) -> list[str] | None:
    """The globs of a kind; None is everything."""
    return list(getattr(grants, kind) or ()) if grants.restricted else None


def _iso(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
