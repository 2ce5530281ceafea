"""Threads for all, of which one name holds no more than its share."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing

from gatehouse.scheduling.fair_threads import FairThreads


async def test_a_name_holds_two_threads_and_callers_that_leave_free_none_early() -> None:
    threads, held = FairThreads(), trio.Event()

    def hang() -> None:
        trio.from_thread.run(held.wait)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(threads.run, "alice", 60, hang)
        await trio.testing.wait_all_tasks_blocked()
        assert threads.threads.borrowed_tokens == 2
        assert await threads.run("bob", 60, lambda: 1) == 1
        with trio.move_on_after(0):
            await threads.run("bob", 60, lambda: 1)
        assert list(threads.lines) == ["alice"]
        with pytest.raises(trio.TooSlowError):
            await threads.run("carol", 0.01, hang)
        assert threads.threads.borrowed_tokens == 3, "a thread that is left behind"
        held.set()
    while threads.lines:
        await trio.sleep(0.01)
    assert threads.threads.borrowed_tokens == 0
