"""Turns on the loop."""

from __future__ import annotations

import itertools
import time
from functools import partial

import trio
import trio.testing

from gatehouse.scheduling.turns import SLICE_SECONDS, Crowd


async def test_of_a_crowd_that_is_woken_at_once_one_goes_on_in_each_pass(
    autojump_clock: trio.testing.MockClock,
) -> None:
    crowd = Crowd()
    order: list[int] = []
    passes: list[int] = []

    async def work(number: int, awake: trio.Event, *, newcomer: bool) -> None:
        await awake.wait()
        await crowd.turn(newcomer=newcomer)
        order.append(number)
        time.sleep(2 * SLICE_SECONDS)  # noqa: ASYNC251 - as work does

    trio.lowlevel.add_instrument(crowd)
    async with trio.open_nursery() as nursery:
        all_at_once, now = trio.Event(), trio.Event()
        for number in range(50):
            nursery.start_soon(partial(work, number, all_at_once, newcomer=number % 2 == 0))
        nursery.start_soon(partial(work, 50, now, newcomer=True))
        await trio.testing.wait_all_tasks_blocked()
        all_at_once.set()
        while len(order) < 51:
            passes.append(len(order))
            await trio.lowlevel.checkpoint()
            if len(order) >= 10:
                now.set()
    steps = [after - before for before, after in itertools.pairwise(passes)]
    assert max(steps) <= 2
    assert sorted(order) == list(range(51))
    assert order.index(50) < 16
