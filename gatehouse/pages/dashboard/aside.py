"""The long work of pages, such as to write one with hundreds of rows: in a thread, so that no call waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREADS = OwnThreads("pages of the dashboard")

REST_TIMES = 2
"""After each piece of work the thread rests for this many times as long, so that a script which asks for pages without
end gets a third of the interpreter, and calls have the others."""

MAX_REST_SECONDS = 0.5
"""The longest rest: a person waits for the next page, too."""


class Aside:
    """One thread for all pages, one piece of work at a time, first come, first served."""

    def __init__(self) -> None:
        self._queue = trio.StrictFIFOLock()
        self._free_at = 0.0

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call the function in the thread; return or raise what it does. It may read what the loop replaces as a whole,
        and nothing that the loop changes in place.
        """
        async with self._queue:
            await trio.sleep_until(self._free_at)
            began = trio.current_time()
            try:
                return await THREADS.run(function, *args)
            finally:
                now = trio.current_time()
                self._free_at = now + min(REST_TIMES * (now - began), MAX_REST_SECONDS)
