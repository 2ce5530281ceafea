"""The results of the load: how they are measured, the tables, and the picture."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.box import MARKDOWN
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass
class Kind:
    """All that was seen of one kind of request: how long good answers took, and which others came."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


class Step(NamedTuple):
    """The measurements while this many streams were held; NaN where none was possible."""

    streams: int
    rate: float
    median_ms: float
    cpu_ms: float
    mib: float


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that this share of them does not exceed; NaN if there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def kib_a_stream(first: Step, step: Step) -> float:
    """How much memory each stream has added since the first step."""
    more = step.streams - first.streams
    return (step.mib - first.mib) * 1024 / more if more else math.nan


def tables(
    kinds: Mapping[str, Kind], steps: Sequence[Step], calls: Sequence[str], seconds: float
) -> tuple[Table, Table]:
    """A line for each kind of request, and one for each step. Only calls were made all the time."""
    requests = Table("what", "count", "failed", "per s", box=MARKDOWN)
    for name in QUANTILES:
        requests.add_column(f"{name} ms")
    for name, kind in kinds.items():
        failed = kind.failures.total()
        count = len(kind.seconds) + failed
        rate = count / (seconds or math.nan) if name in calls else math.nan
        times = [1000 * quantile(kind.seconds, share) for share in QUANTILES.values()]
        requests.add_row(name, str(count), str(failed), *figures(rate, *times))
    costs = Table("streams held", "calls/s", "p50 ms", box=MARKDOWN)
    for name in ("CPU ms/call", "RSS MiB", "KiB/stream"):
        costs.add_column(name)
    for step in steps:
        costs.add_row(str(step.streams), *figures(*step[1:], kib_a_stream(steps[0], step)))
    return requests, costs


def figures(*numbers: float) -> list[str]:
    return ["-" if math.isnan(number) else f"{number:.2f}" for number in numbers]


def draw(path: Path, steps: Sequence[Step], how: str) -> None:
    """Draw what a call and a stream cost against the streams held; the latency if that is not known."""
    # A development dependency, and slow to import: only for those who want a picture.
    from matplotlib.figure import Figure

    curves = {
        "CPU of a call, ms\n(upkeep of the streams included)": [step.cpu_ms for step in steps],
        "memory of a stream, KiB\n(RSS beyond that of the first step)": [
            kib_a_stream(steps[0], step) for step in steps
        ],
    }
    if math.isnan(steps[0].mib):
        curves = {"latency of a call, p50, ms": [step.median_ms for step in steps]}
    streams = [step.streams for step in steps]
    picture = Figure(figsize=(9, 1 + 3.5 * len(curves)), layout="constrained")
    picture.suptitle(
        f"What open event streams cost\n{time.strftime('%Y-%m-%d')}, {how}", fontsize=11
    )
    panels = picture.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for panel, (label, values) in zip(panels, curves.items(), strict=True):
        panel.plot(streams, values, marker="o")
        for place in zip(streams, values, strict=True):
            if not math.isnan(place[1]):
                note = f"{place[1]:.3g}"
                panel.annotate(note, place, (3, 8), textcoords="offset points", ha="right")
        panel.set_ylim(0, 1.2 * max((value for value in values if value > 0), default=1.0))
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    # Logarithmic but for the way from 0 to the first streams, so that the steps lie apart.
    linear = min(filter(None, streams), default=1)
    panels[-1].set_xscale("symlog", linthresh=linear, linscale=0.5)
    panels[-1].set_xticks(streams, [f"{count:,}" for count in streams])
    panels[-1].set_xticks([], minor=True)
    panels[-1].margins(x=0.06)
    panels[-1].set_xlabel("event streams held")
    picture.savefig(path, dpi=120)
