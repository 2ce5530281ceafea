"""The grants of apps that the gate remembers: which code or token of each was used last, when, from where, and whether it
has ended.

A grant is sealed into the codes and tokens of its app (`apps.grant`), and is good without any memory. Memory tells what
a seal cannot: that it was used, and that it has ended. How far that goes:

- Each code and refresh token is used once. Whoever brings one again has stolen it, or was robbed, and nobody can tell
  which, so the grant ends (RFC 6749 section 4.1.2, RFC 9700 section 4.14.2). The last refresh token alone is good again
  for a moment.
- With STATE_DB, a use is on the disk before the gate answers, and outlasts a restart. Without it, or if it is lost, a
  code (60 s) or refresh token (30 days) that was used is good once more; ends are lost, too (`signin.ended`), unless
  several gates share them, and REVOKE_BEFORE ends all that began before. An access token that comes shows that its code
  was used, and makes its grant known again.
- At MAX_GRANTS the grant that nobody has used for longest is forgotten, in the same sense. Only people on the lists
  begin grants, and one of them has MAX_GRANTS_PER_PERSON at a time: beyond, one of theirs whose code nobody has used is
  forgotten, or else the one that was unused for longest is ended.
- Several gates know of each other's uses and ends through Redis (`policy.shared_grants`): of uses at once, or the gate
  cannot tell; of ends within two seconds. Without Redis, each knows its own.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

import trio

from gatehouse.apps.grant import (
    MAX_GRANT_SECONDS,
    Grant,
    KnownGrant,
    as_caller,
)
from gatehouse.apps.grant_ends import GrantEnds
from gatehouse.apps.grants_memory import GrantsMemory, Held
from gatehouse.identity.clock import clock as unix_time
from gatehouse.policy.shared_state import UNAVAILABLE, NoAnswer
from gatehouse.records.loggers import logger_of
from gatehouse.signin.ended_file import began_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gatehouse.apps.client import Named
    from gatehouse.identity.subject import Subject
    from gatehouse.policy.shared_grants import SharedGrants, Taken
    from gatehouse.policy.shared_state import SharedState
    from gatehouse.signin.ended import Ended

logger = logger_of("gate.apps")

MAX_GRANTS_PER_PERSON = 64
"""How many grants of one person are in force at a time."""

LOOK_SECONDS = 1.0
"""How often the gate looks for ends at other gates."""

UNUSED_SECONDS = 120.0
"""A grant whose code nobody has used by then never comes to anything: the code is over."""


class Advance(Enum):
    """The outcome when an app brings a code or refresh token."""

    FIRST = "first"
    """It is used for the first time, and by nobody else."""
    AGAIN = "again"
    """It is the last one, and was used a moment ago."""
    REUSED = "reused"
    """It was used before, so its grant has ended now."""
    ENDED = "ended"
    """Its grant has ended."""
    UNAVAILABLE = "unavailable"
    """Nobody can tell now; it may be brought again."""


class Grants:
    """All grants, in memory and in the file at `path`, if there is one.

    `ended` is of the kind ENDED_GRANTS, and is kept by `keep` here. `shared` tells the state that several gates share.
    """

    def __init__(
        self,
        ended: Ended,
        path: Path | None,
        shared: Callable[[], SharedState | None],
        *,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._ended = ended
        self._clock = clock
        self._memory = GrantsMemory(path, clock=clock)
        self._ends = GrantEnds(
            ended, shared, on_end=self._forget_ended, generations=self._generations, clock=clock
        )
        self.on_end: Callable[[], None] = _nothing
        """Called at each end: whoever remembers that a grant is good must forget it."""

    def new(
        self, person: Subject, client: Named, *, to: str, scopes: tuple[str, ...], resource: str
    ) -> Grant:
        """The grant of that person to that client, which begins now; `to` says for people where its answers go."""
        caller = as_caller(person, client.name)
        grant_id = self._ended.new_id(caller.id)
        caller = replace(caller, key=grant_id)
        grant = Grant(grant_id, caller, client.key, client.name, to, resource, scopes)
        self._note(grant)
        return grant

    def has_ended(self, grant: Grant) -> bool:
        """True if the grant has ended, or is over."""
        held = self._memory.get(grant.id)
        if held is None:
            return self.is_over(grant.person.id, grant.id)
        return self._is_over(held)

    def is_over(self, person: str, grant_id: str) -> bool:
        """True if the grant of that id, which the person of that id began, has ended, or is over.

        Raises ValueError if it is no id of a grant.
        """
        over = self._clock() >= began_at(grant_id) / 1000 + MAX_GRANT_SECONDS
        return over or self._ended.has(person, grant_id)

    async def advance(
        self, grant: Grant, generation: int, *, grace: float = 0.0, address: str = ""
    ) -> Advance:
        """The app at that address uses the code (generation 0) or refresh token (1, 2, ...) of the grant.

        For `grace` seconds after its first use, the last one may be used again. If it is reused, the grant has ended.
        """
        told = await self._judge(grant, generation, grace)
        if told is Advance.REUSED:
            logger.warning(
                "a code or refresh token of an app came twice, so its grant has ended: %s has to let the app in again",
                grant.person.shown,
            )
            await self.end(grant)
        elif told in {Advance.FIRST, Advance.AGAIN}:
            held = self._known(grant)
            self._touch(held, address or held.address)
            await self._memory.write_now(held)
        return told

    def used(self, grant: Grant, address: str) -> None:
        """The app is let in from there by an access token of the grant."""
        held = self._memory.get(grant.id)
        if held is None:
            if self.has_ended(grant):
                return
            held = self._note(grant)
        if held.generation < 0:
            held.generation = 0  # there is no access token without a used code
        self._touch(held, address)

    async def end(self, grant: Grant | KnownGrant) -> bool:
        """End the grant. True if it stays ended after a restart; in memory it has ended at once."""
        one = grant.grant if isinstance(grant, KnownGrant) else grant
        self._ends.end(one.person.id, one.id)
        return await self._ends.told()

    async def end_all(self, person: str) -> bool:
        """End all grants of the person of that id (`Subject.id`, of kind "oauth") that have begun by now. True as `end`."""
        self._ends.end_all(person)
        return await self._ends.told()

    def of(self, grant_id: str) -> KnownGrant | None:
        """The grant of that id, if it is known and in force."""
        held = self._memory.get(grant_id)
        return held.known if held and self._counts(held) else None

    def all(self) -> list[KnownGrant]:
        """The grants in force that are known, the latest used first. A thread may ask, too."""
        found = [held.known for held in self._memory.all() if self._counts(held)]
        return sorted(found, key=lambda known: -known.used)

    async def keep(self) -> None:
        """Write down what has changed, and learn from other gates, again and again; never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ended.keep)
            nursery.start_soon(self._memory.keep)
            while self._ends.gates is not None:
                await self._ends.gates.catch_up()
                await trio.sleep(LOOK_SECONDS)

    async def _judge(self, grant: Grant, generation: int, grace: float) -> Advance:
        if self.has_ended(grant):
            return Advance.ENDED
        held = self._known(grant)
        told = self._compare(held, generation, grace)
        gates = self._ends.gates
        if gates is not None and told is not Advance.REUSED:
            taken = await self._take(gates, held, generation)
            if isinstance(taken, NoAnswer):
                return Advance.UNAVAILABLE
            if self.has_ended(grant):
                return Advance.ENDED
            held = self._known(grant)
            if (
                not taken.first and taken.last > held.generation
            ):  # at another gate, or by another call
                held.generation = taken.last
                held.advanced = max(0.0, self._clock() - taken.age)
            if taken.first and generation >= held.generation:
                told = Advance.FIRST
            else:
                told = self._compare(held, generation, grace)
        if told is Advance.FIRST:
            held.generation, held.advanced = generation, self._clock()
        return told

    async def _take(self, gates: SharedGrants, held: Held, generation: int) -> Taken | NoAnswer:
        """Ask all gates for the generation."""
        attempt, held.attempt = held.attempt or secrets.token_hex(8), ""
        taken: Taken | NoAnswer = UNAVAILABLE
        try:
            taken = await gates.take(
                held.person, held.grant.id, generation, known=held.generation, attempt=attempt
            )
        finally:  # also if the caller leaves
            if isinstance(taken, NoAnswer):
                held.attempt = attempt
        return taken

    def _compare(self, held: Held, generation: int, grace: float) -> Advance:
        """Judge by this gate's own memory."""
        if generation > held.generation:
            return Advance.FIRST
        # The distance, either way: a clock that was set back must not make the grace longer.
        if generation == held.generation and abs(self._clock() - held.advanced) < grace:
            return Advance.AGAIN
        return Advance.REUSED

    def _known(self, grant: Grant) -> Held:
        return self._memory.get(grant.id) or self._note(grant)

    def _note(self, grant: Grant) -> Held:
        """Take up a grant that is not known here, and hold the bound of its person."""
        person = replace(grant.person, expires=0.0)  # that is the token's end
        held = Held(replace(grant, person=person), self._clock())
        theirs = self._memory.of(held.person)
        if len(theirs) >= MAX_GRANTS_PER_PERSON:
            # First one whose code nobody has used: a page that opens one authorization after another, for an app that
            # need not be asked about, must not end those that are in use. It is forgotten, and not ended: nothing is lost
            # by that, while many ends of a person are remembered as one, of all that began before.
            last = min(theirs, key=self._worth)
            if self._is_in_use(last):
                self._ends.end(last.person, last.grant.id)
            else:
                self._memory.drop(last)
        self._memory.add(held)
        return held

    def _worth(self, held: Held) -> tuple[bool, float]:
        """The more, the later a grant is ended for room."""
        return self._is_in_use(held), held.used

    def _is_in_use(self, held: Held) -> bool:
        return held.generation >= 0 and not self._is_over(held)

    def _touch(self, held: Held, address: str) -> None:
        now = self._clock()
        if now > held.used:
            held.used = now
        held.address = address
        self._memory.changed(held)

    def _is_over(self, held: Held) -> bool:
        over = self._clock() >= held.began + MAX_GRANT_SECONDS
        return over or self._ended.has(held.person, held.grant.id)

    def _counts(self, held: Held) -> bool:
        """True if the grant is in force, and somebody has used it, or still may."""
        waits = held.generation < 0 and self._clock() >= held.began + UNUSED_SECONDS
        return not waits and not self._is_over(held)

    def _forget_ended(self, person: str) -> None:
        """Grants of that person have ended."""
        for held in self._memory.of(person):
            if self._is_over(held):
                self._memory.drop(held)
        self.on_end()

    def _generations(self) -> list[tuple[str, int]]:
        known = self._memory.all()
        return [(held.grant.id, held.generation) for held in known if held.generation >= 0]


def _nothing() -> None:
    """Nobody remembers anything."""
