"""Budgets in one gate. Those of several are in test_shared_state."""

from __future__ import annotations

import pytest

from gatehouse.identity.rate import parse_rate
from gatehouse.policy.budgets import Budgets

RATE = parse_rate("60/min, burst 3")


async def let_in(budgets: Budgets, key: str, tries: int = 10) -> int:
    return [await budgets.retry_after(key, RATE) for _ in range(tries)].count(None)


async def test_each_key_has_a_budget_of_its_own_and_is_told_how_long_to_wait() -> None:
    budgets = Budgets()
    assert await let_in(budgets, "alice") == 3
    assert await budgets.retry_after("alice", RATE) == pytest.approx(1, abs=0.1)
    assert await let_in(budgets, "bob") == 3


async def test_who_waits_as_told_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("throttled.utils.now_mono_f", lambda: now)
    budgets = Budgets()
    assert await let_in(budgets, "alice") == 3
    wait = await budgets.retry_after("alice", RATE)
    assert wait == pytest.approx(1)
    now += wait or 0
    assert await let_in(budgets, "alice") == 1
    now += 3600
    assert await let_in(budgets, "alice") == 3


async def test_the_table_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatehouse.policy.budgets.MAX_KEYS", 10)
    budgets = Budgets()
    assert await let_in(budgets, "alice") == 3
    for number in range(10):
        assert await budgets.retry_after(f"key {number}", RATE) is None
    assert await let_in(budgets, "alice") == 3
