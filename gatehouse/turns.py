"""Turns: how work that takes long leaves the loop to others.

Whoever has worked for SLICE_SECONDS since its last checkpoint waits for its turn before it goes on.
"""

from __future__ import annotations

import trio

SLICE_SECONDS = 0.001
"""How long one task may work before others have a turn."""


class Turns:
    """Whoever works for long queues here, and one of them goes on in each pass of the loop.

    A bare checkpoint would let each of them go on in each pass, so that all others would wait for them all.
    """

    def __init__(self) -> None:
        self._queue = trio.Lock()

    async def wait(self) -> None:
        """Return when it is our turn."""
        async with self._queue:
            pass  # handed over at once, so that the next in the queue goes on in the next pass
