"""Log within a budget: lines that many can cause must neither fill the log nor be missing from it.

Each kind has a few lines a minute; the rest are counted, and one line says how many. Kinds come from
the code, never from a client, or the budgets would have no bound.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINES = 10
"""How many lines of a kind are written in WINDOW_SECONDS by default."""

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Window:
    ends: float
    level: int
    written: int = 0
    more: int = 0


class LogBudget:
    """Writes lines to `logger`, within a budget for each kind."""

    def __init__(
        self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def warning(self, kind: str, message: str, *args: object, lines: int = MAX_LINES) -> None:
        """Write a warning, unless `lines` of its kind have been written within WINDOW_SECONDS."""
        self._log(logging.WARNING, kind, lines, message, *args)

    def error(self, kind: str, message: str, *args: object, lines: int = MAX_LINES) -> None:
        """The same as an error."""
        self._log(logging.ERROR, kind, lines, message, *args)

    def tell(self, *, at_once: bool = False) -> None:
        """Say what was left out in windows that are over, or `at_once` in all. Call it now and then."""
        now = self._clock()
        over = [kind for kind, window in self._windows.items() if at_once or now >= window.ends]
        for kind in over:
            window = self._windows.pop(kind)
            if window.more:
                self._logger.log(window.level, "%s: and %d more", kind, window.more)

    def _log(self, level: int, kind: str, lines: int, message: str, *args: object) -> None:
        window = self._windows.get(kind)
        if window is not None and self._clock() >= window.ends:
            self.tell()
            window = None
        if window is None:
            window = self._windows[kind] = _Window(self._clock() + WINDOW_SECONDS, level)
        if window.written < lines:
            window.written += 1
            self._logger.log(level, message, *args)
        else:
            window.more += 1
