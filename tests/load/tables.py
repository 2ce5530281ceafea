"""Interleaved rounds of measurements, and the tables they end in."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.load.processes import NotThereError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.load.processes import Server


class Goal(NamedTuple):
    """The aim for a figure: at most `limit`, or with `at_least` no less than it."""

    limit: float
    unit: str = ""
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    def verdict(self, value: float) -> str:
        reached = value >= self.limit if self.at_least else value <= self.limit
        return "met" if reached else "**not met**"


class Row(NamedTuple):
    """A line of a table: what was measured, the figure in words, and the number that the goal is about."""

    what: str
    figure: str
    value: float = 0.0
    goal: Goal | None = None
    ratio: str = ""

    def cells(self) -> list[str]:
        judged = [str(self.goal), self.goal.verdict(self.value)] if self.goal else ["", ""]
        return [self.what, self.figure, *([self.ratio] if self.ratio else []), *judged]


@dataclass(frozen=True)
class Case:
    """Something to compare: a server or how to start it, and how to measure it once.

    The goal is for the ratio.
    """

    what: str
    server: Server | Callable[[], Server]
    measure: Callable[[Server], float]
    goal: Goal | None = None


def compare(cases: Sequence[Case], rounds: int, unit: str) -> str:
    """Measure all cases in turn, again and again; the table of medians, with ratios to the first's.

    A round before the others warms up, and does not count. A case that is not there says so in its row.
    """
    measured = [Measured(case) for case in cases]
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}")
        for each in measured:
            each.measure(counts=number > 0)
    base = measured[0]
    rows = [each.row(base.values) for each in measured]
    return table(["what", unit, f"x {base.case.what}"], rows)


class Measured:
    """A case, and what was measured of it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.values: list[float] = []
        self._missing = ""
        say(f"starting {case.what}")
        try:
            self._server = case.server() if callable(case.server) else case.server
        except NotThereError as error:
            self._missing = str(error)

    def measure(self, *, counts: bool) -> None:
        if not self._missing:
            value = self.case.measure(self._server)
            if counts:
                self.values.append(value)

    def row(self, base: list[float]) -> Row:
        """The row of the table, with the ratio to `base`, if there are both."""
        figure = self._missing or spread(self.values)
        if self._missing or not base:
            return Row(self.case.what, figure, ratio="-")
        ratio = statistics.median(self.values) / statistics.median(base)
        return Row(self.case.what, figure, ratio, self.case.goal, f"{ratio:.2f}")


def spread(values: list[float], digits: int = 3) -> str:
    """The median, and the range of the values."""
    median, least, most = (
        f"{number:.{digits}f}" for number in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({least}-{most})"


def table(columns: list[str], rows: Iterable[Row]) -> str:
    """A table in Markdown; the columns of the goals are added."""
    columns = [*columns, "goal", ""]
    lines = [columns, ["---"] * len(columns), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def say(text: str) -> None:
    """Tell how far it is; this is no part of the tables."""
    print(text, file=sys.stderr, flush=True)
