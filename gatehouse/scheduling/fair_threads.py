"""Threads for questions to something that all names share: no name can keep it from the others.

A name has few threads at a time and a line of its own, so its thousand questions wait for each other, and
another's question waits for a few of them at the most. Time in line is nobody's failure: the clock for the
answer starts with the thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_THREADS = 8
"""How many threads run at a time. More would only take turns in the interpreter."""

MAX_THREADS_PER_NAME = 2
"""How many threads one name may hold: a thread that is left behind counts until it is done."""

MAX_IN_LINE_PER_NAME = 1000
"""How many questions of a name may wait or run at a time; one more is turned away at once."""

MAX_WAIT_SECONDS = 2.0
"""How long a question may wait for its thread."""


class BusyError(Exception):
    """The line of this name is too long, or goes on too slowly."""


def _places() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(MAX_THREADS_PER_NAME)


@dataclass(slots=True, eq=False)
class _Line:
    """The questions of one name, kept while there is any."""

    places: trio.CapacityLimiter = field(default_factory=_places)
    length: int = 0


class FairThreads:
    """At most MAX_THREADS run at a time, MAX_THREADS_PER_NAME for one name, first come, first served.

    A caller that is cancelled leaves its thread behind, which goes on holding its place.
    """

    def __init__(self) -> None:
        self.threads = trio.CapacityLimiter(MAX_THREADS)
        self.lines: dict[str, _Line] = {}

    async def run(self, name: str, seconds: float, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run the function in a thread for at most so many seconds, and return its result.

        Raises BusyError if the function cannot begin within MAX_WAIT_SECONDS, trio.TooSlowError if it takes
        longer than `seconds`, and the function's own errors.
        """
        turn = _Turn(self, name)
        try:
            with trio.move_on_after(MAX_WAIT_SECONDS) as patience:
                await turn.wait()
            if patience.cancelled_caught:
                raise BusyError
            with trio.fail_after(seconds):
                return await trio.to_thread.run_sync(
                    function,
                    *args,
                    abandon_on_cancel=True,
                    limiter=cast("trio.CapacityLimiter", turn),
                )
        finally:
            if not turn.handed_over:
                turn.over()


class _Turn:
    """One question in line, and then with a thread. To Trio it is a limiter, so that the thread ends the turn.

    Raises BusyError if the line is full.
    """

    def __init__(self, threads: FairThreads, name: str) -> None:
        self._threads, self._name = threads, name
        self._line = threads.lines.setdefault(name, _Line())
        if self._line.length >= MAX_IN_LINE_PER_NAME:
            raise BusyError
        self._line.length += 1
        self._held: list[trio.CapacityLimiter] = []
        self.handed_over = False
        """True once a thread has the turn; the thread then ends it."""

    async def wait(self) -> None:
        """Return when a thread may begin."""
        for limiter in (self._line.places, self._threads.threads):
            await limiter.acquire_on_behalf_of(self)
            self._held.append(limiter)

    def over(self) -> None:
        """Give the thread to the next question."""
        for limiter in self._held:
            limiter.release_on_behalf_of(self)
        self._line.length -= 1
        if not self._line.length:
            del self._threads.lines[self._name]

    async def acquire_on_behalf_of(self, _: object) -> None:
        """Trio's call before the thread begins."""
        self.handed_over = True

    def release_on_behalf_of(self, _: object) -> None:
        """Trio's call once the thread is done, whoever still waits for it."""
        self.over()
