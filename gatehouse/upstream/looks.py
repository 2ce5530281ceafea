"""One look for all who ask: a question that many may put at a time, and that costs the same for one or all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Look(Generic[T]):
    """Looks by calling `look`, at most once at a time, and remembers what it said.

    The call has a task of its own: no asker that leaves takes the answer from the others, and none that
    gives up starts a second call. If it raises, `failed` is what was seen.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], failed: T) -> None:
        self._look = look
        self._failed = self._seen = failed
        self._over: trio.Event | None = None
        self._seen_at = -math.inf

    @property
    def age(self) -> float:
        """How many seconds ago the answer came that is remembered; infinite if there is none."""
        return trio.current_time() - self._seen_at

    async def fresh(self, seconds: float) -> T:
        """What was seen at most so many seconds ago, or else what the next look sees."""
        if self.age > seconds:
            await self.begin().wait()
        return self._seen

    def begin(self) -> trio.Event:
        """Look, unless somebody does. The event is set when what was seen can be asked for."""
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
