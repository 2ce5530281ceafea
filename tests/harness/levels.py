"""Checks after every case: a good call, everything back at its level, no token in sight."""

from __future__ import annotations

import gc
import logging
import os
import socket
from base64 import b64encode
from contextlib import asynccontextmanager, suppress
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from tests.harness.house import House, open_house
from tests.harness.program import TOKEN
from tests.harness.wire import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import pytest

    from tests.harness.wire import Peer

SECONDS = 10.0
"""The time in which all that has ended must be gone."""

SECRETS = [TOKEN, quote(TOKEN, safe=""), b64encode(TOKEN.encode()).decode()[:-4]]
"""TOKEN in three spellings."""


def levels() -> dict[str, int]:
    """Open file descriptors and living tasks of this process: gate, upstream and clients."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {"file descriptors": len(os.listdir("/dev/fd")), "tasks": tasks}  # noqa: PTH208


async def good_call(house: House) -> None:
    head, body = await house.request(method=b"POST", body=b"{}")
    assert (head.status, body) == (200, b"{}")


async def settled(house: House, level: dict[str, int] | None = None) -> dict[str, int]:
    """The levels once nothing is under way; not over `level`, if given, within SECONDS."""
    now = levels()
    with trio.move_on_after(SECONDS):
        while True:
            await house.gate.upstream.aclose()
            await trio.sleep(0.005)
            before, now = now, levels()
            quiet = (
                now == before and not house.connections.open and not house.connections.turned_away
            )
            if quiet and (level is None or all(now[what] <= level[what] for what in level)):
                return now
    raise AssertionError(f"left behind: {now}, before: {level}; {house.connections.open}")


@asynccontextmanager
async def steady(
    house: House, log: pytest.LogCaptureFixture, *, failures: int = 0, level: int = logging.INFO
) -> AsyncIterator[None]:
    """Do something to a gate that must leave no trace, except so many failed connections."""
    log.set_level(level)
    await good_call(house)
    house.upstream.heads.clear()
    house.upstream.connections = 0
    before = await settled(house)
    yield
    house.upstream.script = answer()
    await good_call(house)
    await settled(house, before)
    assert house.connections.failures == failures
    records = [*log.get_records("setup"), *log.get_records("call")]
    assert sum(record.levelno >= logging.ERROR for record in records) == failures
    formatter = logging.Formatter()
    lines = [formatter.format(record) for record in records]
    assert not [line for line in lines if any(secret in line for secret in SECRETS)]


@asynccontextmanager
async def steady_house(
    log: pytest.LogCaptureFixture,
    *,
    failures: int = 0,
    level: int = logging.INFO,
    **settings: Any,
) -> AsyncIterator[House]:
    """A gate with these settings, and the same demands on it."""
    async with open_house(**settings) as house:
        async with steady(house, log, failures=failures, level=level):
            yield house


def unharmed(log: pytest.LogCaptureFixture, **settings: Any) -> AbstractAsyncContextManager[House]:
    """The same, and the lines of every library from the lowest level on are searched for the token."""
    return steady_house(log, level=logging.DEBUG, **{"keep_alive": False, **settings})


def objects_in(thing: object) -> int:
    """How many objects a thing holds, whatever it calls them."""
    found: dict[int, object] = {}
    left = [thing]
    while left:
        one = left.pop()
        if id(one) not in found and not isinstance(one, type | FunctionType | ModuleType):
            found[id(one)] = one
            left += gc.get_referents(one)
    return len(found)


def sockets_to(port: int) -> list[socket.socket]:
    """Copies of this process's connections to a port; the caller closes them."""
    found = []
    for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208
        with suppress(OSError):
            copy = socket.socket(fileno=os.dup(int(descriptor)))
            try:
                if copy.getpeername()[1] == port:
                    found.append(copy)
                    continue
            except (OSError, IndexError):
                pass
            copy.close()
    return found


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
