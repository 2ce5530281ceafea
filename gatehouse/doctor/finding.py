"""Findings: what a check has seen, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from gatehouse.doctor.catalogue import CATALOGUE
from gatehouse.records.redact import MASK, Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SEEN_LENGTH = 1000
"""How many characters of a finding are shown: a server chooses some of them."""


class Level(IntEnum):
    """How bad a finding is."""

    OK = 0
    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        """The level as it is shown."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One thing that a check has seen. `word` stands for its kind in docs/doctor.md; "ok" is any good one."""

    word: str
    level: Level
    seen: str
    remedy: str = ""
    check: str = ""
    """The check that saw it."""


def fine(seen: str) -> Finding:
    """All is as it should be."""
    return Finding("ok", Level.OK, seen)


def found(word: str, seen: str) -> Finding:
    """A finding of a kind in the catalogue."""
    level, remedy = CATALOGUE[word]
    return Finding(word, Level[level.upper()], seen, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among findings."""
    return max((finding.level for finding in findings), default=Level.OK)


def cleaned(findings: Iterable[Finding], secrets: Sequence[str]) -> list[Finding]:
    """The findings as they may be shown: without these secrets, and short."""
    return [replace(each, seen=short(without(secrets, each.seen))) for each in findings]


def short(text: str) -> str:
    """The text, cut if it is long; no secret is in it any more, of which a half would be left."""
    left_out = len(text) - MAX_SEEN_LENGTH
    return f"{text[:MAX_SEEN_LENGTH]}... ({left_out} more characters)" if left_out > 0 else text


def without(secrets: Sequence[str], text: str) -> str:
    """The text without these, in whatever spelling."""
    text = Redactor(filter(None, secrets))(text)
    for secret in filter(None, secrets):  # one that is too short for the redactor
        text = text.replace(secret, MASK)
    return text
