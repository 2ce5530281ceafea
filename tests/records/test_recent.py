"""The last requests, and the counts of the last hour: right, and never more than fit."""

from __future__ import annotations

import math
import sys
import time
import tracemalloc
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.records.recent import (
    BOUNDS,
    MAX_REASONS,
    MAX_REQUESTS,
    MAX_TEXT,
    MINUTES,
    OTHER,
    Recent,
    durations_in,
    percentile,
    reasons_in,
)
from gatehouse.records.record import Record
from tests.harness.records import ANSWERED, LEFT, REFUSED

PROBE = ANSWERED._replace(method="GET", path="/ready", route="ready", name="", rpc_method="")
SUBSCRIPTION = ANSWERED._replace(rpc_method="subscriptions/listen", tool="", seconds=1200.0)
FAILED = ANSWERED._replace(status=502, outcome="upstream failed", reason="upstream-down")


class Clock:
    """A clock that is set by hand."""

    def __init__(self, time: float = 1_000_000_000.0) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


@given(st.integers(0, 3 * MAX_REQUESTS), st.integers(-1, 3 * MAX_REQUESTS + 1))
def test_the_ring_has_the_last_requests_by_number(told: int, known: int) -> None:
    recent = Recent(Clock())
    for number in range(1, told + 1):
        recent(ANSWERED._replace(bytes_in=number))
    kept = range(max(1, told - MAX_REQUESTS + 1), told + 1)
    seen = recent.after(known)
    assert [each.number for each in seen] == [number for number in kept if number > known]
    assert all(each.record.bytes_in == each.number for each in seen)
    assert recent.last == told


def test_long_texts_take_no_more_memory_than_the_bound() -> None:
    tracemalloc.start()
    recent = Recent()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(5 * MAX_REQUESTS):
        recent(
            ANSWERED._replace(
                path=f"/mcp/{number}" + "a" * 2048,
                tool=f"{number}" + "\N{GRINNING FACE}" * 2048,
                rpc_method=f"{number}" + "\N{GRINNING FACE}" * 2048,
            )
        )
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < MAX_REQUESTS * (3 * (4 * MAX_TEXT + 100) + 500)  # characters of 4 bytes each
    assert all(len(each.record.path) == MAX_TEXT for each in recent.after(0))


def test_invented_reasons_take_no_room() -> None:
    recent = Recent(Clock())
    for number in range(1000):
        recent(REFUSED._replace(reason=f"reason-{number}"))
    told = reasons_in(recent.minutes())
    assert len(told) == MAX_REASONS + 1
    assert told[OTHER] == 1000 - MAX_REASONS


durations = st.floats(0, 4000) | st.sampled_from(BOUNDS)


@given(st.lists(durations, min_size=1), st.sampled_from([0.5, 0.95]))
def test_percentiles_are_right_within_their_bucket(seconds: list[float], part: float) -> None:
    recent = Recent(Clock())
    for each in seconds:
        recent(ANSWERED._replace(seconds=each))
    exact = sorted(seconds)[math.ceil(part * len(seconds)) - 1]
    told = percentile(durations_in(recent.minutes()), part)
    assert told is not None
    bucket = bisect_left(BOUNDS, exact)
    if bucket == len(BOUNDS):
        assert told == BOUNDS[-1]
    else:
        low = BOUNDS[bucket - 1] if bucket else 0.0
        assert low < told <= BOUNDS[bucket] * (1 + 1e-9)
    this = recent.minutes()[-1]
    assert (this.p50 if part == 0.5 else this.p95) == told


def test_without_calls_there_is_no_percentile() -> None:
    recent = Recent(Clock())
    recent(REFUSED)
    assert recent.minutes()[-1].p50 is None
    assert percentile([0] * (len(BOUNDS) + 1), 0.95) is None


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2000), st.sampled_from([ANSWERED, LEFT, REFUSED, PROBE, SUBSCRIPTION])
        )
    )
)
def test_each_minute_of_the_last_hour_has_its_own(told: list[tuple[float, Record]]) -> None:
    clock = Clock()
    recent = Recent(clock)
    ends = []
    for pause, record in told:
        clock.time += pause
        recent(record)
        ends.append((int(clock.time // 60), record))
    minutes = recent.minutes()
    this = int(clock.time // 60)
    assert [minute.number for minute in minutes] == list(range(this - MINUTES + 1, this + 1))
    calls = Counter(end for end, record in ends if record.method == "POST" and record != REFUSED)
    timed = Counter(end for end, record in ends if record in {ANSWERED, LEFT})
    refused = Counter(end for end, record in ends if record == REFUSED)
    for minute in minutes:
        assert minute.calls == calls[minute.number]
        assert sum(minute.durations) == timed[minute.number]
        assert minute.reasons.get("token", 0) == refused[minute.number]


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (ANSWERED, (1, 0)),
        (ANSWERED._replace(path="/mcp/"), (1, 0)),
        (ANSWERED._replace(result="error"), (1, 1)),
        (ANSWERED._replace(outcome="cut"), (1, 1)),
        (FAILED, (1, 1)),
        (LEFT, (1, 0)),
        (ANSWERED._replace(outcome="revoked"), (1, 0)),
        (ANSWERED._replace(outcome="refused", reason="grants"), (0, 0)),
        (REFUSED, (0, 0)),
        (ANSWERED._replace(method="GET"), (0, 0)),
        (ANSWERED._replace(method="DELETE"), (0, 0)),
        (ANSWERED._replace(route="other", path="/webhook"), (0, 0)),
    ],
)
def test_a_call_is_a_post_to_the_endpoint_that_was_let_in(
    record: Record, counts: tuple[int, int]
) -> None:
    recent = Recent(Clock())
    recent(record)
    this = recent.minutes()[-1]
    assert (this.calls, this.errors) == counts
    assert [each.record for each in recent.after(0)] == [record]
    assert reasons_in(recent.minutes()) == ({record.reason: 1} if record.reason else {})


@pytest.mark.parametrize("route", ["health", "ready", "metrics", "dashboard", "dashboard-now"])
def test_probes_and_the_dashboard_are_told_only_if_they_are_refused(route: str) -> None:
    recent = Recent(Clock())
    recent(PROBE._replace(route=route))
    assert recent.after(0) == []
    recent(PROBE._replace(route=route, status=403, outcome="refused", reason="origin"))
    assert [each.record.reason for each in recent.after(0)] == ["origin"]


def test_a_clock_that_is_set_back_makes_no_minute_count_twice() -> None:
    clock = Clock()
    recent = Recent(clock)
    for change in (0, 3600, -3600, -7200, 60):
        clock.time += change
        recent(ANSWERED)
        minutes = recent.minutes()
        assert minutes[-1].calls == 1
        assert len({minute.number for minute in minutes}) == MINUTES
    assert sum(minute.calls for minute in recent.minutes()) == 2
    assert len(recent.after(0)) == 5


def test_another_run_has_another_word() -> None:
    clock = Clock()
    first = Recent(clock)
    clock.time += 1
    assert Recent(clock).run != first.run


def test_a_request_costs_little() -> None:
    recent = Recent()
    count = 20_000
    spent = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(count):
            recent(ANSWERED)
        spent.append((time.process_time() - began) / count)
    is_watched = sys.gettrace() is not None  # by coverage, which makes it several times as dear
    assert min(spent) < (50e-6 if is_watched else 10e-6)  # 2 to 2.6 µs on a busy machine
