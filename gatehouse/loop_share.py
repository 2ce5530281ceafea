"""A share of the event loop, for all together that want more of it than an ordinary call does."""

from __future__ import annotations

import trio

SLICE_SECONDS = 0.001
"""How long a connection computes before others get their turn. With what cannot be interrupted, a step of the
loop stays below 2 ms."""

REST = 4
"""So many times as long as a turn the loop is left to everybody else: the share is a fifth."""


class LoopShare:
    """Turns, one after the other: who comes first goes first, and each has as many as any other."""

    def __init__(self) -> None:
        self._queue = trio.StrictFIFOLock()
        self._free_at = 0.0

    async def turn(self, seconds: float = SLICE_SECONDS) -> None:
        """Wait for a turn; what follows, up to the next checkpoint, may take that long."""
        async with self._queue:
            await trio.sleep_until(self._free_at)
            self._free_at = trio.current_time() + seconds * (1 + REST)
