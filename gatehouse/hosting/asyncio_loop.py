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
import errno
import heapq
import os
import signal
import stat
import threading
import time
from asyncio import BaseEventLoop, _set_running_loop
from asyncio.log import logger as asyncio_logger
from asyncio.selector_events import BaseSelectorEventLoop
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from sniffio import thread_local as current_library
from trio_asyncio._async import TrioEventLoop
from trio_asyncio._base import TrioAsyncioExit
from trio_asyncio._handles import AsyncHandle, ScopedHandle

from gatehouse.hosting.contained import in_short, log_failed_callback, place_of_caller
from gatehouse.hosting.escapes import in_thread
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")

logger = logger_of("gate.upstream")

FEW_TIMERS = 100
"""Up to this many timers are not worth searching for cancelled ones."""

MAX_WAIT_SECONDS = 24 * 3600
"""asyncio's own bound: the loop waits no longer at a time, so that a timer's delay may be any number."""


ENDING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
"""These end the program, whoever else handles them."""


class Ready(deque[asyncio.Handle]):
    """The callbacks that will run, and the loop that waits for them.

    asyncio allows other threads `call_soon_threadsafe` only, but tolerates those that use `call_soon` or
    `create_task`: the loop finds these callbacks when it wakes next. Here, too, any thread may use either.
    """

    _waiting: trio.lowlevel.Task | None = None

    def __init__(self, in_own_thread: Callable[..., None]) -> None:
        super().__init__()
        self._in_own_thread = in_own_thread

    def append(self, handle: asyncio.Handle) -> None:
        """Add a callback, and wake the loop."""
        super().append(handle)
        if self._waiting is not None:
            self.wake()

    def wake(self) -> None:
        """Let the loop look again for work."""
        self._in_own_thread(self._wake)

    def _wake(self) -> None:
        task, self._waiting = self._waiting, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Return when there is a callback; for one task."""

        def abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
            self._waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting = trio.lowlevel.current_task()
        if self:  # a thread has added one before it could see that we wait
            self._waiting = None
            return
        await trio.lowlevel.wait_task_rescheduled(abort)


class BatchLoop(TrioEventLoop):  # type: ignore[misc]  # trio-asyncio has no types
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
        if len(timers) > FEW_TIMERS and self._timer_cancelled_count > len(timers) / 2:
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

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's. Raises PermissionError for a file on a disk."""
        refuse_file(fd)
        BaseSelectorEventLoop.add_reader(self, fd, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's. Raises PermissionError for a file on a disk."""
        refuse_file(fd)
        BaseSelectorEventLoop.add_writer(self, fd, callback, *args)

    def _add_io_handler(
        self, set_handle: Any, wait_ready: Any, fd: Any, callback: Any, args: Any
    ) -> Any:
        self._check_closed()
        handle = ScopedHandle(callback, args, self)
        former = set_handle(fd, handle)
        if former is not None:
            former.cancel()
        self._in_own_thread(self._start_io_task, fd, handle, wait_ready)
        return handle

    def _start_io_task(self, fd: Any, handle: Any, wait_ready: Any) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._io_task, fd, handle, wait_ready)

    def _trio_io_cancel(self, cancel_scope: trio.CancelScope) -> None:
        self._in_own_thread(cancel_scope.cancel)

    async def _io_task(self, fd: Any, handle: Any, wait_ready: Any) -> None:
        """Call a reader or writer, in asyncio's own surroundings, whenever its file is ready."""
        with handle._scope:  # noqa: SLF001
            try:
                while not handle.cancelled():
                    await wait_ready(fd)
                    library = self._enter()
                    try:
                        self._run(handle)
                    finally:
                        self._leave(library)
                    await self.synchronize()
            except Exception as error:  # noqa: BLE001 - as trio-asyncio does
                if not handle.cancelled():  # else somebody may have rightly closed it
                    handle._raise(error)  # noqa: SLF001

    # Signals: asyncio's own handlers need the wakeup descriptor, which is Trio's.

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's: raises TypeError, ValueError, or RuntimeError if the signal cannot be caught, or not here."""
        if asyncio.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            before = signal.signal(sig, self._handle_sig)
        except ValueError as error:  # another thread
            raise RuntimeError(str(error)) from None
        except OSError:
            raise RuntimeError(f"sig {sig} cannot be caught") from None
        signal.siginterrupt(sig, False)
        self._orig_signals.setdefault(sig, before)
        self._signal_handlers[sig] = asyncio.Handle(callback, args, self)

    def remove_signal_handler(self, sig: int) -> bool:
        """As asyncio's, except that the signal goes to its earlier handler, which may be the gate's."""
        self._check_signal(sig)
        removed: bool = super().remove_signal_handler(sig)
        return removed

    def _handle_sig(self, sig: int, frame: Any) -> None:
        handle, before = self._signal_handlers.get(sig), self._orig_signals.get(sig)
        if handle is not None and self._token is not None:
            self._add_callback_signalsafe(handle)
        if callable(before) and sig in ENDING_SIGNALS:
            before(sig, frame)

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


def refuse_file(fd: Any) -> None:
    """Raise PermissionError for anything but a socket, pipe or device, as the kernel's epoll does."""
    number = fd if isinstance(fd, int) else fd.fileno()
    if number >= 0 and stat.S_ISREG(os.fstat(number).st_mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
