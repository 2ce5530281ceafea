"""A tokens file that changes while it is looked at: which tokens are in force meanwhile, and when it is whole.

Nobody can tell a whole file from half of one by looking once, and half of a file may mean more than the whole:
a token whose list of tools is still to come. So there are two ways for a text into force. It has stood still for
CALM_SECONDS: then all of it is. Or the file finds no rest for UNREST_SECONDS: then each value becomes what all
texts of that time say, and is as it was if some of them say so. In all other cases it lets nobody in:
whatever is written, a value that no text knows any more is gone in time.

A save in small pieces is unrest, too, but of one kind: each text goes on where the one before ended, and some of
them cannot be used. Those are pieces, and say nothing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gatehouse.tokens.reader import Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Parts = dict[tuple[str, bytes], Token]
"""Tokens taken apart: by name and digest, a token with that one value, and nothing that does not matter in force."""

CALM_SECONDS = 0.45
"""A text that has stood still for so long is whole. Somebody who writes more slowly replaces the file at once."""

UNREST_SECONDS = 2.0
"""A file may change again and again for so long before what its texts agree on is in force."""

TRUSTED_TEXTS = 5
"""So many texts within UNREST_SECONDS, all of which can be used, may let somebody in, not only keep somebody out."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look has seen. `stamp` is the file's identity, size and dates; without `faults`, `tokens` are good."""

    data: bytes
    stamp: tuple[int, ...]
    tokens: tuple[Token, ...] = ()
    faults: tuple[str, ...] = ()
    parts: Parts | None = None
    """None if the text cannot be used."""


class Settling:
    """What has been seen lately, judged by the clock that is given with each sight."""

    def __init__(self) -> None:
        self.restless_since = math.inf
        self._whole = b""
        self._last: Sight | None = None
        self._last_at = 0.0
        self._torn_at = (
            -math.inf
        )  # when a text was seen that is only a piece, of those that continue each other
        self._unusable_at = -math.inf
        self._counted: deque[tuple[float, Parts]] = deque()

    def see(self, sight: Sight, now: float) -> bool:
        """Remember it; whether the file has stood still, so that it is whole."""
        last = self._last
        if last is None or (sight.data, sight.stamp) != (last.data, last.stamp):
            if last is not None:
                self._judge(last, sight, now)
            self._last, self._last_at = sight, now
            self.restless_since = min(self.restless_since, now)
            if sight.parts is None:
                self._unusable_at = now
            if sight.parts is None or self._whole.startswith(sight.data):
                self._torn_at = now
        if now - self._last_at < CALM_SECONDS:
            return False
        self.rest(sight)
        return True

    def rest(self, sight: Sight) -> None:
        """It is whole; what was seen on the way there says nothing any more."""
        self.restless_since = math.inf
        if sight.parts is not None:
            self._whole = sight.data
        self._torn_at = self._unusable_at = -math.inf
        self._counted.clear()

    def texts(self, now: float) -> tuple[list[Parts], bool]:
        """The texts that count of a file that finds no rest, and whether they may let anybody in."""
        if now - self.restless_since < UNREST_SECONDS:
            return [], False
        while self._counted and self._counted[0][0] < now - UNREST_SECONDS:
            self._counted.popleft()
        usable = self._unusable_at < now - UNREST_SECONDS
        texts = [parts for _, parts in self._counted]
        return texts, usable and len(texts) >= TRUSTED_TEXTS

    def _judge(self, last: Sight, sight: Sight, now: float) -> None:
        """Let the text before count, unless it was a piece of the one that is there now."""
        continued = len(sight.data) > len(last.data) and sight.data.startswith(last.data)
        in_pieces = continued and self._torn_at >= now - UNREST_SECONDS
        if last.parts is not None and not in_pieces:
            self._counted.append((now, last.parts))
        if not continued:
            self._torn_at = -math.inf


def taken_apart(tokens: Iterable[Token]) -> Parts:
    """The parts of tokens; notes and dates of making are left out."""
    return {
        (token.name, value.digest): replace(token, note="", values=(replace(value, created=None),))
        for token in tokens
        for value in token.values
    }


def put_together(parts: Mapping[tuple[str, bytes], Token]) -> tuple[Token, ...]:
    """The tokens of parts. Those of one name come from the same texts, so that all but their values is the same."""
    tokens: dict[str, Token] = {}
    for part in parts.values():
        known = tokens.get(part.name)
        tokens[part.name] = replace(known, values=(*known.values, *part.values)) if known else part
    return tuple(tokens.values())


def agreed(before: tuple[Token, ...], texts: list[Parts], trusted: bool) -> tuple[Token, ...]:
    """What is in force by all of `texts`: `before` itself if nothing changes.

    A value stays if some text has it as it is. It is new, or another, only if all have it so, and are `trusted`.
    """
    was = taken_apart(before)
    now: Parts = {}
    for key in dict.fromkeys([*was, *texts[-1]]):
        said = [text.get(key) for text in texts]
        first = said[0]
        if key in was and was[key] in said:
            now[key] = was[key]
        elif trusted and first is not None and all(part == first for part in said):
            now[key] = first
    return before if now == was else put_together(now)
