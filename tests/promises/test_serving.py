"""Connections: no single one can end the process, hold a place for ever, or lose an answer."""

from __future__ import annotations

import logging
import random
import resource
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from gatehouse.downstream.client_socket import ClientSocket
from gatehouse.downstream.connection import Connection
from gatehouse.downstream.connections import SWEEP_SECONDS
from gatehouse.downstream.in_flight import InFlight
from gatehouse.downstream.places import Places
from gatehouse.downstream.serve import LifespanEndedError
from tests.harness.house import BEARER, House, open_house
from tests.harness.levels import connected, gone, settled, steady_house
from tests.harness.program import TOKEN, running
from tests.harness.wire import Head, Peer, Upstream, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: 1\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def silent(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await until_gone(peer)


async def events(peer: Peer, head: Head) -> None:
    """A stream with one event every tenth of a second, until the gate ends it."""
    await peer.send(STREAM)
    while True:
        await peer.send(chunk(EVENT))
        await trio.sleep(0.1)


# Work beside requests.


async def test_if_what_watches_the_requests_ends_the_gate_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(in_flight: InFlight) -> None:
        await trio.sleep(0.01)
        raise OSError("no more looks")

    monkeypatch.setattr(InFlight, "end_overdue", fail)
    with trio.fail_after(2), pytest.raises(ExceptionGroup) as caught:
        async with open_house():
            await trio.sleep_forever()
    assert caught.group_contains(LifespanEndedError)
    assert caplog.text.count("the tasks beside requests ended by: OSError") == 1
    assert "no more looks" not in caplog.text.replace('raise OSError("no more looks")', "")


# The cap.


async def test_a_connection_over_the_limit_is_told_so_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, max_connections=3) as house:
        house.upstream.script = events
        held = [await house.connect() for _ in range(3)]
        for peer in held:
            await peer.send(house.raw())
            await peer.head()
        for _ in range(5):
            head, body = await house.request()
            assert head.status == 503
            assert head.get(b"Retry-After") is not None
            assert head.get(b"Connection") == b"close"
            assert b"as many connections" in body
        for peer in held:
            for _ in range(5):
                assert EVENT in await peer.chunk()
        await held.pop().reset()
        house.upstream.script = answer()
        with trio.fail_after(2):
            while (await house.request())[0].status != 200:
                await trio.sleep(0.02)
        for peer in held:
            assert EVENT in await peer.chunk()
            await peer.reset()


async def test_far_over_the_limit_connections_are_closed_without_a_word(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.downstream.connection.MAX_TURNED_AWAY", 4)
    monkeypatch.setattr("gatehouse.downstream.connection.LINGER_SECONDS", 1.5)
    async with steady_house(caplog, max_connections=1) as house:
        house.upstream.script = events
        async with connected(house) as held:
            await held.send(house.raw())
            await held.head()
            over = [await house.connect() for _ in range(4)]  # they say nothing, and hold a place
            with trio.fail_after(10):
                while house.connections.turned_away < 4:
                    await trio.sleep(0.01)
            async with connected(house) as peer:
                with suppress(trio.BrokenResourceError):
                    assert await peer.receive() == b""
            with trio.fail_after(10):
                while house.connections.turned_away:
                    await trio.sleep(0.01)
            assert (await house.request())[0].status == 503
            for peer in over:
                await peer.reset()
        with trio.fail_after(10):
            while house.connections.open:
                await trio.sleep(0.01)


async def test_leaving_while_being_turned_away_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, max_connections=1) as house:
        house.upstream.script = events
        async with connected(house) as held:
            await held.send(house.raw())
            await held.head()
            for number in range(20):
                async with connected(house) as peer:
                    if number % 2:
                        await peer.send(house.raw() * 100)
                    await trio.sleep(0.002 * (number % 3))
                    leave_by_reset(peer)
        with trio.fail_after(5):
            while house.connections.open:
                await trio.sleep(0.01)


RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() then sends RST


def leave_by_reset(peer: Peer) -> None:
    peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.stream.socket.close()


