"""The program's reaction to each signal."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from gatehouse.process import signals
from gatehouse.process.ending import LATE_SECONDS, SECOND_SECONDS
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.process.ending import Ending
    from gatehouse.process.signals import Signals

logger = logger_of("gate")

STUCK = "what still runs (a tool, or the server's lifespan) does not end, so the program ends without it"

KEEP_HANDLERS_SECONDS = 1.0
"""How often signals are checked: other code may have taken one away."""


class Reactions:
    """Begins the end at the first signal to stop, ends everything at the second, and reloads when asked to.

    `grace` tells how many seconds the end may take. `stop` and `reload` are called in the event loop.
    """

    def __init__(
        self,
        signals: Signals,
        ending: Ending,
        *,
        grace: Callable[[], float],
        stop: Callable[[str], None],
        reload: Callable[[], None],
    ) -> None:
        self._signals = signals
        self._ending = ending
        self._grace = grace
        self._stop = stop
        self._reload = reload
        self._stops = 0
        self._idle = LogBudget(logger)

    def begin(self, everything: trio.CancelScope) -> None:
        """From now on, let signals take effect; the second one to stop cancels `everything`."""
        self._token = trio.lowlevel.current_trio_token()
        self._everything = everything
        self._ending.heard = self._heard
        self._signals.keep_handlers()

    async def keep(self, begin: trio.Event) -> None:
        """From `begin` on, keep signals ours, whatever a hosted server does; never returns."""
        await begin.wait()
        while True:
            self._signals.keep_handlers()
            await trio.sleep(KEEP_HANDLERS_SECONDS)

    def _heard(self, signum: int) -> None:
        """In the thread that waits for signals, and for the end."""
        name = signals.name_of(signum)
        if signum in signals.STOPPING:
            self._stops += 1
            if self._stops == 1:
                self._ending.within(self._grace() + LATE_SECONDS, 0, STUCK)
                self._tell(partial(self._stop, name))
            else:
                logger.info("stopping at once, at the second signal (%s)", name)
                self._ending.within(SECOND_SECONDS, 1)
                self._tell(self._everything.cancel)
        elif signum in signals.RELOADING:
            logger.info("%s: reading the tokens file anew, if there is one", name)
            self._tell(self._reload)
        else:  # perhaps a tool's own; its handler is to be called now, not when the loop wakes up
            if signum in signals.IDLE and signals.is_idle(signum):
                self._idle.warning(name, "%s: ends nothing, and reopens nothing", name, lines=1)
            self._tell(int)

    def _tell(self, function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # then the end is under way
            self._token.run_sync_soon(function)
