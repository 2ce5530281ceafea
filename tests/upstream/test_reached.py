"""Since when a server can be reached, or cannot."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.upstream.reached import Reached

if TYPE_CHECKING:
    from collections.abc import Sequence


@given(st.lists(st.booleans()))
def test_the_time_is_that_of_the_first_attempt_since_the_outcome_changed(
    outcomes: Sequence[bool],
) -> None:
    times = count(1)
    moments: list[float] = []

    def clock() -> float:
        return moments[-1]

    reached = Reached(clock)
    changed, before = None, False
    for succeeded in outcomes:
        moments.append(float(next(times)))
        reached.note(succeeded=succeeded)
        if succeeded != before:
            changed, before = moments[-1], succeeded
        assert (reached.now, reached.since) == (before, changed)
        assert reached.ever == (True in outcomes[: len(moments)])
