"""Things that are fetched from the provider when somebody needs them, and at no other time: a dashboard that nobody
opens asks nobody anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from gatehouse.errors import without_message
from gatehouse.http.asked import AskError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PAUSE_SECONDS = 5.0
"""From the beginning of one fetch to that of the next, whatever its outcome: anybody can open the page that signs in."""


class OnDemand(Generic[T]):
    """One thing, kept for as long as `fetch` says: it returns the thing and a number of seconds, and may raise AskError.

    All who wait share one fetch, and it goes on without those who leave. It must end by itself.
    """

    def __init__(self, fetch: Callable[[], Awaitable[tuple[T, float]]]) -> None:
        self._fetch = fetch
        self._thing: T | None = None
        self._until = self._next = -math.inf
        self._over: trio.Event | None = None
        self.trouble: AskError | None = None
        """Why the last fetch brought nothing; None if it did not fail."""

    @property
    def at_hand(self) -> T | None:
        """The thing, while it is fresh."""
        return self._thing if trio.current_time() < self._until else None

    async def get(self) -> T:
        """The thing, fetched if it is not at hand. Raises AskError."""
        if (thing := self.at_hand) is not None:
            return thing
        return await self.renewed()

    async def renewed(self) -> T:
        """The thing, fetched anew, unless that was done a moment ago. Raises AskError, with the words of the last fetch."""
        now = trio.current_time()
        if self._over is None and now >= self._next:
            self._next = now + PAUSE_SECONDS
            self._over = trio.Event()
            trio.lowlevel.spawn_system_task(self._renew, self._over)
        if self._over is not None:
            await self._over.wait()
        if (thing := self.at_hand) is not None:
            return thing
        trouble = self.trouble or AskError("it may not be kept at all")
        raise type(trouble)(trouble.words)

    async def _renew(self, over: trio.Event) -> None:
        try:
            self._thing, seconds = await self._fetch()
            self._until = trio.current_time() + seconds
            self.trouble = None
        except AskError as error:
            self.trouble = error
        except Exception as error:  # noqa: BLE001 - an error in a system task ends the program
            self.trouble = AskError(without_message(error))
        finally:
            self._over = None
            over.set()
