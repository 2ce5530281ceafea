"""The time by which credentials begin and end."""

from __future__ import annotations

import time


class Clock:
    """Unix time that never goes back: setting the clock back makes no expired value good again."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def __call__(self) -> float:
        """The time by the system's clock, or counted from the start if that is later."""
        return max(time.time(), self._ahead + time.monotonic())


clock = Clock()
