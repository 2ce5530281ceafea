"""Those who came in, over a restart: a table of its own in the file of STATE_DB.

It holds names and addresses of people, and decides nothing: if the file cannot be read or written, requests are
served all the same, and the log says so once.
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any

from gatehouse.identity.arrivals import KEEP_SECONDS, MAX_ARRIVALS, Arrival, kept
from gatehouse.identity.clock import clock
from gatehouse.identity.state_file import PRIVATE_MODE, opened, opened_to_read
from gatehouse.identity.subject import Subject, shown_as
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gatehouse.identity.arrivals import Arrivals
    from gatehouse.identity.principal import PrincipalKind

logger = logger_of("gate.people")

THREADS = OwnThreads("arrivals")

WRITE_SECONDS = 10.0
"""How often those who came are written: a killed program loses this much at most."""

MAX_AHEAD_SECONDS = 86_400.0
"""A time that lies further in the future cannot be right: clocks differ, but not by a day."""

MAX_FACTS_LENGTH = 65_536
"""How long the facts of one may be, as text: our own are shorter, even with each character escaped."""

KINDS: dict[str, PrincipalKind] = {"oauth": "oauth", "front": "front", "person": "person"}

_TABLE = """
CREATE TABLE IF NOT EXISTS arrivals (
    id TEXT PRIMARY KEY, came REAL NOT NULL, signed_in REAL NOT NULL, facts TEXT NOT NULL
) WITHOUT ROWID
"""
_NOTE = """
INSERT INTO arrivals VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    came = max(came, excluded.came), signed_in = max(signed_in, excluded.signed_in), facts = excluded.facts
"""
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'arrivals'"
_IN_TIME = "max(came, signed_in) BETWEEN ? AND ?"
_ALL = f"""
SELECT id, came, signed_in, facts FROM arrivals WHERE {_IN_TIME}
ORDER BY max(came, signed_in) DESC LIMIT ?
"""  # noqa: S608
_FORGET = f"DELETE FROM arrivals WHERE NOT {_IN_TIME}"  # noqa: S608
_LEAVE_OUT = """
DELETE FROM arrivals WHERE id IN (
    SELECT id FROM arrivals ORDER BY max(came, signed_in) DESC LIMIT -1 OFFSET ?
)
"""


def read_arrivals(path: Path) -> list[Arrival]:
    """All that the file has, leaving out rows that cannot be right. Raises sqlite3.Error."""
    if not path.is_file():
        return []
    with opened_to_read(path) as database:
        if not database.execute(_IS_THERE).fetchone():
            return []
        rows = database.execute(_ALL, (*in_time(), MAX_ARRIVALS))
        return [arrival for row in rows if (arrival := arrival_of(*row))]


def write_arrivals(path: Path, news: Iterable[Arrival]) -> None:
    """Add these to the file, which is made if it is missing. Raises sqlite3.Error.

    Those who came too long ago go, those beyond MAX_ARRIVALS, and those who come from the future.
    """
    with opened(path, PRIVATE_MODE) as database:
        database.execute(_TABLE)
        rows = [(each.id, each.came, each.signed_in, facts_of(each)) for each in news]
        database.executemany(_NOTE, rows)
        database.execute(_FORGET, in_time())
        database.execute(_LEAVE_OUT, (MAX_ARRIVALS,))


def in_time() -> tuple[float, float]:
    """From when to when somebody must have come to be kept."""
    now = clock()
    return now - KEEP_SECONDS, now + MAX_AHEAD_SECONDS


def facts_of(arrival: Arrival) -> str:
    """The facts about somebody as text: ASCII, since half a character of a claim cannot be written otherwise."""
    subject = arrival.subject
    return json.dumps(
        {
            "issuer": subject.issuer,
            "sub": subject.sub,
            "client": subject.client,
            "machine": subject.is_machine,
            "email": subject.email,
            "username": subject.username,
            "orgs": sorted(subject.orgs),
            "shown": subject.shown,
        }
    )


def arrival_of(arrival_id: Any, came: Any, signed_in: Any, facts: Any) -> Arrival | None:
    """The one of a row; None if the row cannot be right: somebody else may have written it."""
    kind = KINDS.get(arrival_id.partition(":")[0]) if isinstance(arrival_id, str) else None
    texts = isinstance(facts, str) and len(facts) <= MAX_FACTS_LENGTH
    if kind is None or not (_is_time(came) and _is_time(signed_in) and texts):
        return None
    try:
        subject = _subject_of(kind, json.loads(facts))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return Arrival(arrival_id, subject, came, signed_in)


def _is_time(time: Any) -> bool:
    return isinstance(time, float) and 0 <= time < inf


def _subject_of(kind: PrincipalKind, told: Any) -> Subject:
    """The subject of facts as `facts_of` writes them. Raises ValueError, LookupError or TypeError for any others."""
    texts = {name: told[name] for name in ("issuer", "sub", "client", "email", "username")}
    orgs, shown, is_machine = told["orgs"], told["shown"], told["machine"]
    if not isinstance(orgs, list) or not isinstance(is_machine, bool):
        raise TypeError
    if not all(isinstance(text, str) for text in (*texts.values(), *orgs, shown)):
        raise TypeError
    name = shown_as(kind, shown.partition(":")[2])
    return kept(Subject(kind, **texts, is_machine=is_machine, orgs=frozenset(orgs), shown=name))


async def keep_arrivals(path: Path, arrivals: Arrivals) -> None:
    """Read who came before the start, and write who comes, again and again; never returns. Cancelled, it writes once
    more, unless another write is under way, which may hang.
    """
    await THREADS.keep_writing(Writer(path, arrivals).write, WRITE_SECONDS)


class Writer:
    """Writes who came since the last successful write; before the first one, takes up who came before."""

    def __init__(self, path: Path, arrivals: Arrivals) -> None:
        self._path = path
        self._arrivals = arrivals
        self._restored = self._complained = False
        self._written: dict[str, Arrival] = {}

    async def write(self) -> None:
        """Write once, in a thread; a fault is logged once until it is over."""
        try:
            if not self._restored:
                earlier = await THREADS.run(read_arrivals, self._path)
                self._arrivals.restore(earlier)
                self._written = {each.id: each for each in earlier}
                self._restored = True
            known = {each.id: each for each in self._arrivals.all()}
            news = [each for each in known.values() if self._written.get(each.id) != each]
            if news:
                await THREADS.run(write_arrivals, self._path, news)
            self._written, self._complained = known, False
        except Exception as error:  # noqa: BLE001 - no disk, no thread: it decides nothing, so it ends nothing
            if not self._complained:
                logger.warning(
                    "STATE_DB: who came in, for the dashboard, cannot be kept (%s)", error
                )
            self._complained = True
