"""The file in which ended sessions outlast a restart: a table in that of STATE_DB."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.identity.state_file import PRIVATE_MODE, opened, opened_to_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_SESSIONS_PER_PERSON = 16
"""How many ended sessions of one person are remembered one by one."""

MAX_PEOPLE = 4096
"""How many people with ended sessions are remembered one by one. With all their sessions, that takes some 10 MiB."""

EVERYBODY = ""
"""In the place of a person: all of them. In the place of a session: all of that person's."""

MAX_PERSON_LENGTH = 100
"""Of the id of a person in the file, in characters. Ours have 39."""

_SESSION = re.compile(r"([0-9]{1,16})-[A-Za-z0-9_-]{22}")
_TABLE = """
CREATE TABLE IF NOT EXISTS ended_sessions (
    person TEXT NOT NULL, session TEXT NOT NULL, moment INTEGER NOT NULL, PRIMARY KEY (person, session)
) WITHOUT ROWID
"""
_ROWS = "SELECT person, session, moment FROM ended_sessions LIMIT ?"
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'ended_sessions'"
_END = """
INSERT INTO ended_sessions VALUES (?, ?, ?)
ON CONFLICT (person, session) DO UPDATE SET moment = max(moment, excluded.moment)
"""
_TIDY_UP = (
    # The moment of a person covers those of sessions, and that of everybody covers all.
    """
    DELETE FROM ended_sessions AS one WHERE session <> '' AND moment <=
        (SELECT moment FROM ended_sessions WHERE person = one.person AND session = '')
    """,
    """
    DELETE FROM ended_sessions WHERE person <> '' AND moment <=
        (SELECT moment FROM ended_sessions WHERE person = '' AND session = '')
    """,
)

Rows = dict[tuple[str, str], int]
"""Moments in milliseconds of Unix time, by person and session: up to when sessions are ended, or when one began."""


class Record(NamedTuple):
    """The ends that a file holds, and a sentence about what is wrong with it."""

    rows: Rows
    fault: str = ""


def read_ended(path: Path) -> Record:
    """The ends in the file; none if there is no file, or it has no such table yet."""
    most = MAX_PEOPLE * (MAX_SESSIONS_PER_PERSON + 1) + 1
    try:
        found = _rows_in(path, most + 1)
    except (sqlite3.Error, OSError) as error:
        return Record({}, f"cannot be read ({error})")
    rows = {(row[0], row[1]): row[2] for row in found if _fits(*row)}
    if len(rows) < len(found):
        return Record(rows, "holds ends of sessions that make no sense")
    return Record(rows, "holds too many ends of sessions" if len(rows) > most else "")


def _rows_in(path: Path, most: int) -> list[tuple[Any, Any, Any]]:
    """The rows as they stand in the file, `most` of them at most. Raises sqlite3.Error or OSError."""
    if not path.is_file():  # connecting would make it
        return []
    with opened_to_read(path) as database:
        there = database.execute(_IS_THERE).fetchone()
        return database.execute(_ROWS, (most,)).fetchall() if there else []


def _fits(person: object, session: object, moment: object) -> bool:
    if not isinstance(person, str) or not isinstance(session, str) or not isinstance(moment, int):
        return False
    if len(person) > MAX_PERSON_LENGTH or moment < 0:
        return False
    try:
        return session == EVERYBODY or began_at(session) == moment
    except ValueError:
        return False


def write_ended(path: Path, rows: Mapping[tuple[str, str], int], *, anew: bool = False) -> None:
    """Add these ends to the file, and take out those that others cover; with `anew`, all others. Raises sqlite3.Error."""
    with opened(path, PRIVATE_MODE) as database:
        database.execute(_TABLE)
        if anew:
            database.execute("DELETE FROM ended_sessions")
        database.executemany(_END, [(*key, moment) for key, moment in rows.items()])
        for statement in _TIDY_UP:
            database.execute(statement)


def began_at(session: str) -> int:
    """The moment at which the session of that id began. Raises ValueError if it is no id."""
    parts = _SESSION.fullmatch(session)
    if parts is None:
        raise ValueError("this is no id of a session")
    return int(parts[1])
