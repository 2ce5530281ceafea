"""The end of the program: in time, whatever still runs.

Python waits for its threads, and Trio for its tasks. A tool that hangs in a thread, or swallows its
cancellation, would keep the program for ever. A thread of ours therefore waits beside them (it also hears
of signals, `signals.Signals`), and ends the process once the time is up: the log's queue and the last
uses of tokens are written, the kernel closes the sockets. A program that ends in time ends in the
ordinary way, so that `atexit` and all else has its turn.

Left open: a library in C that keeps the interpreter in a thread other than the main one. No line of
Python runs then, and only SIGKILL helps.
"""

from __future__ import annotations

import atexit
import faulthandler
import math
import os
import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.process.signals import Signals

logger = logger_of("gate")

LATE_SECONDS = 0.8
"""How late an ordinary end may be: a connection is cut, a server stops, Python takes itself down."""

SECOND_SECONDS = 0.3
"""How long the end may take after a second signal: enough for tasks that accept their cancellation."""

LAST_SECONDS = 0.1
"""How long each of the last things may take: writing the last uses of tokens, and the log."""

C_SECONDS = 0.35
"""How much later a thread in C ends the process, with status 1, if no line of Python runs any more."""

TEARDOWN_SECONDS = 5.0
"""How long Python's last steps may take, when none of our threads runs any more: only a busy machine
makes them slow."""


NEVER_STARTED = 2
"""The exit status of a program that could not start, of which one line has said why."""


class Ending:
    """Waits, in a thread, for signals and for the end. `heard` is called with each signal, in that thread.

    `last_things` are called at a hard end, and then `flush`, each in a thread and for LAST_SECONDS at most.
    """

    def __init__(
        self, signals: Signals, *last_things: Callable[[], object], flush: Callable[[], object]
    ) -> None:
        self.heard: Callable[[int], None] = lambda _: None
        self._signals = signals
        self._last_things = (*last_things, self._tell_stopped, flush)
        self._told_stopped = False
        self._at = math.inf
        self._status = 1
        self._words = ""
        self._devnull = os.open(os.devnull, os.O_WRONLY)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._wait, name="ending", daemon=True)

    def start(self) -> None:
        """Start the thread: now, since the system may have none left when it is needed."""
        self._thread.start()

    @property
    def seconds_left(self) -> float:
        """The seconds until the hard end."""
        return self._at - time.monotonic()

    def within(self, seconds: float, status: int, words: str = "") -> None:
        """End the process after so many seconds, unless it ends by itself, or an earlier end is set.

        `words` are logged at that end. Any thread may call this.
        """
        at = time.monotonic() + seconds
        if at >= self._at:
            return
        self._at, self._status, self._words = at, status, words
        self._arm(seconds + C_SECONDS)
        with suppress(OSError):  # full, or closed by code that closes all descriptors
            os.write(self._wake_write, b"\0")

    def leave(self, status: int) -> None:
        """The event loop has ended; Python ends the rest, and waits for threads."""
        self._words = ""
        self._status = status
        self._tell_stopped()
        self.within(LATE_SECONDS, status)
        self._signals.ignore_idle()
        atexit.register(self._arm, TEARDOWN_SECONDS)

    def _tell_stopped(self) -> None:
        if not self._told_stopped and self._status != NEVER_STARTED:
            self._told_stopped = True
            logger.info("stopped, with status %d", self._status)

    def _arm(self, seconds: float) -> None:
        with suppress(RuntimeError):  # no thread to be had
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._devnull)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._signals.read_end, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while (left := self.seconds_left) > 0:
            ready = poll.poll(None if left == math.inf else math.ceil(left * 1000))
            if any(descriptor == self._wake_read for descriptor, _ in ready):
                os.read(self._wake_read, 64)
            for signum in self._signals.next():
                try:
                    self.heard(signum)
                except Exception:  # this thread has to go on
                    logger.exception("a signal could not be handled")
        self._end()

    def _end(self) -> None:
        # Python runs, and the last things may take their time on a busy machine; the status stays what it is.
        self._arm(LAST_SECONDS * (len(self._last_things) + 1) + C_SECONDS)
        if self._words:
            self._bounded(lambda: logger.warning("%s", self._words))
        for last_thing in self._last_things:
            self._bounded(last_thing)
        os._exit(self._status)

    def _bounded(self, function: Callable[[], object]) -> None:
        def run() -> None:
            with suppress(Exception):
                function()

        thread = threading.Thread(target=run, daemon=True)
        with suppress(RuntimeError):
            thread.start()
            thread.join(LAST_SECONDS)
