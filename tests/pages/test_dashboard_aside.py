"""Long work of pages is done beside the loop, one piece at a time, and scripts that want all pages get a share."""

from __future__ import annotations

import time

import pytest
import trio

from gatehouse.pages.dashboard.aside import REST_TIMES, Aside


async def test_after_each_page_the_thread_rests_for_longer_than_it_has_worked() -> None:
    aside = Aside()
    began = time.monotonic()
    for _ in range(3):
        await aside.run(time.sleep, 0.01)
    assert time.monotonic() - began >= 0.03 + 2 * REST_TIMES * 0.01


async def test_an_error_beside_the_loop_comes_to_whoever_asked_and_the_next_one_is_served() -> None:
    aside = Aside()
    with pytest.raises(ValueError, match="no"):
        await aside.run(int, "no")
    with trio.move_on_after(0.01):
        await aside.run(time.sleep, 0.05)
    assert await aside.run(int, "7") == 7
