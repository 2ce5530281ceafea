"""What has to be true after every case: a good call, everything back at its level, no token in sight."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.harness.house import House, open_house
from tests.harness.program import TOKEN
from tests.harness.wire import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.harness.wire import Peer

SECONDS = 10.0
"""How long what is over may take to be gone."""


def levels() -> dict[str, int]:
    """Open file descriptors and living tasks of this process: gate, upstream and clients."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {"file descriptors": len(os.listdir("/dev/fd")), "tasks": tasks}  # noqa: PTH208


async def settled(house: House, level: dict[str, int] | None = None) -> dict[str, int]:
    """The levels once nothing is under way; not over `level`, if given, within SECONDS."""
    now = levels()
    with trio.move_on_after(SECONDS):
        while True:
            await house.gate.transports.aclose()
            await trio.sleep(0.005)
            before, now = now, levels()
            quiet = now == before and not house.config.connections and not house.config.turned_away
            if quiet and (level is None or all(now[what] <= level[what] for what in level)):
                return now
    raise AssertionError(f"left behind: {now}, before: {level}; {house.config.connections}")


@asynccontextmanager
async def steady(
    house: House, log: pytest.LogCaptureFixture, *, failures: int = 0
) -> AsyncIterator[None]:
    """Do something to a gate that must leave no trace, except so many failed connections."""
    log.set_level(logging.INFO)
    assert (await house.request(method=b"POST", body=b"{}"))[0].status == 200
    house.upstream.heads.clear()
    house.upstream.connections = 0
    before = await settled(house)
    yield
    house.upstream.script = answer()
    head, body = await house.request(method=b"POST", body=b"{}")
    assert (head.status, body) == (200, b"{}")
    await settled(house, before)
    assert house.config.failures == failures
    records = [*log.get_records("setup"), *log.get_records("call")]
    assert sum(record.levelno >= logging.ERROR for record in records) == failures
    formatter = logging.Formatter()
    assert not any(TOKEN in formatter.format(record) for record in records)


@asynccontextmanager
async def steady_house(
    log: pytest.LogCaptureFixture, *, failures: int = 0, **settings: Any
) -> AsyncIterator[House]:
    """A gate with these settings, and the same demands on it."""
    async with open_house(**settings) as house:
        async with steady(house, log, failures=failures):
            yield house


@asynccontextmanager
async def connected(house: House) -> AsyncIterator[Peer]:
    """A connection to the gate that is closed at the end of the block."""
    peer = await house.connect()
    try:
        yield peer
    finally:
        await trio.aclose_forcefully(peer.stream)


async def gone(peer: Peer) -> bool:
    """Wait for the end of the connection, whatever comes before it. True if it was a clean one."""
    try:
        while await peer.receive():
            pass
    except trio.BrokenResourceError:
        return False
    return True
