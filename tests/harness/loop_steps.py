"""How long the event loop's steps take: what runs between two checkpoints keeps all others waiting."""

from __future__ import annotations

import gc
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEDSTAT = Path("/proc/thread-self/schedstat")
BORDERS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.1)
"""Upper ends of the histogram's classes, in seconds; the last class has none."""


class LoopSteps(trio.abc.Instrument):
    """Keeps the longest step of each kind of task, and how many took how long.

    `cpu` is the time that this thread computed, which other processes do not disturb; `wall` has what
    blocked, too. A task's kind is its name: the function that was started.
    """

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}
        self.histogram: Counter[float] = Counter()
        self.total: dict[str, float] = {}
        """CPU seconds of all steps, by kind."""
        self._cpu_began, self._wall_began = time.thread_time(), time.perf_counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._cpu_began, self._wall_began = time.thread_time(), time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        cpu, wall = time.thread_time() - self._cpu_began, time.perf_counter() - self._wall_began
        name = task.name
        self.total[name] = self.total.get(name, 0.0) + cpu
        self.histogram[next((border for border in BORDERS if cpu <= border), float("inf"))] += 1
        if cpu > self.cpu.get(name, 0.0):
            self.cpu[name] = cpu
        if wall > self.wall.get(name, 0.0):
            self.wall[name] = wall

    def longest(self, part: str = "") -> float:
        """CPU seconds of the longest step of the tasks whose name has `part` in it."""
        return max((cpu for name, cpu in self.cpu.items() if part in name), default=0.0)

    def share(self, part: str) -> float:
        """CPU seconds of all steps of the tasks whose name has `part` in it."""
        return sum(cpu for name, cpu in self.total.items() if part in name)

    def __repr__(self) -> str:
        worst = sorted(self.cpu.items(), key=lambda pair: -pair[1])[:5]
        kinds = ", ".join(f"{name} {cpu * 1000:.1f} ms" for name, cpu in worst)
        classes = ", ".join(
            f"<= {key * 1000:g} ms: {self.histogram[key]}" for key in sorted(self.histogram)
        )
        return f"longest: {kinds}; steps: {classes}"


def own_time() -> float:
    """A clock that stands still while other programs keep this thread from running, where the system tells
    (Linux): to measure how long something takes, with a machine to oneself.
    """
    try:
        waited = int(SCHEDSTAT.read_bytes().split()[1]) / 1e9  # in a queue for a processor
    except (OSError, IndexError):
        waited = 0.0
    return time.perf_counter() - waited


@contextmanager
def loop_steps() -> Iterator[LoopSteps]:
    """Measure every step of this loop until the block ends. One step of Trio's is one of asyncio's passes, where
    trio-asyncio runs. The garbage collector passes over what the tests have made before.
    """
    steps = LoopSteps()
    gc.freeze()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
        gc.unfreeze()
