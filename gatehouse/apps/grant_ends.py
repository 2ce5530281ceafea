"""The ends of grants, at this gate and at the others that share a Redis with it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from gatehouse.apps.grant import MAX_GRANT_SECONDS, REFRESH_SECONDS
from gatehouse.policy.shared_grants import SharedGrants
from gatehouse.signin.ended import AHEAD
from gatehouse.signin.ended_file import EVERYBODY, Kind, began_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gatehouse.policy.shared_state import SharedState
    from gatehouse.signin.ended import Ended

ENDED_GRANTS = Kind(
    "ended_grants",
    "grants of apps",
    "people let their apps in again",
    MAX_GRANT_SECONDS + REFRESH_SECONDS,
    256,  # somebody who tries clients all day must not end the app that they let in long ago
)
"""The kind of `Ended` for grants."""

_PERSON = re.compile(r"oauth:[0-9a-f]{32}")


class GrantEnds:
    """Ends grants, and hears of ends at other gates, of which it tells `on_end` whose grants they are.

    `generations` tells the last generation of each grant that is known here, for a Redis that has lost it.
    """

    def __init__(
        self,
        ended: Ended,
        shared: Callable[[], SharedState | None],
        *,
        on_end: Callable[[str], None],
        generations: Callable[[], Iterable[tuple[str, int]]],
        clock: Callable[[], float],
    ) -> None:
        self._ended = ended
        self._shared = shared
        self._on_end = on_end
        self._generations = generations
        self._clock = clock

    @cached_property
    def gates(self) -> SharedGrants | None:
        """The other gates, if there are some."""
        shared = self._shared()
        if shared is None:
            return None
        return SharedGrants(
            shared,
            seconds=MAX_GRANT_SECONDS,
            learn=self.learn,
            generations=self._generations,
            ends=self._known,
        )

    def end(self, person: str, grant_id: str) -> None:
        """End a grant of the person, here at once, and on the disk and at other gates soon."""
        self._end(person, grant_id, began_at(grant_id))

    def end_all(self, person: str) -> None:
        """End all grants of the person that have begun by now."""
        self._end(person, EVERYBODY, self._ended.moment_for_all(person))

    async def told(self) -> bool:
        """Write down all ends, and tell them to the other gates. True if they are on the disk."""
        written = await self._ended.written()
        if self.gates is not None:
            await self.gates.tell_ends()
        return written

    def learn(self, person: str, grant_id: str, moment: int) -> None:
        """Another gate, or whoever can write to Redis, says that this has ended. Raises ValueError if it makes no sense."""
        if not _PERSON.fullmatch(person) or (grant_id and began_at(grant_id) != moment):
            raise ValueError("this is no end of a grant")
        if moment <= self._oldest:
            return  # it is over anyway
        if not grant_id:
            # Other clocks may be ahead; but nobody moves the beginning of new grants to next year.
            moment = min(moment, int(self._clock() * 1000) + 3 * AHEAD)
        ended = self._ended
        if not (ended.has(person, grant_id) if grant_id else ended.moment_of(person) >= moment):
            self._ended.hold(person, grant_id, moment)
            self._on_end(person)

    def _end(self, person: str, grant_id: str, moment: int) -> None:
        self._ended.hold(person, grant_id, moment)
        if self.gates is not None:
            self.gates.owe(person, grant_id, moment)
        self._on_end(person)

    @property
    def _oldest(self) -> int:
        """The moment, in milliseconds, at which grants began that are over now."""
        return int((self._clock() - MAX_GRANT_SECONDS) * 1000)

    def _known(self) -> Iterator[tuple[str, str, int]]:
        return (end for end in self._ended.known() if end[2] > self._oldest)
