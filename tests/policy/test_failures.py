"""Failures to authenticate: how they are counted, and whom that keeps waiting."""

from __future__ import annotations

import pytest

from gatehouse.identity.rate import parse_rate
from gatehouse.policy.failures import MAX_ADDRESSES, Failures


def test_failures_from_one_address_are_throttled_after_the_burst_and_others_are_not() -> None:
    failures = Failures(parse_rate("10/min, burst 5"))
    waits = [failures.retry_after("192.0.2.1") for _ in range(100)]
    assert waits[:5] == [None] * 5
    assert all(wait is not None and 0 < wait <= 6 for wait in waits[5:])
    assert failures.retry_after("192.0.2.2") is None


def test_throttled_failures_do_not_prolong_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("throttled.utils.now_mono_f", lambda: now)
    failures = Failures(parse_rate("10/min, burst 1"))
    assert failures.retry_after("192.0.2.1") is None
    for _ in range(100):
        assert failures.retry_after("192.0.2.1") == pytest.approx(6)
    now += 6.001
    assert failures.retry_after("192.0.2.1") is None


def test_an_ipv6_client_counts_by_its_network_and_a_mapped_ipv4_one_as_ipv4() -> None:
    failures = Failures(parse_rate("1/hour"))
    assert failures.retry_after("2001:db8:1:2::1") is None
    assert failures.retry_after("2001:db8:1:2:ffff::9") is not None
    assert failures.retry_after("2001:db8:1:3::1") is None
    assert failures.retry_after("192.0.2.1") is None
    assert failures.retry_after("::ffff:192.0.2.1") is not None


def test_without_a_rate_no_failure_is_throttled() -> None:
    failures = Failures(None)
    assert not any(failures.retry_after("192.0.2.1") for _ in range(1000))


def test_the_table_of_addresses_is_bounded_and_forgets_the_longest_silent() -> None:
    failures = Failures(parse_rate("1/hour"))
    assert failures.retry_after("192.0.2.1") is None
    for number in range(MAX_ADDRESSES):
        address = f"10.0.{number // 256}.{number % 256}"
        assert failures.retry_after(address) is None
    assert failures.retry_after(address) is not None
    assert failures.retry_after("192.0.2.1") is None
