"""A seeded fuzzer: clients and an upstream that do at random what clients and upstreams do wrong.

After each step the gate still serves, and after each run everything is back at its level: tasks, file
descriptors, connections, exchanges. With an odd seed, connections to the upstream are used again. A
failure names its seed and its steps; `SEED=n pytest tests/promises/test_state_machine.py` runs one.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from tests.harness.house import BEARER, open_house
from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, until_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from tests.harness.house import House

STEPS = 100
FIXED_SEEDS = [2, 3]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"id: 1\r\ndata: x\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nx",
    b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n"
    + BEARER
    + b"\r\nzz\r\n",
    b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    + BEARER
    + b"\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"\x00" * 3000,
    b"GET /" + b"a" * 30_000,
    b"\r\n" * 40,
]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# Faults of the upstream, chosen by the path; on /mcp itself it answers properly.


async def good(peer: Peer, head: Head) -> None:
    body = await peer.body(head)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def stall(peer: Peer, head: Head) -> None:
    await until_gone(peer)


async def die(peer: Peer, head: Head) -> None:
    await peer.body(head)
    raise EOFError


async def die_in_body(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    raise EOFError


async def die_in_chunks(peer: Peer, head: Head) -> None:
    await peer.send(CHUNKED + chunk(b"half") + b"5\r\nxy")
    raise EOFError


async def reset_in_stream(peer: Peer, head: Head) -> None:
    await peer.send(STREAM + chunk(EVENT[:9]))
    await peer.reset()


async def too_much(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nwrong")


async def answer_early(peer: Peer, head: Head) -> None:
    await peer.send(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
    await peer.body(head)


async def nonsense(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.send(b"\x15\x03\x01\x00\x02\x02\x16 no HTTP at all\r\n\r\n")
    raise EOFError


async def silent_stream(peer: Peer, head: Head) -> None:
    await peer.send(STREAM)
    await until_gone(peer)


async def busy_stream(peer: Peer, head: Head) -> None:
    await peer.send(STREAM)
    for _ in range(400):
        await peer.send(chunk(EVENT[:7]))
        await trio.sleep(0.003)
        await peer.send(chunk(EVENT[7:]))
    await peer.send(b"0\r\n\r\n")


async def flood(peer: Peer, head: Head) -> None:
    await peer.send(CHUNKED)
    with suppress(trio.TooSlowError):
        for _ in range(400):
            await peer.send(chunk(b"x" * 65_536))
    await peer.send(b"0\r\n\r\n")


UPSTREAM: dict[str, Callable[[Peer, Head], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        *(good, stall, die, die_in_body, die_in_chunks, reset_in_stream, too_much),
        *(answer_early, nonsense, silent_stream, busy_stream, flood),
    )
}


async def by_path(peer: Peer, head: Head) -> None:
    name = head.start_line.split(b" ")[1].rpartition(b"/")[2].decode()
    await UPSTREAM.get(name, good)(peer, head)


class Fuzzer:
    """The clients that are open at a time, and one step after another."""

    def __init__(self, house: House, nursery: trio.Nursery, seed: int) -> None:
        self.house = house
        self.nursery = nursery
        self.dice = random.Random(seed)  # noqa: S311 - to be the same each time
        self.peers: list[Peer] = []
        self.steps: list[str] = []
        self.operations: list[Callable[[], Awaitable[None]]] = [
            *(self.open_stream, self.call, self.call, self.pipeline, self.partial_head),
            *(self.partial_body, self.refused_with_body, self.garbage, self.connect_only),
            *(self.close, self.close, self.reset, self.reset, self.half_close, self.read),
            *(self.read_all, self.restart_upstream, self.pause),
        ]

    async def step(self) -> None:
        operation = self.dice.choice(self.operations)
        self.steps.append(operation.__name__)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await operation()

    def target(self) -> bytes:
        name = self.dice.choice(list(UPSTREAM))
        self.steps.append(f"  upstream {name}")
        return f"/mcp/{name}".encode()

    async def connected(self, data: bytes) -> None:
        """A new client, which sends this in one piece or in several; the oldest may have to go."""
        if len(self.peers) > 25:
            await self.peers.pop(0).reset()
        peer = await self.house.connect()
        self.peers.append(peer)
        while data:
            size = self.dice.choice((len(data), len(data), self.dice.randint(1, len(data))))
            with trio.move_on_after(0.2):  # nobody has to read all of it
                await peer.stream.send_all(data[:size])
            data = data[size:]

    def some(self) -> Peer | None:
        return self.dice.choice(self.peers) if self.peers else None

    def leaving(self) -> Peer | None:
        return self.peers.pop(self.dice.randrange(len(self.peers))) if self.peers else None

    # Clients that come.

    async def open_stream(self) -> None:
        name = self.dice.choice([b"silent_stream", b"busy_stream", b"reset_in_stream"])
        await self.connected(self.house.raw(b"/mcp/" + name, b"Accept: text/event-stream"))

    async def call(self) -> None:
        body = b"x" * self.dice.choice((2, 2000, 200_000))
        await self.connected(self.house.raw(self.target(), method=b"POST", body=body))

    async def pipeline(self) -> None:
        requests = [
            self.house.raw(
                self.target(), method=b"POST", body=b"{}", token=self.dice.random() > 0.2
            )
            for _ in range(self.dice.randint(2, 5))
        ]
        await self.connected(b"".join(requests))

    async def partial_head(self) -> None:
        request = self.house.raw(self.target(), method=b"POST", body=b"{}")
        await self.connected(request[: self.dice.randrange(1, len(request) - 4)])

    async def partial_body(self) -> None:
        fields = self.dice.choice([b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
        part = chunk(b"half") + b"9\r\nha" if b"chunked" in fields else b"half"
        await self.connected(self.house.raw(self.target(), fields, method=b"POST") + part)

    async def refused_with_body(self) -> None:
        size = self.dice.choice((10, 100_000, 3_000_000, 6_000_000))
        await self.connected(
            self.house.raw(self.target(), method=b"POST", body=b"x" * size, token=False)
        )

    async def garbage(self) -> None:
        await self.connected(self.dice.choice(GARBAGE))

    async def connect_only(self) -> None:
        await self.connected(b"")

    # Clients that go on, or go.

    async def close(self) -> None:
        if peer := self.leaving():
            await peer.stream.aclose()

    async def reset(self) -> None:
        if peer := self.leaving():
            await peer.reset()

    async def half_close(self) -> None:
        if peer := self.some():
            await peer.stream.send_eof()

    async def read(self) -> None:
        if peer := self.some():
            with trio.move_on_after(0.05):
                await peer.receive()

    async def read_all(self) -> None:
        if peer := self.leaving():
            with trio.move_on_after(0.3):
                while await peer.receive():
                    pass
            await peer.reset()

    async def pause(self) -> None:
        await trio.sleep(self.dice.choice((0.0, 0.001, 0.01, 0.05)))

    # The upstream, and what has to be true whatever happened.

    async def restart_upstream(self) -> None:
        """All its connections break, and those that the gate has kept; then it is there again."""
        await self.house.upstream.stop()
        await self.nursery.start(self.house.upstream.serve)

    async def still_serves(self) -> None:
        head, body = await self.house.request(b"/mcp", method=b"POST", body=b'{"good":1}')
        assert (head.status, body) == (200, b'{"good":1}')


async def fuzz(house: House, nursery: trio.Nursery, seed: int, steps: int) -> Fuzzer:
    """Take `steps` random steps; an error says which."""
    fuzzer = Fuzzer(house, nursery, seed)
    try:
        for _ in range(steps):
            await fuzzer.step()
            await fuzzer.still_serves()
    except BaseException as error:
        error.add_note(f"seed {seed}, steps: {', '.join(fuzzer.steps)}")
        raise
    return fuzzer


def levels(house: House) -> dict[str, int]:
    """The things that every step takes some of, and has to give back."""
    gate = house.gate
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "file descriptors": len(os.listdir("/dev/fd")),  # noqa: PTH208
        "connections": len(house.connections.open),
        "connections turned away": house.connections.turned_away,
        "exchanges": len(gate.in_flight),
        "waiting": gate.hosted_start.waiting,
    }


async def settled(house: House, level: dict[str, int] | None = None) -> dict[str, int]:
    """The levels with nobody there; an error if they do not fall back to `level`."""
    for _ in range(100):
        await house.gate.upstream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        now = levels(house)
        if now["connections"] == 0 and (level is None or all(now[k] <= level[k] for k in now)):
            return now
        await trio.sleep(0.1)
    raise AssertionError(f"left behind: {now}, before: {level}")


LIMITS: dict[str, Any] = {
    "comment_seconds": 0.05,
    "header_seconds": 2.0,
    "body_seconds": 1.0,
    "write_seconds": 2.0,
    "keep_alive_seconds": 5.0,
    "max_connections": 100,
}


def seeds() -> list[int]:
    given = os.environ.get("SEED")
    return [int(given)] if given else [*FIXED_SEEDS, secrets.randbelow(1_000_000) + 10]


def quiet(log: pytest.LogCaptureFixture) -> None:
    """No fault of the gate's own has been logged, and no piece of the token."""
    formatter = logging.Formatter()
    lines = [formatter.format(record) for record in log.records]
    assert [record for record in log.records if record.levelno >= logging.ERROR] == []
    assert pieces_in("\n".join(lines), TOKEN) == set()


