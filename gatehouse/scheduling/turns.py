"""Turns: long work leaves the loop to others.

A task that has worked for SLICE_SECONDS since its last checkpoint waits for its turn before it goes on. With a
bare checkpoint, all such tasks would go on in each pass of the loop, and the others would wait for them all.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict

import trio

SLICE_SECONDS = 0.001
"""How long one task may work before others have a turn. Together with work that cannot be interrupted, a
step of the loop stays below 2 ms."""

REST_SLICES = 4
"""After a turn in a share, everybody else has the loop for this many times as long: the share is a fifth."""

MAX_AHEAD_SECONDS = 0.02
"""How far ahead of their share its users may get before they sleep until they are even: sleeping after each
turn would cost as much as the turn."""

SWITCH_SECONDS = 0.0003
"""How long a thread that computes keeps the interpreter while another one wants it. With Python's own 5 ms the
loop waits that long after each system call, once for each tool that computes in a thread: beside four such tools
calls took 80 to 120 ms, and take 25 now. The tools lose nothing measurable by switching more often."""


def let_threads_in() -> None:
    """Make threads that compute, the loop's or a tool's, give way to each other soon."""
    sys.setswitchinterval(SWITCH_SECONDS)


class Turns:
    """A queue of tasks with long work: one of them goes on in each pass of the loop."""

    def __init__(self) -> None:
        self._queue = trio.Lock()

    async def wait(self) -> None:
        """Return when it is our turn."""
        async with self._queue:
            pass  # handed over at once, so that the next in the queue goes on in the next pass


class Crowd(trio.abc.Instrument):
    """Tasks of which one pass of the loop may wake many: together they have a slice of the pass, and the
    rest go on one in each pass.

    A task that comes alone waits for nothing. Every second turn goes to the newest newcomer, who need not wait
    for a whole flood that came before; the other turns go to the task that has waited longest, newcomers last.
    A crowd is an instrument of the loop, to know when a pass begins.
    """

    def __init__(self) -> None:
        self._newcomers: OrderedDict[trio.Event, None] = OrderedDict()
        self._others: OrderedDict[trio.Event, None] = OrderedDict()
        self._handed_on = False  # somebody goes on in the next pass
        self._newest = False
        self._fresh = True  # nobody has had a turn in this pass
        self._began = 0.0

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        """A pass begins."""
        self._fresh = True

    async def turn(self, *, newcomer: bool) -> None:
        """Return when it is our turn."""
        if not self._handed_on:
            now = time.perf_counter()
            if self._fresh:
                self._fresh, self._began = False, now
            if now - self._began < SLICE_SECONDS:
                return
        mine = trio.Event()
        queue = self._newcomers if newcomer else self._others
        if self._handed_on:
            queue[mine] = None
        else:
            self._handed_on = True
            mine.set()
        try:
            await mine.wait()
        finally:
            if mine in queue:  # it has been cancelled, and was not our turn
                del queue[mine]
            else:
                self._hand_on()

    def _hand_on(self) -> None:
        self._newest = not self._newest
        if self._newcomers and (self._newest or not self._others):
            self._newcomers.popitem(last=self._newest)[0].set()
        elif self._others:
            self._others.popitem(last=False)[0].set()
        else:
            self._handed_on = False


class LoopShare:
    """A share of the loop that all work beyond an ordinary call has together.

    First come, first served; each task has as many turns as any other.
    """

    def __init__(self) -> None:
        self._queue = trio.StrictFIFOLock()
        self._free_at = 0.0

    async def turn(self, seconds: float = SLICE_SECONDS) -> None:
        """Wait for a turn. The work up to the next checkpoint may take that long."""
        if self._queue.locked() or self._spent():
            async with self._queue:
                if self._spent():
                    await trio.sleep_until(self._free_at)
        else:
            await trio.lowlevel.checkpoint()
        self._free_at = max(self._free_at, trio.current_time()) + seconds * (1 + REST_SLICES)

    def _spent(self) -> bool:
        return self._free_at > trio.current_time() + MAX_AHEAD_SECONDS
