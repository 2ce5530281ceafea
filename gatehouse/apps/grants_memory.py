"""The memory of grants: the table, and the file of STATE_DB under it.

The file is read at the start. It is written every few seconds, and at once if the gate may not answer before.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import trio

from gatehouse.apps.grant import Grant, KnownGrant
from gatehouse.apps.grants_file import MAX_GRANTS, read_grants, write_grants
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads
from gatehouse.signin.ended import MAX_WRITE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logger_of("gate.apps")

THREADS = OwnThreads("grants of apps")

WRITE_SECONDS = 10.0
"""How often the last uses are written: a killed program loses this much at most."""

MAX_BATCH = 500
"""How many grants are written at a time. Their rows are made on the event loop, in half a millisecond."""


@dataclass(slots=True)
class Held:
    """All that the gate remembers of one grant: as in `KnownGrant`, and what saves time."""

    grant: Grant
    used: float
    address: str = ""
    generation: int = -1
    advanced: float = 0.0
    attempt: str = ""
    """An attempt to use the next one of which nobody knows whether Redis heard it (`SharedGrants.take`)."""
    person: str = field(init=False)
    """The id of the person (`Subject.id`)."""
    began: float = field(init=False)
    """The Unix time when the grant began."""

    def __post_init__(self) -> None:
        """Compute what follows from the grant."""
        self.person, self.began = self.grant.person.id, self.grant.began

    @property
    def known(self) -> KnownGrant:
        """The same as a value, as it is now."""
        return KnownGrant(self.grant, self.used, self.address, self.generation, self.advanced)


class GrantsMemory:
    """The grants by id and person, MAX_GRANTS at most: one more takes the place of the one unused for longest.

    With no path, there is no file.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._people: dict[str, set[str]] = {}
        self._changed: dict[str, Held] = {}
        self._urgent: dict[str, Held] = {}
        self._gone: dict[str, None] = {}
        self._turn = trio.Lock()
        self._complained = False
        for known in self._read():
            self._take_up(Held(known.grant, known.used, *known[2:]))

    # In memory.

    def get(self, grant_id: str) -> Held | None:
        """The one with that id, if it is known."""
        return self._held.get(grant_id)

    def all(self) -> tuple[Held, ...]:
        """All of them. A thread may ask, too."""
        return tuple(self._held.values())

    def of(self, person: str) -> list[Held]:
        """Those of the person of that id."""
        return [self._held[each] for each in self._people.get(person, ())]

    def add(self, held: Held) -> None:
        """Hold one more."""
        self._take_up(held)
        self.changed(held)
        if len(self._held) > MAX_GRANTS:
            self.drop(min(self._held.values(), key=lambda each: each.used))

    def changed(self, held: Held) -> None:
        """Have it written within WRITE_SECONDS."""
        self._changed[held.grant.id] = held

    def drop(self, held: Held) -> None:
        """Forget it."""
        grant_id = held.grant.id
        if self._held.pop(grant_id, None) is None:
            return
        theirs = self._people[held.person]
        theirs.discard(grant_id)
        if not theirs:
            del self._people[held.person]
        self._changed.pop(grant_id, None)
        self._urgent.pop(grant_id, None)
        if self._path is not None:
            self._gone[grant_id] = None
        if len(self._gone) > MAX_GRANTS:  # the disk takes nothing
            del self._gone[next(iter(self._gone))]

    def _take_up(self, held: Held) -> None:
        self._held[held.grant.id] = held
        self._people.setdefault(held.person, set()).add(held.grant.id)

    # On the disk.

    async def write_now(self, held: Held) -> bool:
        """Write it. True if it is on the disk within MAX_WRITE_SECONDS."""
        if self._path is None:
            return False
        self._urgent[held.grant.id] = held
        with trio.move_on_after(MAX_WRITE_SECONDS):
            while held.grant.id in self._urgent:
                if not await self._write(self._path, self._urgent):
                    return False
            return True
        self._complain("the disk takes too long")
        return False

    async def keep(self) -> None:
        """Write what has changed, again and again; never returns. Cancelled, it writes once more."""
        if self._path is not None:
            await THREADS.keep_writing(partial(self._write_all, self._path), WRITE_SECONDS)

    def _read(self) -> list[KnownGrant]:
        if self._path is None:
            return []
        try:
            return read_grants(self._path, self._clock())
        except (sqlite3.Error, OSError) as error:
            logger.warning(
                "STATE_DB: grants of apps in %s cannot be read (%s): it is forgotten which codes and refresh tokens were "
                "used",
                self._path,
                error,
            )
            return []

    async def _write_all(self, path: Path) -> None:
        while self._changed or self._urgent or self._gone:
            if not await self._write(path, self._urgent or self._changed):
                break

    async def _write(self, path: Path, news: dict[str, Held]) -> bool:
        """Write some of the news, and take out some that are gone; True if the disk took it."""
        async with self._turn:
            batch, gone = dict(islice(news.items(), MAX_BATCH)), [*islice(self._gone, MAX_BATCH)]
            for grant_id in batch:
                del news[grant_id]
            written = not batch and not gone
            try:
                if not written:
                    rows = [held.known for held in batch.values()]
                    await THREADS.run(write_grants, path, rows, gone, self._clock())
                    written = True
            except Exception as error:  # noqa: BLE001 - no disk, no thread: memory holds
                self._complain(error)
            finally:  # also if the caller leaves
                if not written:
                    news |= {each: held for each, held in batch.items() if each not in news}
            if written:
                self._complained = False
                for grant_id in gone:
                    self._gone.pop(grant_id, None)
        return written

    def _complain(self, error: object) -> None:
        if not self._complained:
            logger.warning(
                "STATE_DB: the gate cannot write down which codes and refresh tokens of apps were used (%s); until it "
                "can, a restart forgets that",
                error,
            )
        self._complained = True
