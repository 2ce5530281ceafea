"""An asyncio loop inside Trio that behaves as asyncio's own, and that nothing in the server can end.

trio-asyncio 0.16 (pinned exactly) lends asyncio's tasks a loop in Trio's thread. `BatchLoop` is that loop, with
asyncio's own parts wherever they fit: its callbacks, timers, executor, clock and threads. Only waiting is
Trio's. Three things follow.

-   A server notices no difference: what asyncio promises, and what its users have come to rely on, is
    asyncio's own code (`tests/promises/test_asyncio_idioms.py` compares the two). trio-asyncio replaces functions of
    the asyncio module, too, for the whole process; `open_loop` works without, so they are put back.
-   It is cheaper: asyncio's loop looks at the sockets once for all callbacks that are ready, and so does
    this one, while trio-asyncio does for each. And a cancelled timer is let go.
-   Whatever a callback raises, and whoever calls `stop`, the loop goes on. A loop that ends would leave a
    program that looks healthy and answers nobody.

Importing this module puts `BatchLoop` in the place of trio-asyncio's `TrioEventLoop`, for `open_loop` to
open. `tests/hosting/test_asyncio_loop.py` fails when one of the private names that it relies on changes.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from asyncio import BaseEventLoop, _set_running_loop
from asyncio.log import logger as asyncio_logger
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from sniffio import thread_local as current_library
from trio_asyncio._base import TrioAsyncioExit
from trio_asyncio._handles import AsyncHandle

from gatehouse.hosting.asyncio_outside import Files, Signals
from gatehouse.hosting.asyncio_ready import Ready
from gatehouse.hosting.contained import in_short, log_failed_callback, place_of_caller
from gatehouse.hosting.escapes import in_thread
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")

logger = logger_of("gate.upstream")

MAX_UNSEARCHED_TIMERS = 100
"""Fewer timers are not worth searching for cancelled ones."""

MAX_WAIT_SECONDS = 24 * 3600
"""asyncio's own bound: the loop waits no longer at a time, so that a timer's delay may be any number."""


class BatchLoop(Files, Signals):
    """An asyncio event loop on Trio that runs, like asyncio's own, all callbacks that are ready."""

    # asyncio's own parts, which trio-asyncio has others for.
    call_soon = BaseEventLoop.call_soon
    call_later = BaseEventLoop.call_later
    time = BaseEventLoop.time
    set_default_executor = BaseEventLoop.set_default_executor
    _call_soon = BaseEventLoop._call_soon  # type: ignore[attr-defined]  # noqa: SLF001
    _timer_handle_cancelled = BaseEventLoop._timer_handle_cancelled  # type: ignore[attr-defined]  # noqa: SLF001

    _scheduled: list[Any]  # of asyncio.TimerHandle, with what only asyncio itself knows of it
    _thread_id: int | None
    _timer_cancelled_count: int

    def __init__(self, queue_len: int | None = None) -> None:
        super().__init__(queue_len)
        self._ready = Ready(self._in_own_thread)
        self._scheduled = []
        self._default_executor = None
        self._may_end = False

    # Adding callbacks.

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """As asyncio's. A time that is no number counts as now: it would upset the order of all timers."""
        if when != when:
            when = self.time()
        if self._token is not None and threading.get_ident() != self._thread_id:
            self._check_closed()
            if self._debug:
                self._check_thread()
            timer = asyncio.TimerHandle(when, callback, args, self, context)
            self._token.run_sync_soon(self._schedule, timer)
            return timer
        timer = BaseEventLoop.call_at(self, when, callback, *args, context=context)
        self._ready.wake()
        return timer

    def _schedule(self, timer: Any) -> None:
        """Put a timer in its place, for another thread: two that sift the timers at a time would lose some."""
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # noqa: SLF001 - as asyncio does
        self._ready.wake()

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """As asyncio's: in one order with `call_soon`, whichever thread it comes from."""
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        handle = asyncio.Handle(callback, args, self, context)
        self._add_callback_signalsafe(handle)
        return handle

    def _add_callback_signalsafe(self, handle: asyncio.Handle) -> None:
        """Add a callback from any thread, or between any two steps of the loop's own."""
        if self._token is None:
            raise RuntimeError("Event loop is closed")
        deque.append(self._ready, handle)  # without waking the loop, which may be at a bad moment
        self._token.run_sync_soon(self._ready.wake, idempotent=True)

    def _queue_handle(self, handle: asyncio.Handle) -> asyncio.Handle:
        self._check_closed()
        self._ready.append(handle)
        return handle

    def _in_own_thread(self, function: Callable[..., object], *args: object) -> None:
        """Call the function in the loop's thread: at once if this is that thread, else soon."""
        if self._token is None or threading.get_ident() == self._thread_id:
            function(*args)
        else:
            self._token.run_sync_soon(function, *args)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As asyncio's. A GeneratorExit in a thread stays an error of this call."""
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None or isinstance(executor, ThreadPoolExecutor):
            func, args = in_thread, (func, *args)
        return BaseEventLoop.run_in_executor(self, executor, func, *args)

    # Running them.

    async def _main_loop_init(self, nursery: trio.Nursery) -> None:
        await super()._main_loop_init(nursery)
        self._thread_id = threading.get_ident()
        asyncio.set_event_loop(self)

    async def _main_loop_exit(self) -> None:
        self._may_end = True
        try:
            await super()._main_loop_exit()
        finally:
            self._thread_id = None
            asyncio.set_event_loop(None)

    async def _main_loop_one(self, no_wait: bool = False) -> None:
        """One round. Raises trio.WouldBlock if `no_wait` is set and there is nothing to do."""
        ready = self._ready
        self._let_go()
        if ready:
            await trio.lowlevel.cancel_shielded_checkpoint()  # others have their turn
        elif no_wait:
            raise trio.WouldBlock
        else:
            await self._wait()
        library = self._enter()
        try:
            self._take_due()
            for _ in range(len(ready)):  # those that come meanwhile wait for the next round
                handle = ready.popleft()
                if isinstance(handle, AsyncHandle):  # a Trio task, which is not asyncio's
                    self._leave(library)
                    await self._start(handle)
                    self._enter()
                else:
                    self._run(handle)
        finally:
            self._leave(library)

    def _enter(self) -> Any:
        """From here on, asyncio's code runs. Returns the argument for `_leave`."""
        library, current_library.name = current_library.name, "asyncio"
        _set_running_loop(self)
        return library

    def _leave(self, library: Any) -> None:
        _set_running_loop(None)
        current_library.name = library

    async def _wait(self) -> None:
        """Wait until there is a callback, or a timer is due."""
        timers = self._scheduled
        while timers and timers[0].cancelled():
            self._pop_timer()
            self._timer_cancelled_count -= 1
        if timers:
            seconds = min(max(0, timers[0].when() - self.time()), MAX_WAIT_SECONDS)
            with trio.move_on_after(seconds):
                await self._ready.wait()
        else:
            await self._ready.wait()

    def _let_go(self) -> None:
        """Forget the cancelled timers: in each round, since a busy loop never waits."""
        timers = self._scheduled
        if len(timers) > MAX_UNSEARCHED_TIMERS and self._timer_cancelled_count > len(timers) / 2:
            for timer in timers:
                timer._scheduled = not timer.cancelled()  # noqa: SLF001 - as asyncio does
            self._scheduled = [timer for timer in timers if timer._scheduled]  # noqa: SLF001
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0

    def _take_due(self) -> None:
        if self._scheduled:
            end = self.time() + self._clock_resolution
            while self._scheduled and self._scheduled[0].when() < end:
                self._ready.append(self._pop_timer())

    def _pop_timer(self) -> asyncio.TimerHandle:
        timer: Any = heapq.heappop(self._scheduled)
        timer._scheduled = False  # noqa: SLF001 - as asyncio does
        return timer  # type: ignore[no-any-return]

    def _cancel_timers(self) -> None:
        for timer in self._scheduled:
            timer.cancel()
        self._scheduled.clear()

    def _run(self, handle: asyncio.Handle) -> None:
        """Run a callback, unless it has been cancelled. Its errors do not leave the loop."""
        if handle.cancelled():
            return
        began = time.monotonic() if self._debug else None
        try:
            handle._run()  # noqa: SLF001 - as every event loop does
        except BaseException as error:
            # A task keeps its error for the code that awaits it.
            if isinstance(error, TrioAsyncioExit) and self._may_end:
                raise
            logger.error("an asyncio callback raised %s; the loop goes on", in_short(error))
        if began is not None and time.monotonic() - began >= self.slow_callback_duration:
            took = time.monotonic() - began
            asyncio_logger.warning("Executing %s took %.3f seconds", printable(repr(handle)), took)

    async def _start(self, handle: Any) -> None:
        handle._context.run(self._nursery.start_soon, handle._run, name=handle._callback)  # noqa: SLF001
        await handle._started.wait()  # noqa: SLF001

    # Nothing below may end the loop.

    def close(self) -> None:
        """Close the loop if its opener is at its end. Raises RuntimeError if the loop runs."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        super().close()

    def run_forever(self) -> None:
        """Raises RuntimeError, since it runs."""
        raise RuntimeError("This event loop is already running")

    def run_until_complete(self, future: object) -> Any:  # noqa: ARG002
        """Raises RuntimeError, since it runs."""
        raise RuntimeError("This event loop is already running")

    def stop(self, waiter: trio.Event | None = None) -> trio.Event | None:
        """Stop the loop if its opener is at its end; else log the caller, and go on."""
        if self._may_end:
            stopping: trio.Event = super().stop(waiter)
            return stopping
        logger.error("the server called stop() of the loop%s; it goes on", place_of_caller())
        return waiter

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the error of a callback, or of a task that nobody awaits; trio-asyncio would end the loop."""
        log_failed_callback(context)
