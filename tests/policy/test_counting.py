"""Counting: no more are let in than a rate allows, whatever the pauses."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.identity.rate import Rate, parse_rate
from gatehouse.policy.counting import MIN_WAIT_SECONDS, counts_in_memory
from tests.harness.program import ROOT


@given(
    st.builds(Rate, st.integers(1, 50), st.sampled_from([1, 60]), st.integers(1, 20)),
    st.lists(st.floats(0, 100), max_size=60),
)
def test_no_more_are_let_in_than_the_rate_and_its_burst_allow(
    rate: Rate, pauses: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        now = 1000.0
        patch.setattr("throttled.utils.now_mono_f", lambda: now)
        counts = counts_in_memory(10)
        let_in = 0
        for pause in pauses:
            now += pause
            wait = counts.take("alice", rate)
            let_in += wait is None
            assert let_in <= rate.burst + (now - 1000) / rate.interval + 1e-6
            if wait is not None:
                assert 0 < wait <= rate.interval + MIN_WAIT_SECONDS
                now += wait + 1e-6
                assert counts.take("alice", rate) is None  # who waits as told is let in
                let_in += 1


def test_a_key_whose_rate_changes_begins_anew_with_the_new_one() -> None:
    counts = counts_in_memory(10)
    slow, fast = parse_rate("1/hour"), parse_rate("60/min, burst 2")
    assert counts.take("alice", slow) is None
    assert counts.take("alice", slow) == pytest.approx(3600, abs=1)
    assert [counts.take("alice", fast) for _ in range(2)] == [None, None]
    assert counts.take("alice", fast) == pytest.approx(1, abs=0.1)
    assert counts.take("alice", slow) == pytest.approx(3600, abs=1)


def test_nobody_loads_throttled_or_redis_before_something_is_counted() -> None:
    program = """
import sys
from gatehouse.policy.budgets import Budgets
from gatehouse.policy.failures import Failures
from gatehouse.identity.rate import parse_rate
from gatehouse.policy.sessions import Sessions
Budgets(), Sessions(), Failures(parse_rate("60/min"))
assert not {"throttled", "redis"} & sys.modules.keys()
Failures(parse_rate("60/min")).retry_after("192.0.2.1")
assert "throttled" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
