"""Turns: how work that takes long leaves the loop to others.

Whoever has worked for SLICE_SECONDS since its last checkpoint waits for its turn before it goes on. A bare
checkpoint would let each of them go on in each pass of the loop, so that all others would wait for them all.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict

import trio

SLICE_SECONDS = 0.001
"""How long one task may work before others have a turn. With what cannot be interrupted, a step of the loop
stays below 2 ms."""

REST = 4
"""So many times as long as a turn in a share the loop is left to everybody else: the share is a fifth."""

BURST_SECONDS = 0.02
"""So far ahead of its share may be who uses it, and then rests until it is even: to sleep after each turn would
cost as much as the turn."""

SWITCH_SECONDS = 0.0003
"""A thread that computes keeps the interpreter for so long while another one wants it. With Python's own 5 ms the
loop waits that long after each system call, once for each tool that computes in a thread: calls took 80 to 120 ms
beside four of them, and 25 since; to switch more often costs them nothing that can be measured."""


def let_threads_in() -> None:
    """Make those threads that compute, the loop's or a tool's, give way to each other soon."""
    sys.setswitchinterval(SWITCH_SECONDS)


class Turns:
    """Whoever works for long queues here, and one of them goes on in each pass of the loop."""

    def __init__(self) -> None:
        self._queue = trio.Lock()

    async def wait(self) -> None:
        """Return when it is our turn."""
        async with self._queue:
            pass  # handed over at once, so that the next in the queue goes on in the next pass


class Crowd(trio.abc.Instrument):
    """Many may be woken by one pass of the loop: here all together have a slice of it, and those beyond that
    go on one in each pass.

    Whoever comes alone waits for nothing. Every second turn goes to the newest newcomer, who need not wait for
    all of a flood that came before; the others to who has waited longest, those first who are no newcomers.
    It is an instrument of the loop, to know when a pass begins.
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
    """A share of the loop, for all together that want more of it than an ordinary call does.

    Who comes first goes first, and each has as many turns as any other.
    """

    def __init__(self) -> None:
        self._queue = trio.StrictFIFOLock()
        self._free_at = 0.0

    async def turn(self, seconds: float = SLICE_SECONDS) -> None:
        """Wait for a turn; what follows, up to the next checkpoint, may take that long."""
        if self._queue.locked() or self._spent():
            async with self._queue:
                if self._spent():
                    await trio.sleep_until(self._free_at)
        else:
            await trio.lowlevel.checkpoint()
        self._free_at = max(self._free_at, trio.current_time()) + seconds * (1 + REST)

    def _spent(self) -> bool:
        return self._free_at > trio.current_time() + BURST_SECONDS
