"""How many may do something at once: in all, and of one group."""

from __future__ import annotations

from collections import Counter

import trio


class AtOnce:
    """Room for `total` at once, and for `of_one` of the same group. Each group's come in turn."""

    def __init__(self, total: int, of_one: int) -> None:
        self._all = trio.Semaphore(total)
        self._of_one = of_one
        self._groups: dict[str, trio.Semaphore] = {}
        self._members: Counter[str] = Counter()  # inside, or waiting

    async def enter(self, group: str, seconds: float) -> bool:
        """Wait for room for at most so many seconds; True if there is some, and the caller leaves it later."""
        own = self._groups.setdefault(group, trio.Semaphore(self._of_one))
        self._members[group] += 1
        has_room = has_own = False
        try:
            with trio.move_on_after(seconds):
                await own.acquire()
                has_own = True
                await self._all.acquire()
                has_room = True
        finally:
            if not has_room:
                self._forget(group, own if has_own else None)
        return has_room

    def leave(self, group: str) -> None:
        """Make room again."""
        self._all.release()
        self._forget(group, self._groups[group])

    def _forget(self, group: str, own: trio.Semaphore | None) -> None:
        if own is not None:
            own.release()
        self._members[group] -= 1
        if not self._members[group]:
            del self._members[group], self._groups[group]
