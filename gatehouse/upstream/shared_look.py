"""One look shared by all who ask at the same time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class SharedLook(Generic[T]):
    """Calls `look`, at most once at a time, and remembers its answer.

    The call has a task of its own: an asker that leaves neither takes the answer from the others nor
    starts a second call. If the call raises, `failed` is the answer.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], failed: T) -> None:
        self._look = look
        self._failed = self._seen = failed
        self._over: trio.Event | None = None
        self._seen_at = -math.inf

    @property
    def age(self) -> float:
        """The age of the remembered answer in seconds; infinite if there is none."""
        return trio.current_time() - self._seen_at

    @property
    def seen(self) -> T:
        """The remembered answer; `failed` if there is none."""
        return self._seen

    async def fresh(self, seconds: float) -> T:
        """The remembered answer if it is at most so many seconds old, else the next one."""
        if self.age > seconds:
            await self.begin().wait()
        return self._seen

    def begin(self) -> trio.Event:
        """Start a look, unless one is running. The event is set once its answer is there."""
        if self._over is None:
            self._over = trio.Event()
            trio.lowlevel.spawn_system_task(self._run, self._over)
        return self._over

    async def _run(self, over: trio.Event) -> None:
        try:
            self._seen = await self._look()
        except Exception:  # noqa: BLE001 - nobody but the askers could be told, and an error here ends all
            self._seen = self._failed
        finally:
            self._seen_at = trio.current_time()
            self._over = None
            over.set()
