"""Requests that wait for the hosted server."""

from __future__ import annotations

import trio
import trio.testing

from gatehouse.downstream.hosted_start import HostedStart
from gatehouse.http import refusals
from gatehouse.http.reply import Reply


async def test_once_the_program_ends_nobody_waits_for_the_server_any_longer() -> None:
    start = HostedStart(trio.Event(), seconds=60, max_requests=2)
    replies: list[Reply | None] = []

    async def wait() -> None:
        replies.append(await start.refusal())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            start.give_up()
        await wait()  # it comes later
    assert replies == [refusals.DRAINING, refusals.DRAINING]
    assert start.waiting == 0
