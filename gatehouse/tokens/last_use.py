"""The times when each value of a token was last used, and when others were last let in: the evidence that an old one
can go.

A small SQLite file keeps them over a restart. They decide nothing: if the file cannot be written,
requests are served all the same, and the log says so once. If it cannot be read, or holds times that cannot be
right, those uses are unknown.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from gatehouse.identity.state_file import OPEN_MODE, opened, opened_to_read
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gatehouse.tokens.value import TokenValue

logger = logger_of("gate.tokens")

THREADS = OwnThreads("last use")

BEGAN = b""
"""In the place of a digest: when the record was begun."""

DIGEST_BYTES = 32
"""In its place, too: the id of a person or of an app, which is longer."""

MAX_OTHERS = 10_000
"""How many people and apps are remembered, those who came last: a file that clients can make longer has a bound."""

WRITE_SECONDS = 5.0
"""How often last uses are written: a killed program loses this much at most."""

MAX_AHEAD_SECONDS = 86_400.0
"""A use that lies further in the future cannot be right: clocks differ, but not by a day."""

_TABLE = """
CREATE TABLE IF NOT EXISTS last_use (digest BLOB PRIMARY KEY, used_at REAL NOT NULL) WITHOUT ROWID
"""
# A time that cannot be right gives way to the present.
_WRONG = (
    f"typeof(used_at) <> 'real' OR used_at NOT BETWEEN 0 AND excluded.used_at + {MAX_AHEAD_SECONDS}"
)
_BEGIN = f"""
INSERT INTO last_use VALUES (?, ?)
ON CONFLICT (digest) DO UPDATE SET used_at = excluded.used_at WHERE {_WRONG}
"""  # noqa: S608
_NOTE = f"{_BEGIN} OR used_at < excluded.used_at"
_OTHERS = f"SELECT digest FROM last_use WHERE length(digest) > {DIGEST_BYTES}"  # noqa: S608
_LEAVE_OUT = f"""
DELETE FROM last_use WHERE digest IN ({_OTHERS} ORDER BY used_at DESC LIMIT -1 OFFSET {MAX_OTHERS})
"""  # noqa: S608


@dataclass(frozen=True)
class LastUse:
    """The record as it was read: Unix times, by the digest of the value."""

    times: Mapping[bytes, float] = field(default_factory=dict)
    began: float = inf
    """When the record was begun: a value that is older may have been used before. Infinite if unknown."""
    wrong: frozenset[bytes] = frozenset()
    """Values whose time cannot be right."""
    fault: str = ""
    """A sentence about what is wrong with the record."""

    def of(self, value: TokenValue) -> float | None:
        """When the value was last used; None if it never was, or if that is unknown."""
        return self.times.get(value.digest)

    @property
    def others(self) -> tuple[int, float]:
        """How many people and apps have been let in, and when the last of them was; 0 and 0 if none was."""
        times = [used for key, used in self.times.items() if len(key) > DIGEST_BYTES]
        return len(times), max(times, default=0.0)

    def knows(self, value: TokenValue) -> bool:
        """True if the record would have any use of the value, as far as the file of tokens tells."""
        older = value.created is not None and value.created.timestamp() < self.began
        return self.began < inf and not older and value.digest not in self.wrong

    def with_uses(self, used: Mapping[bytes, float], began: float) -> LastUse:
        """The same with uses that are remembered elsewhere since the Unix time `began`: the newer one of each counts."""
        newest = {digest: max(when, self.times.get(digest, 0.0)) for digest, when in used.items()}
        return LastUse(
            {**self.times, **newest}, min(self.began, began), self.wrong - used.keys(), self.fault
        )

    def unused_since(self, value: TokenValue) -> float:
        """From when on the value is known to be unused; infinite if that is unknown."""
        if value.digest in self.wrong or not value.created:
            return self.times.get(value.digest, inf)
        return self.times.get(value.digest, max(value.created.timestamp(), self.began))


def read_last_use(path: Path) -> LastUse:
    """The record in the file; an empty one if there is none."""
    if not path.is_file():  # connecting would create it
        return LastUse()
    try:
        with opened_to_read(path) as database:
            rows = dict(database.execute("SELECT digest, used_at FROM last_use"))
    except sqlite3.Error as error:
        return LastUse(fault=f"STATE_DB: {path} cannot be read ({error}), so no last use is known")
    latest = time.time() + MAX_AHEAD_SECONDS
    times = {digest: used for digest, used in rows.items() if _is_time(used, latest)}
    wrong = frozenset(rows.keys() - times.keys())
    fault = (
        f"STATE_DB: {path} has times that cannot be right ({len(wrong)}); those uses count as unknown"
        if wrong
        else ""
    )
    return LastUse(times, times.pop(BEGAN, inf), wrong, fault)


def _is_time(used: Any, latest: float) -> bool:
    return isinstance(used, int | float) and 0 <= used <= latest


def write_last_use(path: Path, used: Mapping[bytes, float], mode: int = OPEN_MODE) -> None:
    """Add the uses that are newer than those in the file, which is made with that mode. Raises sqlite3.Error."""
    with opened(path, mode) as database:
        database.execute(_TABLE)
        database.execute(_BEGIN, (BEGAN, time.time()))
        database.executemany(_NOTE, used.items())
        if any(len(key) > DIGEST_BYTES for key in used):
            database.execute(_LEAVE_OUT)


async def keep_last_use(
    path: Path, uses: Callable[[], Mapping[bytes, float]], mode: int = OPEN_MODE
) -> None:
    """Write the uses that `uses` tells, again and again; never returns. Cancelled, it writes once more.

    The last write is bounded, and is left out if another one is under way, which may hang (`OwnThreads.keep_writing`).
    """
    await THREADS.keep_writing(Writer(path, uses, mode).write, WRITE_SECONDS)


class Writer:
    """Writes the uses since the last successful write. A file that is not there is made with that mode."""

    def __init__(
        self, path: Path, uses: Callable[[], Mapping[bytes, float]], mode: int = OPEN_MODE
    ) -> None:
        self._path, self._mode = path, mode
        self._uses = uses
        self._written: dict[bytes, float] | None = None
        self._complained = False

    async def write(self) -> None:
        """Write once, in a thread; a fault is logged once until it is over."""
        used = dict(self._uses())
        news = dict(used.items() - (self._written or {}).items())
        if not news and self._written is not None:
            return  # at first even nothing is written: a fault shows, and the record begins
        try:
            await THREADS.run(write_last_use, self._path, news, self._mode)
            self._written, self._complained = used, False
        except Exception as error:  # noqa: BLE001 - no disk, no thread: it decides nothing, so it ends nothing
            if not self._complained:
                logger.warning(
                    "STATE_DB: the times when tokens were last used cannot be kept (%s)", error
                )
            self._complained = True
