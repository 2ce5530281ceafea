"""Threads for the gate's own work that blocks: files, SQLite, imports, names.

Trio's default limit of threads is the tools' too: a synchronous tool, or one that calls
`asyncio.to_thread`, holds one of its places for as long as it likes. Here each purpose has a limit of its
own, so that the gate never waits for a tool, and a disk that hangs holds up only the tasks that use that
disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_LAST_WRITE_SECONDS = 0.5
"""How long the last write may take: the program must be gone within a second, whatever the disk does."""


class OwnThreads:
    """One thread at a time for one purpose; more calls wait their turn.

    A caller that is cancelled leaves its thread behind, as it must if a disk hangs. The thread holds
    its place until it is done, so that no threads pile up however long something hangs.
    """

    def __init__(self, purpose: str) -> None:
        # Each run of Trio has its own limiter: a thread left behind gives its place back to no later run.
        self._limiter = trio.lowlevel.RunVar[trio.CapacityLimiter](f"threads: {purpose}")

    @property
    def busy(self) -> int:
        """How many threads are at work, including those left behind."""
        return self._places().borrowed_tokens

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call the function in a thread; return or raise what it does."""
        return await trio.to_thread.run_sync(
            function, *args, abandon_on_cancel=True, limiter=self._places()
        )

    async def keep_writing(self, write: Callable[[], Awaitable[object]], every: float) -> None:
        """Call `write`, which uses these threads, again and again, so many seconds after each other; never returns.

        Cancelled, it calls it once more, for MAX_LAST_WRITE_SECONDS at most, unless a thread is at work, which may hang.
        """
        try:
            while True:
                await write()
                await trio.sleep(every)
        finally:
            if not self.busy:
                with trio.CancelScope(shield=True), trio.move_on_after(MAX_LAST_WRITE_SECONDS):
                    await write()

    def _places(self) -> trio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = trio.CapacityLimiter(1)
            self._limiter.set(limiter)
            return limiter
