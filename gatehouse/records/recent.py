"""The last requests, and counts of the last hour, for the dashboard: an observer that never takes more room.

Everybody pays for it with each request, so it only keeps here; whoever reads works the rest out.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.records.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_REQUESTS = 200
"""How many requests are kept: a person looks through as many, and a page of them is sent at once."""

MAX_TEXT = 200
"""How many characters of each text of a client's are kept: with MAX_REQUESTS it bounds the memory. A path may have 8,192,
and is mostly /mcp."""

MINUTES = 60
"""How far back the counts go: the minute under way, and those before it."""

MAX_REASONS = 100
"""How many reasons are counted apart in a minute. There are some fifty, all ours: the bound is for those to come."""

OTHER = "other"

QUIET = frozenset({"health", "ready", "metrics", "dashboard", "dashboard-now"})
"""Routes of probes and of the dashboard: not told unless they are refused, or they would push out all others."""

ENDPOINT = "mcp"

LISTENING = "subscriptions/listen"
"""A call that is over when somebody ends it: its time says nothing of the server."""

STEPS_PER_DOUBLING = 4

BOUNDS = tuple(0.000_25 * 2 ** (step / STEPS_PER_DOUBLING) for step in range(93))
"""Upper bounds of the buckets of durations, in seconds: from a quarter of a millisecond to half an hour. Each is a fifth
larger than the one before, and so much a percentile may be off. Above the last there is one bucket more."""


_FOREIGN = tuple(map(Record._fields.index, ("path", "rpc_method", "tool")))
"""The places of the texts that a client chooses and nobody else bounds: names and methods are short, ids have 128
characters at most."""


class Seen(NamedTuple):
    """A request as it is kept."""

    number: int
    """1 for the first of this run, one more for each that follows."""
    time: float
    """The Unix time of its end."""
    record: Record
    """With texts of MAX_TEXT characters at most, and not redacted."""


class Minute:
    """The counts of one minute. `number` is that of the minute in Unix time."""

    __slots__ = ("calls", "durations", "errors", "number", "reasons")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        """POST requests to the endpoint that were let in."""
        self.errors = 0
        """Those of them that did not end well."""
        self.durations = array("L", [0]) * (len(BOUNDS) + 1)
        """How many of them ended within each bucket."""
        self.reasons: dict[str, int] = {}
        """How many requests of any kind were refused, or failed, for each reason."""

    @property
    def p50(self) -> float | None:
        """The duration, in seconds, that half of the calls did not exceed; None without calls."""
        return percentile(self.durations, 0.50) if self.calls else None

    @property
    def p95(self) -> float | None:
        """The same for nineteen of twenty calls."""
        return percentile(self.durations, 0.95) if self.calls else None


class Recent:
    """An observer. `clock` tells the Unix time; if somebody sets it back, the counts of later minutes are dropped."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.run = f"{clock():.6f}"
        """A word that another run of the program does not have: its requests have the same numbers."""
        self.last = 0
        """The number of the last request; 0 if there was none."""
        self._requests: deque[tuple[float, Record]] = deque(maxlen=MAX_REQUESTS)
        self._minute = Minute(int(clock() // 60))
        self._minutes = deque([self._minute], maxlen=MINUTES)

    def __call__(self, record: Record) -> None:
        reason = record.reason
        if record.route in QUIET and not reason:
            return
        now = self._clock()
        self.last += 1
        if len(record.path) + len(record.tool) + len(record.rpc_method) > MAX_TEXT:
            record = _cut(record)
        self._requests.append((now, record))
        minute = self._minute
        if minute.number != now // 60:
            minute = self._turn_to(int(now // 60))
        if reason:
            known = reason in minute.reasons or len(minute.reasons) < MAX_REASONS
            reason = reason if known else OTHER
            minute.reasons[reason] = minute.reasons.get(reason, 0) + 1
        if record.method == "POST" and record.route == ENDPOINT and record.outcome != "refused":
            minute.calls += 1
            if record.outcome != "done" or record.result == "error":
                minute.errors += ended_badly(record)
            if record.rpc_method != LISTENING:
                minute.durations[bisect_left(BOUNDS, record.seconds)] += 1

    def after(self, number: int) -> list[Seen]:
        """The requests that are kept and have a higher number, the oldest first."""
        first = self.last - len(self._requests) + 1
        kept = enumerate(tuple(self._requests), first)
        return [Seen(each, *what) for each, what in kept if each > number]

    def minutes(self) -> list[Minute]:
        """The last MINUTES minutes, the oldest first, without gaps; the last one is under way."""
        this = int(self._clock() // 60)
        known = {minute.number: minute for minute in tuple(self._minutes)}
        numbers = range(this - MINUTES + 1, this + 1)
        return [known.get(number) or Minute(number) for number in numbers]

    def _turn_to(self, number: int) -> Minute:
        while self._minutes and self._minutes[-1].number >= number:
            self._minutes.pop()
        self._minute = Minute(number)
        self._minutes.append(self._minute)
        return self._minute


def ended_badly(record: Record) -> bool:
    """True if a call that was let in has failed, and not because its client or its credential was gone."""
    return record.outcome not in {"done", "client left", "revoked"} or record.is_failed_call


def reasons_in(minutes: Iterable[Minute]) -> Counter[str]:
    """How many requests were refused, or failed, for each reason."""
    total: Counter[str] = Counter()
    for minute in minutes:
        total.update(minute.reasons)
    return total


def durations_in(minutes: Iterable[Minute]) -> list[int]:
    """How many calls ended within each bucket."""
    return [sum(counts) for counts in zip(*(each.durations for each in minutes), strict=True)]


def percentile(counts: Iterable[int], part: float) -> float | None:
    """The duration, in seconds, that this part of the calls did not exceed, right within its bucket; None without calls.

    `counts` are those of the buckets. In the last one, which has no end, the answer is its beginning.
    """
    counts = tuple(counts)
    rank = part * sum(counts)
    below, low = 0, 0.0
    for count, high in zip(counts, (*BOUNDS, BOUNDS[-1]), strict=True):
        if count and below + count >= rank:
            return low + (high - low) * (rank - below) / count
        below, low = below + count, high
    return None


def _cut(record: Record) -> Record:
    """The same with short texts. (`_replace` takes twice as long.)"""
    members: list[Any] = list(record)
    for at in _FOREIGN:
        members[at] = members[at][:MAX_TEXT]
    return Record._make(members)
