"""Sessions that were ended before their time, which the gate must remember until they are over anyway.

A session is here a person's session in a browser, or an app's grant (`apps.grant`), which lasts longer: each kind has
an `Ended` of its own. Both are sealed, so the gate knows none by heart: it remembers those that were ended, each by
its id, and for a person who ended all of theirs the moment up to which all are ended. The moment at which a session
begins is part of its id. At every bound the gate remembers less by ending more: instead of single sessions, all of that
person that began no later; instead of people, the sessions of everybody that began no later. No ended session ever
comes back to life.

How far that goes:

- An end holds at once. `end` and `end_all` say whether it is on the disk, too.
- After a restart, the ends in the file of STATE_DB hold. Without such a file, or if it is lost, a session that was ended
  opens again if somebody has kept it, until its time is over; REVOKE_BEFORE ends those of which that is feared. If the
  file is there and cannot be read, all sessions are ended that began before.
- Moments only grow: each session begins after every end that would cover it, and each end covers all that began before,
  also while the clock is set back.
- Each of several gates remembers what was ended at it, and only one of them can have a given file. They hear of no ends
  of browsers' sessions from each other; ends of grants they hand on (`policy.shared_grants`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from gatehouse.identity.clock import clock as unix_time
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads
from gatehouse.signin.ended_file import (
    EVERYBODY,
    MAX_PEOPLE,
    SESSIONS,
    began_at,
    read_ended,
    write_ended,
)
from gatehouse.signin.sealing import MAX_AHEAD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gatehouse.signin.ended_file import Kind, Record

logger = logger_of("gate.sessions")

MAX_WRITE_SECONDS = 2.0
"""How long a person who signs out waits for the disk."""

RETRY_SECONDS = 5.0
"""How often the gate tries again to write down what it could not."""

AHEAD = int(MAX_AHEAD_SECONDS * 1000)
"""In milliseconds: a session may have begun by a clock that is so far ahead."""


@dataclass(slots=True)
class _Ends:
    """The ends of one person: all sessions that began at `moment` or before, and these."""

    moment: int = 0
    sessions: dict[str, int] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        """Whoever ends all sessions up to this moment ends these, too."""
        return max(self.moment, *self.sessions.values(), 0)

    def end_up_to(self, moment: int) -> None:
        self.moment = max(self.moment, moment)
        self.sessions = {one: began for one, began in self.sessions.items() if began > self.moment}


class Ended:
    """The sessions of one kind that were ended, and the ids of new ones.

    They are read from the file at `path`, and written there; with None they are kept in memory alone. All that began
    before the Unix time `before` are ended. If that is still to come, all that began before now are: nobody can begin a
    session that is ended already.
    """

    def __init__(
        self,
        path: Path | None,
        kind: Kind = SESSIONS,
        *,
        before: float = 0.0,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._path = path
        self._kind = kind
        self._clock = clock
        self._threads = OwnThreads(kind.table)
        self._everybody = 0
        self._people: dict[str, _Ends] = {}
        self._changes = 0
        self._unwritten: dict[str, int] = {}
        self._writes_anew = False
        self._complained = False
        if path is not None:
            self._take_up(read_ended(path, kind))
        floor = int(min(before, clock()) * 1000) - 1
        if floor > self._everybody:
            self.hold(EVERYBODY, EVERYBODY, floor)

    def new_id(self, person: str) -> str:
        """The id of a session that begins now, for the person of that id. It is visible ASCII."""
        return f"{self._next(person)}-{secrets.token_urlsafe(16)}"

    def has(self, person: str, session: str) -> bool:
        """True if the session of that id, the person's, was ended. Raises ValueError if it is no id."""
        began, ends = began_at(session), self._people.get(person)
        if began <= self._everybody:
            return True
        return ends is not None and (began <= ends.moment or session in ends.sessions)

    def moment_of(self, person: str) -> int:
        """The moment up to which all sessions of the person are ended, in milliseconds of Unix time."""
        ends = self._people.get(person)
        return max(self._everybody, ends.moment if ends else 0)

    def known(self) -> Iterator[tuple[str, str, int]]:
        """The ends of people: person, session (or EVERYBODY for all up to the moment), moment."""
        for person in self._people:
            for key, moment in self._rows_of(person):
                yield *key, moment

    async def end(self, person: str, session: str) -> bool:
        """End one session. True if that is on the disk; in memory it is at once. Raises ValueError if it is no id."""
        self.hold(person, session, began_at(session))
        return await self.written()

    async def end_all(self, person: str) -> bool:
        """End all sessions of the person that have begun by now. True if that is on the disk."""
        self.hold(person, EVERYBODY, self.moment_for_all(person))
        return await self.written()

    def moment_for_all(self, person: str) -> int:
        """The moment by which `end_all` would end all sessions of the person now, also those of a clock a little ahead."""
        return max(self._next(person), int(self._clock() * 1000) + AHEAD)

    async def keep(self) -> None:
        """Try again and again to write what is not on the disk; never returns. Cancelled, it tries once more."""
        await self._threads.keep_writing(self._write, RETRY_SECONDS)

    def _next(self, person: str) -> int:
        """A moment after all that is ended for the person: now, unless the clock was set back."""
        return max(int(self._clock() * 1000), 1 + self.moment_of(person))

    def hold(self, person: str, session: str, moment: int) -> None:
        """Remember one end in memory, and hold the bounds; `keep` and `written` write it down.

        `moment` is the one at which the session began, or the one up to which all are ended if there is no session.
        """
        if session and self.has(person, session):
            return
        if not person:
            self._everybody = max(self._everybody, moment)
        else:
            ends = self._people.setdefault(person, _Ends())
            if session:
                ends.sessions[session] = moment
            else:
                ends.end_up_to(moment)
            if len(ends.sessions) > self._kind.per_person:
                ends.end_up_to(min(ends.sessions.values()))
        self._changed(person)
        if len(self._people) > MAX_PEOPLE:
            self._forget()

    def _forget(self) -> None:
        """Forget the people whose ended sessions are over; if there is nobody, the one whose ends are the oldest.

        In their place, all sessions of everybody are ended that began no later.
        """
        over = int((self._clock() - self._kind.seconds) * 1000)
        latest = [ends.latest for ends in self._people.values()]
        self._everybody = max(
            [self._everybody, min(latest), *(each for each in latest if each <= over)]
        )
        for person, ends in [*self._people.items()]:
            if ends.latest <= self._everybody:
                del self._people[person]
                self._unwritten.pop(person, None)
        self._changed(EVERYBODY)

    def _changed(self, person: str) -> None:
        self._changes += 1
        self._unwritten[person] = self._changes

    def _take_up(self, record: Record) -> None:
        for (person, session), moment in record.rows.items():
            self.hold(person, session, moment)
        if not record.fault:
            self._unwritten.clear()
            return
        logger.warning(
            "STATE_DB: %s %s, so all %s are ended that began before now; %s",
            self._path,
            record.fault,
            self._kind.words,
            self._kind.redo,
        )
        self.hold(EVERYBODY, EVERYBODY, self._next(EVERYBODY) + AHEAD)
        self._writes_anew = True

    def _rows(self) -> Iterator[tuple[tuple[str, str], int]]:
        """The rows of those whose ends are not on the disk yet."""
        yield (EVERYBODY, EVERYBODY), self._everybody
        for person in self._unwritten:
            yield from self._rows_of(person)

    def _rows_of(self, person: str) -> Iterator[tuple[tuple[str, str], int]]:
        ends = self._people.get(person, _Ends())
        if ends.moment:
            yield (person, EVERYBODY), ends.moment
        for session, began in ends.sessions.items():
            yield (person, session), began

    async def written(self) -> bool:
        """Write down all that is held. True if it is on the disk within MAX_WRITE_SECONDS."""
        with trio.move_on_after(MAX_WRITE_SECONDS):
            return await self._write()
        self._complain("the disk takes too long")
        return False

    async def _write(self) -> bool:
        """Write all that is not on the disk, in a thread. True if nothing is left."""
        if self._path is None:
            return False
        changes = dict(self._unwritten)
        if not changes:
            return True
        try:
            write = partial(write_ended, anew=self._writes_anew)
            await self._threads.run(write, self._path, self._kind, dict(self._rows()))
        except Exception as error:  # noqa: BLE001 - no disk, no thread: the ends hold in memory
            self._complain(error)
            return False
        for person, change in changes.items():
            if self._unwritten.get(person) == change:
                del self._unwritten[person]
        self._writes_anew = self._complained = False
        return True

    def _complain(self, error: object) -> None:
        if not self._complained:
            logger.warning(
                "STATE_DB: the gate cannot write down which %s were ended (%s); until it can, they are ended only as "
                "long as this program runs",
                self._kind.words,
                error,
            )
        self._complained = True
