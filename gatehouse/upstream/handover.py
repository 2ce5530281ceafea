"""Pieces on their way from one task to another, which may run in different runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_HELD_BYTES = 64 * 1024
"""With more on their way to the other side, the next piece waits until they are taken."""

MAX_HELD_PIECES = 512
"""The same for pieces: an app that sends single bytes lets others go on after some 2 ms."""


class Event(Protocol):
    """An event of Trio or asyncio."""

    def set(self) -> object: ...

    def wait(self) -> Awaitable[object]: ...


class Handover:
    """Passes pieces from one task to another, until either side closes it.

    The taker gets all waiting pieces as one, at once: nothing waits for more to come.
    """

    def __init__(self, giver: Callable[[], Event], taker: Callable[[], Event]) -> None:
        self._new_taken, self._new_given = giver, taker
        self._taken: Event | None = None  # the giver waits
        self._given: Event | None = None  # the taker waits
        self._pieces: list[bytes] = []
        self._size = 0
        self.closed = False

    async def give(self, piece: bytes) -> None:
        """Hand over a piece once there is room for it; drop it if the handover is closed."""
        while not self.closed and (
            self._size >= MAX_HELD_BYTES or len(self._pieces) >= MAX_HELD_PIECES
        ):
            self._taken = self._new_taken()
            await self._taken.wait()
        if not self.closed:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._given is not None:
                self._given.set()

    async def take(self) -> bytes | None:
        """All waiting pieces, or None if none is left and the handover is closed."""
        while not self._pieces and not self.closed:
            self._given = self._new_given()
            await self._given.wait()
        if not self._pieces:
            return None
        taken, self._pieces, self._size = self.held, [], 0
        if self._taken is not None:
            self._taken.set()
        return taken

    @property
    def held(self) -> bytes:
        """The bytes that have been given and not taken yet."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def close(self) -> None:
        """No more chunks will be given, or none taken."""
        self.closed = True
        for event in (self._taken, self._given):
            if event is not None:
                event.set()
