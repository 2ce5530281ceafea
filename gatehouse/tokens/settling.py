"""Decides when a changing tokens file is whole, and which tokens are in force meanwhile.

One look cannot tell a whole file from half of one, and half of a file may grant more than the whole: the list of
a token's tools may be still to come. A text takes effect in two ways. If it stands still for CALM_SECONDS, all of
it is in force. If the file changes for UNREST_SECONDS, a value changes only if all texts of that time agree, and
stays as it was if some text has it so (`agreement.py`, for scopes and people, too). No other text lets anybody in,
and a value that is in no text any more ends in time.

A save in small pieces is unrest of a special kind: each text continues the one before, and some of them cannot
be used. Such texts are pieces, and do not count.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatehouse.tokens.contents import NOTHING

if TYPE_CHECKING:
    from gatehouse.tokens.agreement import Parts
    from gatehouse.tokens.contents import Contents

CALM_SECONDS = 0.45
"""How long a text must stand still to be whole. Programs that write more slowly replace the file at once."""

UNREST_SECONDS = 2.0
"""How long a file may keep changing before the values that its texts agree on are in force."""

MIN_TRUSTED_TEXTS = 5
"""Fewer texts within UNREST_SECONDS, or texts that cannot be used among them, only keep somebody out, and let
nobody in."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The result of one look. `stamp` is the file's identity, size and dates; without `faults`, `contents` are good."""

    data: bytes
    stamp: tuple[int, ...]
    contents: Contents = NOTHING
    faults: tuple[str, ...] = ()
    parts: Parts | None = None
    """None if the text cannot be used."""
    missing: bool = False
    """True if there is no file."""


class Settling:
    """The latest sights, judged by the time that is given with each."""

    def __init__(self) -> None:
        self.restless_since = math.inf
        self._whole = b""
        self._last: Sight | None = None
        self._last_at = 0.0
        self._text: Sight | None = None  # the last sight of a file that was not empty
        self._torn_at = -math.inf  # the last piece in a series of texts that continue each other
        self._unusable_at = -math.inf
        self._counted: deque[tuple[float, Sight]] = deque()

    def see(self, sight: Sight, now: float) -> bool:
        """Remember the sight; True if the file has stood still long enough to be whole."""
        last = self._last
        if last is None or (sight.data, sight.stamp) != (last.data, last.stamp):
            self._last, self._last_at = sight, now
            self.restless_since = min(self.restless_since, now)
            if sight.parts is None:
                self._unusable_at = now
            if sight.data:  # a file that is about to be written again is empty for a moment
                self._read(sight, now)
        if now - self._last_at < CALM_SECONDS:
            return False
        self.rest(sight)
        return True

    def rest(self, sight: Sight) -> None:
        """The file is whole; earlier sights no longer count."""
        self.restless_since = math.inf
        if sight.parts is not None:
            self._whole = sight.data
        self._torn_at = self._unusable_at = -math.inf
        self._counted.clear()

    def texts(self, now: float) -> tuple[list[Parts], bool]:
        """The texts that count while a file keeps changing, and True if they may let anybody in."""
        if now - self.restless_since < UNREST_SECONDS:
            return [], False
        while self._counted and self._counted[0][0] < now - UNREST_SECONDS:
            self._counted.popleft()
        usable = self._unusable_at < now - UNREST_SECONDS
        texts = [counted.parts for _, counted in self._counted if counted.parts is not None]
        return texts, usable and len(texts) >= MIN_TRUSTED_TEXTS

    def _read(self, sight: Sight, now: float) -> None:
        """Take the next text into account."""
        if self._text is not None:
            self._judge(self._text, sight, now)
        self._text = sight
        if sight.parts is None or self._whole.startswith(sight.data):
            self._torn_at = now
            self._take_back(sight)

    def _judge(self, last: Sight, sight: Sight, now: float) -> None:
        """Let the previous text count, unless it was a piece of the present one."""
        continued = len(sight.data) > len(last.data) and sight.data.startswith(last.data)
        in_pieces = continued and self._torn_at >= now - UNREST_SECONDS
        if last.parts is not None and not in_pieces:
            self._counted.append((now, last))
        if not continued:
            self._torn_at = -math.inf

    def _take_back(self, piece: Sight) -> None:
        """A text that this piece continues was a piece, too, though it could be used: a comment at the file's head, say."""
        counted = [
            (at, text)
            for at, text in self._counted
            if text.data == piece.data or not piece.data.startswith(text.data)
        ]
        self._counted = deque(counted)
