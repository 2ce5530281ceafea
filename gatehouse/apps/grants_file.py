"""The grants of apps that the gate knows, over a restart: a table of its own in the file of STATE_DB.

It holds names and addresses of people, and no code, token or secret: the last code or refresh token that was used is
known by its place in the chain of its grant.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from gatehouse.apps.grant import MAX_GRANT_SECONDS, KnownGrant, as_caller, content_of, grant_in
from gatehouse.identity.state_file import PRIVATE_MODE, opened, opened_to_read
from gatehouse.signin.ended_file import began_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_GRANTS = 16_384
"""How many grants are known. With names, each takes some 1.5 KiB of memory and of the file."""

MAX_FACTS_LENGTH = 16_384
"""How long the facts of a grant may be, as text: our own are shorter, even with each character escaped."""

MAX_GENERATION = 999_999_999
"""More tokens than any grant has."""

_TABLE = """
CREATE TABLE IF NOT EXISTS app_grants (
    id TEXT PRIMARY KEY, began INTEGER NOT NULL, used REAL NOT NULL, address TEXT NOT NULL,
    generation INTEGER NOT NULL, advanced REAL NOT NULL, facts TEXT NOT NULL
) WITHOUT ROWID
"""
_NOTE = """
INSERT INTO app_grants VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    used = max(used, excluded.used), address = excluded.address,
    advanced = CASE WHEN excluded.generation > generation THEN excluded.advanced ELSE advanced END,
    generation = max(generation, excluded.generation)
"""
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'app_grants'"
_ALL = """
SELECT id, used, address, generation, advanced, facts FROM app_grants
WHERE began > ? ORDER BY used DESC LIMIT ?
"""
_FORGET = "DELETE FROM app_grants WHERE id = ?"
_FORGET_OVER = "DELETE FROM app_grants WHERE began <= ?"
_LEAVE_OUT = """
DELETE FROM app_grants WHERE id IN (SELECT id FROM app_grants ORDER BY used DESC LIMIT -1 OFFSET ?)
"""


def read_grants(path: Path, now: float) -> list[KnownGrant]:
    """The grants in the file that are not over at that Unix time, without rows that cannot be right. The latest used
    come first. Raises sqlite3.Error or OSError.
    """
    if not path.is_file():  # connecting would make it
        return []
    with opened_to_read(path) as database:
        if not database.execute(_IS_THERE).fetchone():
            return []
        rows = database.execute(_ALL, (_oldest(now), MAX_GRANTS))
        return [known for row in rows if (known := _known_in(now, *row))]


def write_grants(path: Path, news: Iterable[KnownGrant], gone: Iterable[str], now: float) -> None:
    """Add these to the file, which is made if it is missing; take out those with the ids `gone`. Raises sqlite3.Error.

    Those that are over go, and those beyond MAX_GRANTS.
    """
    with opened(path, PRIVATE_MODE) as database:
        database.execute(_TABLE)
        database.executemany(_NOTE, map(_columns_of, news))
        database.executemany(_FORGET, [(grant_id,) for grant_id in gone])
        database.execute(_FORGET_OVER, (_oldest(now),))
        database.execute(_LEAVE_OUT, (MAX_GRANTS,))


def _oldest(now: float) -> int:
    """The moment, in milliseconds, at which grants began that are over now."""
    return int((now - MAX_GRANT_SECONDS) * 1000)


def _columns_of(known: KnownGrant) -> tuple[Any, ...]:
    grant, *others = known
    # ASCII, since half a character of a claim cannot be written otherwise.
    facts = json.dumps({**content_of(grant), "i": grant.person.issuer})
    return grant.id, began_at(grant.id), *others, facts


def _known_in(
    now: float, grant_id: Any, used: Any, address: Any, generation: Any, advanced: Any, facts: Any
) -> KnownGrant | None:
    """The grant of a row; None if the row cannot be right: somebody else may have written it."""
    times = all(isinstance(time, float) and 0 <= time < inf for time in (used, advanced))
    texts = all(isinstance(text, str) for text in (grant_id, address, facts))
    if not times or not texts or len(facts) > MAX_FACTS_LENGTH:
        return None
    if not isinstance(generation, int) or not -1 <= generation <= MAX_GENERATION:
        return None
    try:
        told = json.loads(facts)
        grant = grant_in(told, issuer=told["i"], expires=0.0)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if grant.id != grant_id or not isinstance(told["i"], str):
        return None
    grant = replace(grant, person=as_caller(grant.person, grant.app))
    # A time in the future comes from a clock that was set back since: the use counts all the same.
    return KnownGrant(grant, min(used, now), address, generation, advanced)