async def test_running_out_of_file_descriptors_is_survived(tmp_path: Path) -> None:
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        with running(tmp_path, MCP_APP="") as program:
            upstream.port = program.upstream_port
            await nursery.start(upstream.serve)
            await trio.to_thread.run_sync(program.wait_for)
            resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, (40, 40))
            peers = [await trio.open_tcp_stream("127.0.0.1", program.port) for _ in range(60)]
            await trio.sleep(0.5)
            for peer in peers:
                await trio.aclose_forcefully(peer)
            async with httpx.AsyncClient(trust_env=False) as client:
                bearer = {"Authorization": f"Bearer {TOKEN}"}
                with trio.fail_after(10):
                    response = await client.post(program.endpoint, content="{}", headers=bearer)
            assert response.status_code == 200
            assert await trio.to_thread.run_sync(program.stop) == 0
            assert TOKEN not in program.output
        nursery.cancel_scope.cancel()


# Deadlines.


LATE = [
    ("nothing", "not a byte"),
    ("nothing", "a byte, no more"),
    ("nothing", "a byte every tenth second"),
    ("a request", "a byte, no more"),
    ("a request", "a byte every tenth second"),
    ("a request, half of the next", "not a byte"),
    ("a request, half of the next", "a byte every tenth second"),
]


async def test_a_head_that_does_not_come_in_time_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def visit(house: House, after: str, pace: str) -> None:
        async with connected(house) as peer, trio.open_nursery() as nursery:
            if after != "nothing":
                half = b"POST /mcp HTTP/1.1\r\nHo" if "half" in after else b""
                await peer.send(house.raw() + half)
                await peer.body(await peer.head())
            if pace != "not a byte":
                nursery.start_soon(drip, peer, 0.1 if "every" in pace else 60)
            began = trio.current_time()
            await gone(peer)
            took[after, pace] = trio.current_time() - began
            nursery.cancel_scope.cancel()

    async def drip(peer: Peer, pause: float) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for byte in b"POST /mcp HTTP/1.1\r\nX: " + b"x" * 1000:
                await peer.stream.send_all(bytes([byte]))
                await trio.sleep(pause)

    took: dict[tuple[str, str], float] = {}
    async with steady_house(caplog, header_seconds=0.5) as house:
        async with trio.open_nursery() as nursery:
            for after, pace in LATE:
                nursery.start_soon(visit, house, after, pace)
    assert set(took) == set(LATE)
    assert min(took.values()) > 0.4
    assert max(took.values()) < 0.5 + 2 * SWEEP_SECONDS


async def test_a_connection_at_rest_has_its_own_longer_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, header_seconds=0.3, keep_alive_seconds=1.3) as house:
        async with connected(house) as peer:
            for _ in range(2):
                await peer.send(house.raw())
                await peer.body(await peer.head())
                rested = trio.current_time()
                await trio.sleep(1.1)
            assert await gone(peer)
            assert 1.2 < trio.current_time() - rested < 1.3 + 2 * SWEEP_SECONDS


