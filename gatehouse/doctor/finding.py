"""Findings: what a check has seen, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from gatehouse.doctor.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterable


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
