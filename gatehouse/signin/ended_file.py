"""The file in which ended sessions outlast a restart: a table in that of STATE_DB, one for each kind of them."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.identity.state_file import PRIVATE_MODE, opened, opened_to_read
from gatehouse.signin.sealing import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_PEOPLE = 4096
"""How many people with ended sessions are remembered one by one. With 16 sessions each, that takes some 10 MiB."""

EVERYBODY = ""
"""In the place of a person: all of them. In the place of a session: all of that person's."""

MAX_PERSON_LENGTH = 100
"""Of the id of a person in the file, in characters. Ours have 39."""

_SESSION = re.compile(r"([0-9]{1,16})-[A-Za-z0-9_-]{22}")
_TABLE = """
CREATE TABLE IF NOT EXISTS {0} (
    person TEXT NOT NULL, session TEXT NOT NULL, moment INTEGER NOT NULL, PRIMARY KEY (person, session)
) WITHOUT ROWID
"""
_ROWS = "SELECT person, session, moment FROM {0} LIMIT ?"
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE name = ?"
_CLEAR = "DELETE FROM {0}"
_END = """
INSERT INTO {0} VALUES (?, ?, ?)
ON CONFLICT (person, session) DO UPDATE SET moment = max(moment, excluded.moment)
"""
_TIDY_UP = (
    # The moment of a person covers those of sessions, and that of everybody covers all.
    """
    DELETE FROM {0} AS one WHERE session <> '' AND moment <=
        (SELECT moment FROM {0} WHERE person = one.person AND session = '')
    """,
    """
    DELETE FROM {0} WHERE person <> '' AND moment <=
        (SELECT moment FROM {0} WHERE person = '' AND session = '')
    """,
)


class Kind(NamedTuple):
    """A kind of sessions, each of which a person begins, and may end before its time."""

    table: str
    """The table of their ends in the file. A word."""
    words: str
    """All of them, for the log: they begin, and are ended."""
    redo: str
    """How people begin new ones, for the log."""
    seconds: float
    """How long one lasts, at most."""
    per_person: int
    """How many ended ones of a person are remembered one by one."""


SESSIONS = Kind("ended_sessions", "sessions of people", "they sign in again", MAX_SECONDS, 16)
"""Sessions in browsers (`signin.sessions`)."""

Rows = dict[tuple[str, str], int]
"""Moments in milliseconds of Unix time, by person and session: up to when sessions are ended, or when one began."""


class Record(NamedTuple):
    """The ends that a file holds, and a sentence about what is wrong with it."""

    rows: Rows
    fault: str = ""


def read_ended(path: Path, kind: Kind) -> Record:
    """The ends in the file; none if there is no file, or it has no such table yet."""
    most = MAX_PEOPLE * (kind.per_person + 1) + 1
    try:
        found = _rows_in(path, kind, most + 1)
    except (sqlite3.Error, OSError) as error:
        return Record({}, f"cannot be read ({error})")
    rows = {(row[0], row[1]): row[2] for row in found if _fits(*row)}
    if len(rows) < len(found):
        return Record(rows, f"holds ends of {kind.words} that make no sense")
    return Record(rows, f"holds too many ends of {kind.words}" if len(rows) > most else "")


def _rows_in(path: Path, kind: Kind, most: int) -> list[tuple[Any, Any, Any]]:
    """The rows as they stand in the file, `most` of them at most. Raises sqlite3.Error or OSError."""
    if not path.is_file():  # connecting would make it
        return []
    with opened_to_read(path) as database:
        if not database.execute(_IS_THERE, (kind.table,)).fetchone():
            return []
        return database.execute(_ROWS.format(kind.table), (most,)).fetchall()


def _fits(person: object, session: object, moment: object) -> bool:
    if not isinstance(person, str) or not isinstance(session, str) or not isinstance(moment, int):
        return False
    if len(person) > MAX_PERSON_LENGTH or moment < 0:
        return False
    try:
        return session == EVERYBODY or began_at(session) == moment
    except ValueError:
        return False


def write_ended(
    path: Path, kind: Kind, rows: Mapping[tuple[str, str], int], *, anew: bool = False
) -> None:
    """Add these ends to the file, and take out those that others cover; with `anew`, all others. Raises sqlite3.Error."""
    with opened(path, PRIVATE_MODE) as database:
        database.execute(_TABLE.format(kind.table))
        if anew:
            database.execute(_CLEAR.format(kind.table))
        database.executemany(
            _END.format(kind.table), [(*key, moment) for key, moment in rows.items()]
        )
        for statement in _TIDY_UP:
            database.execute(statement.format(kind.table))


def began_at(session: str) -> int:
    """The moment at which the session of that id began. Raises ValueError if it is no id."""
    parts = _SESSION.fullmatch(session)
    if parts is None:
        raise ValueError("this is no id of a session")
    return int(parts[1])
