"""Threads of the gate's own."""

from __future__ import annotations

import threading

import trio

from gatehouse.scheduling.own_threads import OwnThreads


async def test_a_thread_that_hangs_holds_its_own_place_only_and_no_more_pile_up() -> None:
    over = threading.Event()
    disk, names = OwnThreads("a disk"), OwnThreads("names")
    before = threading.active_count()
    try:
        for _ in range(5):
            with trio.move_on_after(0.05):
                await disk.run(over.wait)
        assert disk.busy == 1
        assert threading.active_count() <= before + 1
        with trio.fail_after(1):
            assert await names.run(max, 1, 2) == 2
    finally:
        over.set()
    with trio.fail_after(1):
        assert await disk.run(max, 3, 2) == 3
