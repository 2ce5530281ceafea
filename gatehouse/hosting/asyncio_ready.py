"""The callbacks of an asyncio loop that will run, and the loop that waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


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
