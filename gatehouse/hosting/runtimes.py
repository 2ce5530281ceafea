"""The two runtimes of a hosted server: Trio, and asyncio in the loop that trio-asyncio keeps in the same thread."""

from __future__ import annotations

import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from gatehouse import pinned
from gatehouse.hosting.escapes import close_nurseries, close_threads
from gatehouse.records.loggers import logger_of
from gatehouse.upstream.inprocess import Calls

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine

    from gatehouse.upstream.inprocess import App

logger = logger_of("gate.upstream")

warn = partial(logger.warning, "%s")


async def run_on_trio(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a server whose code uses nothing of asyncio."""
    import asyncio

    close_nurseries()
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


class TrioCalls(Calls):
    """Runs the app natively on Trio, which FastMCP can: for servers that use nothing of asyncio."""

    on_trio = True

    def __init__(self, authority: str) -> None:
        super().__init__(authority)
        self._stopped = trio.Event()

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        self._context = contextvars.copy_context()
        async with trio.open_nursery() as self._nursery:
            self.app = app
            self.was_reached = True
            started()
            try:
                await self._stopped.wait()
            finally:
                self.app = None
            self._nursery.cancel_scope.cancel()

    def stop(self) -> None:
        self._stopped.set()

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # In the server's context, not in that of the gate's exchange.
        self._context.copy().run(self._nursery.start_soon, run)

    def event(self) -> trio.Event:
        return trio.Event()


class AsyncioCalls(Calls):
    """Runs the app in an asyncio loop: `serve` is a coroutine of that loop's."""

    on_trio = False

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        import asyncio

        self._new_event = asyncio.Event
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # what trio-asyncio knows its own tasks by
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no hold on them
        self.app = app
        self.was_reached = True
        started()
        try:
            await self._stopped.wait()
        finally:
            self.app = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        self._stopped.set()

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(run(), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def event(self) -> asyncio.Event:
        return self._new_event()
