"""Answers that are remembered for a while, by the digest of what was asked about."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Remembered(Generic[T]):
    """At most `size` answers, by digest. The oldest goes first, and one whose time is over only then."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[bytes, tuple[float, T]] = {}

    def get(self, digest: bytes) -> T | None:
        """The answer, if it still counts."""
        return self._held[digest][1] if self.seconds_left(digest) > 0 else None

    def seconds_left(self, digest: bytes) -> float:
        """For how long the answer still counts."""
        until, _ = self._held.get(digest, (-math.inf, None))
        return until - trio.current_time()

    def knew(self, digest: bytes) -> bool:
        """True if there is such an answer, though it may no longer count."""
        return digest in self._held

    def forget(self, digest: bytes) -> None:
        """From now on, there is no such answer."""
        self._held.pop(digest, None)

    def put(self, digest: bytes, answer: T, seconds: float) -> None:
        """Remember the answer for so many seconds."""
        self.forget(digest)
        while len(self._held) >= self._size:
            del self._held[next(iter(self._held))]
        self._held[digest] = (trio.current_time() + seconds, answer)
