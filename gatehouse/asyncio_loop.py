"""trio-asyncio's event loop, made cheaper: callbacks run in batches, and cancelled timers are let go.

trio-asyncio 0.16 (pinned exactly) hands each callback through a Trio memory channel, under a cancel
scope, and lets Trio look at every socket before the next one. asyncio's own loop looks at the sockets
once for all callbacks that are ready, and so does this one: a small call of a hosted server, which takes
some twenty callbacks, costs a quarter less. And trio-asyncio keeps a cancelled timer, with all it refers
to, until it would have been due (uvicorn sets one after each answer).

Importing this module puts `BatchLoop` in the place of trio-asyncio's `TrioEventLoop`, for `open_loop` to
open. It overrides private names; `tests/test_asyncio_loop.py` fails when one of them changes.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING, Any

import trio
import trio_asyncio._loop
from sniffio import thread_local as current_library
from trio_asyncio import aio_as_trio, open_loop
from trio_asyncio._async import TrioEventLoop
from trio_asyncio._handles import AsyncHandle

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BatchLoop", "aio_as_trio", "open_loop"]

FEW_TIMERS = 100
"""So many timers are not worth looking through for cancelled ones."""


class Queue:
    """The callbacks that are to run, and the loop that waits for them: in the place of a channel."""

    def __init__(self) -> None:
        self.handles: deque[asyncio.Handle] = deque()
        self._waiting: trio.lowlevel.Task | None = None

    def send_nowait(self, handle: asyncio.Handle) -> None:
        """Add a callback, and wake the loop."""
        self.handles.append(handle)
        if self._waiting is not None:
            task, self._waiting = self._waiting, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Return when there is a callback; for one task."""

        def abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
            self._waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)


class BatchLoop(TrioEventLoop):  # type: ignore[misc]  # trio-asyncio has no types
    """An asyncio event loop on Trio that runs, like asyncio's own, all callbacks that are ready."""

    _timers: list[asyncio.TimerHandle]

    def __init__(self, queue_len: int | None = None) -> None:
        super().__init__(queue_len)
        self._queue = self._q_send = self._q_recv = Queue()
        self._many_timers = FEW_TIMERS

    async def _main_loop_one(self, no_wait: bool = False) -> None:
        """One round. Raises trio.WouldBlock if `no_wait` is set and there is nothing to do."""
        handles = self._queue.handles
        if handles:
            await trio.lowlevel.cancel_shielded_checkpoint()  # it is the others' turn
        elif no_wait:
            raise trio.WouldBlock
        elif self._timers:
            with trio.move_on_at(self._timers[0].when()):
                await self._queue.wait()
        else:
            await self._queue.wait()
        library = current_library.name
        try:
            current_library.name = "asyncio"
            ready = len(handles)  # those that come meanwhile wait for the next round, as in asyncio
            now = self.time()
            while self._timers and self._timers[0].when() <= now:
                run(heapq.heappop(self._timers))
            for _ in range(ready):
                handle = handles.popleft()
                if isinstance(handle, asyncio.TimerHandle):
                    self._schedule(handle)
                elif isinstance(handle, AsyncHandle):  # a Trio task, which is not asyncio's
                    current_library.name = library
                    await self._start(handle)
                    current_library.name = "asyncio"
                else:
                    run(handle)
        finally:
            current_library.name = library

    def _schedule(self, timer: asyncio.TimerHandle) -> None:
        if len(self._timers) >= self._many_timers:
            self._timers = [timer for timer in self._timers if not timer.cancelled()]
            heapq.heapify(self._timers)
            self._many_timers = 2 * len(self._timers) + FEW_TIMERS
        heapq.heappush(self._timers, timer)

    async def _start(self, handle: Any) -> None:
        handle._context.run(self._nursery.start_soon, handle._run, name=handle._callback)  # noqa: SLF001
        await handle._started.wait()  # noqa: SLF001


def run(handle: asyncio.Handle) -> None:
    """Run a callback, unless it has been cancelled."""
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - as every event loop does


setattr(trio_asyncio._loop, "TrioEventLoop", BatchLoop)  # noqa: B010, SLF001 - there is no public way