async def test_whatever_clients_and_upstreams_do_the_gate_serves_on_and_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for seed in seeds():
        async with open_house(keep_alive=seed % 2 == 1, **LIMITS) as house:
            async with trio.open_nursery() as nursery:
                house.upstream.script = by_path
                fuzzer = Fuzzer(house, nursery, seed)
                await fuzzer.still_serves()
                await fuzzer.restart_upstream()  # from here on it is ours
                before = await settled(house)
                fuzzer = await fuzz(house, nursery, seed, STEPS)
                for peer in fuzzer.peers:
                    await peer.reset()
                try:
                    await settled(house, before)
                    await fuzzer.still_serves()
                    assert house.connections.failures == 0
                except BaseException as error:
                    error.add_note(f"seed {seed}, steps: {', '.join(fuzzer.steps)}")
                    raise
                nursery.cancel_scope.cancel()
    quiet(caplog)


async def test_whatever_is_under_way_the_drain_ends_within_the_grace_and_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    grace = 0.5
    for seed in seeds():
        before = trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/dev/fd"))  # noqa: PTH208
        async with trio.open_nursery() as nursery:
            async with open_house(grace_seconds=grace, **LIMITS) as house:
                house.upstream.script = by_path
                fuzzer = await fuzz(house, nursery, seed, 25)
                began = trio.current_time()
                await house.gate.drain()
            seconds = trio.current_time() - began
            assert seconds < grace + 1.0, f"seed {seed}: {fuzzer.steps}"
            for peer in fuzzer.peers:
                await peer.reset()
            nursery.cancel_scope.cancel()
        assert house.connections.open == set()
        assert house.connections.failures == 0
        await trio.testing.wait_all_tasks_blocked(0.01)
        after = trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/dev/fd"))  # noqa: PTH208
        assert after <= before, f"seed {seed}: {fuzzer.steps}"
    quiet(caplog)
