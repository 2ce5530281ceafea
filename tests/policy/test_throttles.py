"""Limits and the throttling of failures, in one gate. Budgets of several are in test_shared_state."""

from __future__ import annotations

import pytest

from gatehouse.identity.rate import parse_rate
from gatehouse.policy.throttles import MOST_ADDRESSES, FailureThrottle, Limits

RATE = parse_rate("60/min, burst 3")


async def let_in(limits: Limits, key: str, tries: int = 10) -> int:
    return [await limits.retry_after(key, RATE) for _ in range(tries)].count(None)


async def test_each_key_has_a_budget_of_its_own_and_is_told_how_long_to_wait() -> None:
    limits = Limits()
    assert await let_in(limits, "alice") == 3
    assert await limits.retry_after("alice", RATE) == pytest.approx(1, abs=0.1)
    assert await let_in(limits, "bob") == 3


async def test_who_waits_as_told_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("throttled.utils.now_mono_f", lambda: now)
    limits = Limits()
    assert await let_in(limits, "alice") == 3
    wait = await limits.retry_after("alice", RATE)
    assert wait == pytest.approx(1)
    now += wait or 0
    assert await let_in(limits, "alice") == 1
    now += 3600
    assert await let_in(limits, "alice") == 3


async def test_the_table_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatehouse.policy.throttles.MOST_KEYS", 10)
    limits = Limits()
    assert await let_in(limits, "alice") == 3
    for number in range(10):
        assert await limits.retry_after(f"key {number}", RATE) is None
    assert await let_in(limits, "alice") == 3


def test_failures_from_one_address_are_throttled_after_the_burst_and_others_are_not() -> None:
    throttle = FailureThrottle(parse_rate("10/min, burst 5"))
    waits = [throttle.retry_after("192.0.2.1") for _ in range(100)]
    assert waits[:5] == [None] * 5
    assert all(wait is not None and 0 < wait <= 6 for wait in waits[5:])
    assert throttle.retry_after("192.0.2.2") is None


def test_throttled_failures_do_not_prolong_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("throttled.utils.now_mono_f", lambda: now)
    throttle = FailureThrottle(parse_rate("10/min, burst 1"))
    assert throttle.retry_after("192.0.2.1") is None
    for _ in range(100):
        assert throttle.retry_after("192.0.2.1") == pytest.approx(6)
    now += 6.001
    assert throttle.retry_after("192.0.2.1") is None


def test_an_ipv6_client_counts_by_its_network_and_a_mapped_ipv4_one_as_ipv4() -> None:
    throttle = FailureThrottle(parse_rate("1/hour"))
    assert throttle.retry_after("2001:db8:1:2::1") is None
    assert throttle.retry_after("2001:db8:1:2:ffff::9") is not None
    assert throttle.retry_after("2001:db8:1:3::1") is None
    assert throttle.retry_after("192.0.2.1") is None
    assert throttle.retry_after("::ffff:192.0.2.1") is not None


def test_without_a_rate_no_failure_is_throttled() -> None:
    throttle = FailureThrottle(None)
    assert not any(throttle.retry_after("192.0.2.1") for _ in range(1000))


def test_the_table_of_addresses_is_bounded_and_forgets_the_longest_silent() -> None:
    throttle = FailureThrottle(parse_rate("1/hour"))
    assert throttle.retry_after("192.0.2.1") is None
    for number in range(MOST_ADDRESSES):
        address = f"10.0.{number // 256}.{number % 256}"
        assert throttle.retry_after(address) is None
    assert throttle.retry_after(address) is not None
    assert throttle.retry_after("192.0.2.1") is None
