"""The start of a server that this program hosts: requests that come before it is up wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gatehouse.http import refusals

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply


class HostedStart:
    """Lets requests wait, until `started` is set, for so many seconds, and so many requests at a time."""

    def __init__(self, started: trio.Event, *, seconds: float, max_requests: int) -> None:
        self._started = started
        self._seconds = seconds
        self._max_requests = max_requests
        self._waiting: set[trio.CancelScope] = set()
        self._given_up = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def give_up(self) -> None:
        """The program is about to end: let nobody wait any longer."""
        self._given_up = True
        for patience in self._waiting:
            patience.cancel()

    async def refusal(self) -> Reply | None:
        """Wait, if need be; returns a reply if the server does not start in time.

        Nobody calls `receive` meanwhile. If the client leaves, its connection notices, and cancels this.
        """
        if self._started.is_set():
            return None
        if self._given_up:  # a rate was being asked for meanwhile
            return refusals.DRAINING
        if len(self._waiting) >= self._max_requests:
            return refusals.STARTING
        with trio.move_on_after(self._seconds) as patience:
            self._waiting.add(patience)
            try:
                await self._started.wait()
            finally:
                self._waiting.discard(patience)
        if self._given_up:
            return refusals.DRAINING
        return None if self._started.is_set() else refusals.STARTING
