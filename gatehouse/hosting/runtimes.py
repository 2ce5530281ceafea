"""The two runtimes of a hosted server: Trio, and asyncio in the loop that trio-asyncio keeps in the same thread."""

from __future__ import annotations

import contextvars
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from sniffio import current_async_library

from gatehouse import pinned
from gatehouse.hosting.escapes import close_nurseries, close_threads
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from gatehouse.upstream.handover import Event
    from gatehouse.upstream.inprocess import App, Calls

logger = logger_of("gate.upstream")

warn = partial(logger.warning, "%s")


async def run_on_trio(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a server whose code uses nothing of asyncio."""
    import asyncio

    close_nurseries()
    pinned.let_trio_threads_return_coroutines(warn)
    asyncio.set_event_loop(None)  # else it would make a loop that never runs for code that asks
    await serve()


async def run_on_asyncio(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a server on asyncio, which it may use as it likes."""
    # Imported here, not at the top: the import is slow, and by now the gate is up.
    from gatehouse.hosting.loops import aio_as_trio, open_loop

    async def serve_with_threads() -> None:
        pinned.keep_anyio_threads(warn)
        close_threads()
        await serve()

    async with open_loop():
        await aio_as_trio(serve_with_threads)()


class Direct:
    """The way in without a port: the gate calls the app, in the runtime that `serve` is called in."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        runtime = OnTrio() if current_async_library() == "trio" else OnAsyncio()
        self._stopped = runtime.event()
        async with runtime.open():
            with self._calls.reach(app, runtime):
                started()
                await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


class OnTrio:
    """Runs an app's tasks on Trio, which FastMCP can: for servers that use nothing of asyncio."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let tasks start; at the end, cancel those that are left."""
        async with trio.open_nursery() as self._nursery:
            yield
            self._nursery.cancel_scope.cancel()

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # In the server's context, not in that of the gate's exchange.
        self._context.copy().run(self._nursery.start_soon, run)

    def event(self) -> Event:
        return trio.Event()


class OnAsyncio:
    """Runs an app's tasks in an asyncio loop: made, and opened, in a coroutine of that loop's."""

    def __init__(self) -> None:
        import asyncio

        self._new_event = asyncio.Event
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # what trio-asyncio knows its own tasks by
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no hold on them

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let tasks start; at the end, cancel those that are left."""
        import asyncio

        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(run(), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def event(self) -> Event:
        return self._new_event()
