"""Lines within a budget: so many of a kind a minute, and then how many more there were."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gatehouse.records.log_budget import MAX_LINES, WINDOW_SECONDS, LogBudget

if TYPE_CHECKING:
    import pytest


def test_what_is_beyond_the_budget_is_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    budget = LogBudget(logging.getLogger("gate.test"), clock=lambda: now)
    for number in range(MAX_LINES + 5):
        budget.warning("malformed", "no. %d", number)
    budget.error("full", "another kind", lines=1)
    budget.tell()
    assert [record.getMessage() for record in caplog.records] == [
        *(f"no. {number}" for number in range(MAX_LINES)),
        "another kind",
    ]
    caplog.clear()
    now = WINDOW_SECONDS
    budget.tell()
    budget.tell()
    assert [record.getMessage() for record in caplog.records] == ["malformed: and 5 more"]
    caplog.clear()
    budget.warning("malformed", "again")
    budget.warning("malformed", "again", lines=1)
    budget.tell(at_once=True)
    assert [record.getMessage() for record in caplog.records] == ["again", "malformed: and 1 more"]