async def test_a_client_that_never_reads_is_cut_and_its_upstream_released(
    caplog: pytest.LogCaptureFixture,
) -> None:
    size = 64 * 1024 * 1024

    async def large(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        with trio.fail_after(8):
            await peer.stream.send_all(bytes(size))

    async with steady_house(caplog, write_seconds=0.5) as house:
        house.upstream.script = large
        async with connected(house) as peer:
            await peer.send(house.raw())
            with trio.fail_after(4):
                await house.upstream.gone.wait()
            await settled(house)


async def test_a_client_that_reads_slowly_but_steadily_is_not_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    size = 8 * 1024 * 1024
    async with steady_house(caplog, write_seconds=0.3) as house:
        house.upstream.script = answer(bytes(size))
        async with connected(house) as peer:
            await peer.send(house.raw())
            await peer.head()
            received = 0
            began = trio.current_time()
            while received < size:
                received += len(await peer.exactly(min(size - received, 512 * 1024)))
                await trio.sleep(0.05)
            assert trio.current_time() - began > 0.6


# A client that goes.

GOING = {
    "waiting for an answer": (b"/mcp/silent", [], b"", b""),
    "waiting, with a byte pipelined": (b"/mcp/silent", [], b"", b"G"),
    "waiting, with a request pipelined": (b"/mcp/silent", [], b"", b"GET /health HTTP/1.1\r\n\r\n"),
    "waiting, with much pipelined": (b"/mcp/silent", [], b"", b"x" * 60_000),
    "waiting, with more pipelined than is ever read": (b"/mcp/silent", [], b"", b"x" * 1_000_000),
    "waiting, with h2c offered": (
        b"/mcp/silent",
        [b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: A"],
        b"",
        b"",
    ),
    "waiting, after an upload": (b"/mcp/silent", [], b"{}", b""),
    "uploading what nobody takes": (b"/mcp/deaf", [], b"x" * 200_000, b""),
    "reading events": (b"/mcp/events", [], b"", b""),
    "reading events, with a byte pipelined": (b"/mcp/events", [], b"", b"G"),
    "being refused": (b"/mcp", [b"Expect: nothing"], b"x" * 1000, b"G"),
}


WAYS = ["close", "reset", "half-close"]


async def test_a_client_that_goes_is_noticed_within_three_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def go(house: House, name: str, how: str) -> None:
        path, fields, body, behind = GOING[name]
        peer = await house.connect()
        method = b"POST" if body else b"GET"
        request = house.raw(path, *fields, method=method, body=body) + behind
        with trio.move_on_after(0.5):
            await peer.stream.send_all(request)
        if b"events" in path:
            await peer.head()
        await trio.sleep(0.2)
        port = peer.stream.socket.getsockname()[1]
        if how == "reset":
            leave_by_reset(peer)
        elif how == "close":
            await peer.stream.aclose()
        else:
            await peer.stream.send_eof()
        with trio.move_on_after(3):
            while any(c.client and port in c.client for c in house.connections.open):
                await trio.sleep(0.05)
            noticed.add((name, how))
        await peer.reset()

    async def deaf(peer: Peer, head: Head) -> None:
        await over.wait()
        await until_gone(peer)

    async def by_path(peer: Peer, head: Head) -> None:
        path = head.start_line.split(b" ")[1]
        await {b"/mcp/silent": silent, b"/mcp/deaf": deaf, b"/mcp/events": events}[path](peer, head)

    noticed: set[tuple[str, str]] = set()
    over = trio.Event()
    async with steady_house(caplog, comment_seconds=0) as house:
        house.upstream.script = by_path
        async with trio.open_nursery() as nursery:
            for name in GOING:
                for how in WAYS:
                    nursery.start_soon(go, house, name, how)
        over.set()
    assert noticed == {(name, how) for name in GOING for how in WAYS}


async def test_connect_is_refused_and_what_follows_it_is_nobodys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house:
        for behind in (b"", b"G", b"\x16\x03\x01" * 50, house.raw()):
            async with connected(house) as peer:
                connect = house.raw(b"gate.example:443", method=b"CONNECT")
                await peer.send(connect + behind)
                head = await peer.head()
                assert head.status in (400, 405)
                await peer.body(head)
                assert await gone(peer)
        assert house.upstream.heads == []


# The last word.

JUNK = [b"\r\n", b"G", b"\x00" * 100_000, b"GET /health HTTP/1.1\r\nHost: gate.example\r\n\r\n"]


@pytest.mark.parametrize("segment", ["same", "later"])
@pytest.mark.parametrize("closing", ["Connection: close", "HTTP/1.0"])
async def test_bytes_behind_a_closing_request_are_ignored_and_never_cost_its_answer(
    caplog: pytest.LogCaptureFixture, closing: str, segment: str
) -> None:
    async with steady_house(caplog) as house:
        request = house.raw(b"/mcp", b"Connection: close", method=b"POST", body=b"{}")
        if closing == "HTTP/1.0":
            request = house.raw(method=b"POST", body=b"{}").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        for number in range(60):
            junk = JUNK[number % len(JUNK)]
            async with connected(house) as peer:
                if segment == "same":
                    await peer.send(request + junk)
                else:
                    await peer.send(request)
                    await trio.sleep(0.0005 * (number % 8))
                    await peer.send(junk)
                head = await peer.head()
                assert (head.status, await peer.body(head)) == (200, b"{}")
                assert await gone(peer)
        assert len(house.upstream.heads) == 60


UNFRAMED = [b"POST /mcp HTTP/1.0", b"Host: gate.example", BEARER.rstrip(), b"Content-Length: 2"]


async def unframed(house: House, script: Callable[[Peer, Head], Awaitable[None]]) -> Peer:
    """Ask by HTTP/1.0 for an answer without a length: only the connection's end can end it."""
    house.upstream.script = script
    peer = await house.connect()
    await peer.send(b"\r\n".join(UNFRAMED) + b"\r\n\r\n{}")
    return peer


async def test_an_answer_that_ends_with_its_connection_ends_cleanly_only_when_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = True

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(STREAM.replace(b"event-stream", b"plain") + chunk(b"some of it"))
        await trio.sleep(0.01)
        if whole:
            await peer.send(b"0\r\n\r\n")
        else:
            await peer.stream.aclose()

    async with steady_house(caplog) as house:
        for _ in range(20):
            peer = await unframed(house, script)
            head = await peer.head()
            assert head.get(b"Transfer-Encoding") is head.get(b"Content-Length") is None
            assert await gone(peer) == whole
            await peer.reset()
            whole = not whole


async def endless(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.send(STREAM.replace(b"event-stream", b"plain"))
    while True:
        await peer.send(chunk(bytes(65536)))


async def test_an_answer_cut_by_the_write_deadline_does_not_look_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, write_seconds=0.5) as house:
        peer = await unframed(house, endless)
        await peer.head()
        await settled(house)
        assert not await gone(peer)
        await peer.reset()


async def test_an_answer_cut_by_the_exit_does_not_look_whole() -> None:
    async with open_house() as house:
        peer = await unframed(house, events)
        await peer.head()
    assert not await gone(peer)
    await peer.reset()


# Containment.

ERRORS: dict[str, Callable[[], Exception]] = {
    "an error": lambda: KeyError(TOKEN),
    "a group of errors": lambda: ExceptionGroup(TOKEN, [ValueError(TOKEN), KeyError(TOKEN)]),
    "a busy socket": lambda: trio.BusyResourceError(TOKEN),
}


@pytest.mark.parametrize("where", ["read", "unprove", "write", "end_writing"])
@pytest.mark.parametrize("what", ERRORS)
async def test_an_error_ends_its_connection_only_and_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, where: str, what: str
) -> None:
    read = ClientSocket.read

    async def striking(self: ClientSocket) -> bytes:
        data = await read(self)
        if b"/stricken" in data:
            monkeypatch.setattr(Places if where == "unprove" else self, where, fail)
        return data

    def fail(*_: object) -> None:
        error = ERRORS[what]()
        raise error

    monkeypatch.setattr(ClientSocket, "read", striking)
    async with open_house() as house:
        house.upstream.script = events
        async with connected(house) as other:
            await other.send(house.raw())
            await other.head()
            for number in range(1, 4):
                async with connected(house) as peer:
                    closing = [] if where in {"unprove", "read"} else [b"Connection: close"]
                    await peer.send(house.raw(b"/stricken", *closing))
                    await gone(peer)
                with trio.fail_after(1):
                    while house.connections.failures < number:
                        await trio.sleep(0.01)
                assert EVENT in await other.chunk()
        monkeypatch.undo()
        failed = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert [record.name for record in failed] == ["gate.connections"] * 3
        assert not any(TOKEN in logging.Formatter().format(record) for record in failed)
        house.upstream.script = answer()
        assert (await house.request())[0].status == 200
        assert house.connections.failures == 3


async def test_a_lost_socket_is_no_failure(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(family: int, address: object) -> tuple[str, int]:
        raise OSError("the peer vanished before its name was asked")

    async with steady_house(caplog) as house:
        with monkeypatch.context() as patch:
            patch.setattr("gatehouse.downstream.client_socket.parse_socket_addr", lost)
            async with connected(house) as peer:
                await gone(peer)


# Noise.


def noise(chance: random.Random, house: House) -> bytes:
    """Random bytes, or a request that is nearly right."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(1, 400))
    request = bytearray(
        chance.choice(
            [
                house.raw(),
                house.raw(method=b"POST", body=b'{"a":1}') * 3,
                house.raw(b"/mcp", b"Transfer-Encoding: chunked", method=b"POST") + chunk(b"abc"),
                house.raw(b"/mcp", b"Expect: 100-continue", method=b"POST", body=b"{}"),
                house.raw(b"/mcp", b"Upgrade: h2c", b"Connection: Upgrade") + b"\x00" * 9,
                house.raw(b"/mcp", b"Upgrade: websocket", b"Connection: Upgrade") + b"x",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chance.randbytes(40),
            ]
        )
    )
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(request))
        request[at : at + chance.randrange(3)] = chance.choice(
            [b"", b"\r", b"\n", b"\r\n", b"\x00", b"\xff", b":", b" ", b"\r\n ", b"-1", b"0"]
        )
    return bytes(request[: chance.randrange(1, len(request) + 1)] + request[:1])


async def test_garbage_on_hundreds_of_connections_ends_none_but_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance = random.Random(18)  # noqa: S311

    async def babble(data: bytes, way: int, held: trio.Semaphore) -> None:
        async with held, connected(house) as peer:
            with suppress(trio.BrokenResourceError):
                for at in range(0, len(data), 1 + len(data) // (1 + way % 3)):
                    await peer.send(data[at : at + 1 + len(data) // (1 + way % 3)])
                    await trio.lowlevel.checkpoint()
                if way % 2:
                    await peer.stream.send_eof()
                with trio.move_on_after(0.1):
                    await gone(peer)
                if way % 5 == 0:
                    leave_by_reset(peer)

    async with steady_house(caplog, header_seconds=1, body_seconds=1) as house:
        held = trio.Semaphore(50)
        async with trio.open_nursery() as nursery:
            for number in range(600):
                nursery.start_soon(babble, noise(chance, house), number, held)


async def test_clients_that_reset_at_any_moment_leave_nothing_behind(
    caplog: pytest.LogCaptureFixture, keep_alive: bool
) -> None:
    chance = random.Random(9)  # noqa: S311

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await trio.sleep(chance.random() * 0.004)
        await peer.send(STREAM)
        for _ in range(5):
            await peer.send(chunk(EVENT * 50))
            await trio.sleep(chance.random() * 0.002)
        await peer.send(b"0\r\n\r\n")

    async def visit(held: trio.Semaphore) -> None:
        async with held, connected(house) as peer:
            request = house.raw(method=b"POST", body=b"x" * chance.choice([1, 1000, 300_000]))
            await peer.stream.send_all(request[: chance.randrange(1, len(request) + 1)])
            await trio.sleep(chance.random() * 0.02)
            leave_by_reset(peer)

    async with steady_house(caplog, keep_alive=keep_alive) as house:
        house.upstream.script = script
        held = trio.Semaphore(20)
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(partial(visit, held))


# Connections that have shown a good token.


async def test_a_connection_knows_whether_a_good_token_was_shown() -> None:
    async with open_house() as house:
        asked: list[tuple[bytes, bool]] = [(b"/health", True), (b"/mcp", False), (b"/mcp", True)]
        async with connected(house) as peer:
            for number, (path, token) in enumerate(asked):
                await peer.send(house.raw(path, token=token))
                await peer.body(await peer.head())
                (connection,) = house.connections.open
                assert isinstance(connection, Connection)
                assert connection.proven == (number == 2)
