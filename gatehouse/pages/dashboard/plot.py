"""The plots of the last hour: numbers for inline SVG, and the same in words and as a table for whoever does not see it.

Each minute is UNIT wide. A plot is stretched to the width of the page, so there is no text in it.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.pages.dashboard.rows import duration
from gatehouse.records.recent import MINUTES, durations_in, percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gatehouse.records.recent import Minute

UNIT = 10
"""The width of a minute."""

WIDTH, HEIGHT = MINUTES * UNIT, 100
"""The size of a plot, in its own units."""

GAP = 1.5
"""The room on either side of a bar."""

MIN_BAR = 2.0
"""The height of the lowest bar: a single call among thousands is seen, too."""


class Line(NamedTuple):
    """A minute with calls, for the table."""

    at: str
    """As in `2026-11-27T08:24:00Z`."""
    shown_at: str
    calls: int
    errors: int
    p50: str
    p95: str


class Plots(NamedTuple):
    """Both plots. The members that are paths are the attribute `d` of an SVG path; empty if there is nothing to draw."""

    calls: int
    """How many calls there were in the hour."""
    errors: int
    p50: str
    """Of the whole hour; empty without calls."""
    p95: str
    most: int
    """The most calls of a minute: the height of the first plot."""
    bars: str
    """The path of the calls that ended well, or at least not badly."""
    error_bars: str
    """The path of the others, which stand below them."""
    fast: str
    slow: str
    """The height and the foot of the second plot, whose scale is logarithmic."""
    p50_line: str
    p95_line: str
    table: list[Line]


def plots_of(minutes: Sequence[Minute]) -> Plots:
    """The plots of these minutes, the oldest first."""
    calls, errors = (sum(getattr(each, name) for each in minutes) for name in ("calls", "errors"))
    total = durations_in(minutes)
    most = max((each.calls for each in minutes), default=0)
    p50s, p95s = [each.p50 for each in minutes], [each.p95 for each in minutes]
    scale = scale_for(value for value in (*p50s, *p95s) if value is not None)
    return Plots(
        calls=calls,
        errors=errors,
        p50=_shown(percentile(total, 0.50)),
        p95=_shown(percentile(total, 0.95)),
        most=most,
        bars=bars([(each.errors, each.calls) for each in minutes], most),
        error_bars=bars([(0, each.errors) for each in minutes], most),
        fast=duration(scale[0]) if scale else "",
        slow=duration(scale[1]) if scale else "",
        p50_line=steps(p50s, scale),
        p95_line=steps(p95s, scale),
        table=[
            _line(minute, p50, p95)
            for minute, p50, p95 in zip(minutes, p50s, p95s, strict=True)
            if minute.calls
        ],
    )


def bars(parts: Sequence[tuple[int, int]], most: int) -> str:
    """The path of a bar for each minute, from a number of calls to a higher one."""
    drawn = []
    for place, (low, high) in enumerate(parts):
        if high > low:
            foot = _height(low, most)
            top = max(_height(high, most), foot + MIN_BAR)
            left, wide, tall = place * UNIT + GAP, UNIT - 2 * GAP, top - foot
            drawn.append(f"M{left:g} {HEIGHT - foot:.1f}v{-tall:.1f}h{wide:g}v{tall:.1f}z")
    return "".join(drawn)


def steps(values: Sequence[float | None], scale: tuple[float, float] | None) -> str:
    """The path of a line with a step for each minute, and a gap where there is no value."""
    drawn, before = [], False
    for place, value in enumerate(values):
        if value is not None and scale is not None:
            height = f"{HEIGHT * (1 - part_of(value, scale)):.1f}"
            drawn.append(f"V{height}" if before else f"M{place * UNIT} {height}")
            drawn.append(f"H{(place + 1) * UNIT}")
        before = value is not None
    return "".join(drawn)


def scale_for(values: Iterable[float]) -> tuple[float, float] | None:
    """Powers of ten around all values, in seconds; None without values."""
    known = tuple(values)
    if not known:
        return None
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def part_of(value: float, scale: tuple[float, float]) -> float:
    """The place of a value on a logarithmic scale, from 0 to 1."""
    low, high = map(math.log10, scale)
    return min(1.0, max(0.0, (math.log10(value) - low) / (high - low)))


def _height(count: int, most: int) -> float:
    return HEIGHT * count / most


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _line(minute: Minute, p50: float | None, p95: float | None) -> Line:
    there = time.gmtime(minute.number * 60)
    at, shown = (time.strftime(form, there) for form in ("%Y-%m-%dT%H:%M:%SZ", "%H:%M UTC"))
    return Line(at, shown, minute.calls, minute.errors, _shown(p50), _shown(p95))
