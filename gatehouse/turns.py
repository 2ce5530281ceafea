"""Turns: how work that takes long leaves the loop to others.

Whoever has worked for SLICE_SECONDS since its last checkpoint waits for its turn before it goes on. A bare
checkpoint would let each of them go on in each pass of the loop, so that all others would wait for them all.
"""

from __future__ import annotations

import trio

SLICE_SECONDS = 0.001
"""How long one task may work before others have a turn. With what cannot be interrupted, a step of the loop
stays below 2 ms."""

REST = 4
"""So many times as long as a turn in a share the loop is left to everybody else: the share is a fifth."""


class Turns:
    """Whoever works for long queues here, and one of them goes on in each pass of the loop."""

    def __init__(self) -> None:
        self._queue = trio.Lock()

    async def wait(self) -> None:
        """Return when it is our turn."""
        async with self._queue:
            pass  # handed over at once, so that the next in the queue goes on in the next pass


class LoopShare:
    """A share of the loop, for all together that want more of it than an ordinary call does.

    Who comes first goes first, and each has as many turns as any other.
    """

    def __init__(self) -> None:
        self._queue = trio.StrictFIFOLock()
        self._free_at = 0.0

    async def turn(self, seconds: float = SLICE_SECONDS) -> None:
        """Wait for a turn; what follows, up to the next checkpoint, may take that long."""
        async with self._queue:
            await trio.sleep_until(self._free_at)
            self._free_at = trio.current_time() + seconds * (1 + REST)
