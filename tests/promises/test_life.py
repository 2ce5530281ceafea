"""A life: cold start, drain, signals and restarts, and what clients notice of them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
import trio.testing

from tests.harness.house import BEARER, House, open_house
from tests.harness.leaks import pieces_in
from tests.harness.only_ci import only_in_ci
from tests.harness.program import ROOT, TOKEN, Program, free_port, running
from tests.harness.tools import slow_call
from tests.harness.wire import Head, Peer, Upstream, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
AT_ONCE = 0.5
"""Less than any setting or grace here."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def settle(house: House, in_flight: int) -> None:
    """Wait until so many exchanges are with the upstream."""
    with trio.fail_after(5):
        while len(house.gate.in_flight) != in_flight:
            await trio.sleep(0.005)


# Cold start.


async def waiting(house: House, count: int) -> None:
    with trio.fail_after(5):
        while house.gate.hosted_start.waiting != count:
            await trio.sleep(0.005)


async def ask(house: House, statuses: list[int], *fields: bytes) -> None:
    head, _ = await house.request(b"/mcp", *fields, method=b"POST", body=b"{}")
    statuses.append(head.status)


async def test_requests_wait_for_the_start_and_then_pass() -> None:
    started, statuses = trio.Event(), list[int]()
    async with open_house(started=started) as house, trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(ask, house, statuses)
        await waiting(house, 64)
        assert house.upstream.heads == []
        assert (await house.request(b"/health"))[0].status == 200
        started.set()
        with trio.fail_after(3):
            while len(statuses) < 64:
                await trio.sleep(0.01)
        assert set(statuses) == {200}
        assert len(house.upstream.heads) == 64


async def test_if_the_process_ends_at_once_each_call_under_way_leaves_its_line(
    access_log: pytest.LogCaptureFixture,
) -> None:
    async with open_house(grace_seconds=10) as house:
        async with a_call_in_flight(house) as (_, finish):
            await trio.to_thread.run_sync(house.gate.tell_rest)  # as the thread does that ends it
            (line,) = [one.message for one in access_log.records if one.name == "gate.access"]
            assert str(line).endswith("(cut)")
            finish.set()


async def test_the_one_too_many_is_told_to_come_back_at_once() -> None:
    started, statuses = trio.Event(), list[int]()
    async with open_house(started=started, start_requests=2) as house:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, house, statuses)
            nursery.start_soon(ask, house, statuses)
            await waiting(house, 2)
            with trio.fail_after(AT_ONCE):
                head, body = await house.request(method=b"POST", body=b"{}")
            assert head.status == 503
            assert head.get(b"retry-after")
            assert b"starting" in body
            assert statuses == []
            started.set()
        assert statuses == [200, 200]


async def test_a_start_that_takes_too_long_is_a_503_with_retry_after() -> None:
    async with open_house(started=trio.Event(), start_seconds=0.4) as house:
        began = trio.current_time()
        head, _ = await house.request(method=b"POST", body=b"{}")
        assert 0.35 < trio.current_time() - began < 1.0
        assert head.status == 503
        assert head.get(b"retry-after")
        await waiting(house, 0)
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    ("requests", "seconds"), [(0, 10), (64, 0)], ids=["no-requests", "no-seconds"]
)
async def test_with_zero_nobody_waits_for_the_start(requests: int, seconds: float) -> None:
    async with open_house(
        started=trio.Event(), start_requests=requests, start_seconds=seconds
    ) as house:
        with trio.fail_after(AT_ONCE):
            head, _ = await house.request(method=b"POST", body=b"{}")
        assert head.status == 503


async def test_without_a_token_nobody_waits_for_the_start() -> None:
    async with open_house(started=trio.Event()) as house:
        with trio.fail_after(AT_ONCE):
            head, _ = await house.request(method=b"POST", body=b"{}", token=False)
        assert head.status == 401


@pytest.mark.parametrize("rudely", [False, True], ids=["closing", "resetting"])
async def test_clients_that_leave_while_they_wait_for_the_start_give_their_places_up(
    rudely: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    started = trio.Event()
    async with open_house(started=started, start_requests=3, start_seconds=60) as house:
        for number, (method, size) in enumerate([(b"GET", 0), (b"POST", 2), (b"POST", 40_000)]):
            peer = await house.connect()
            await peer.send(house.raw(method=method, body=b"x" * size))
            await waiting(house, number + 1)
            await (peer.reset() if rudely else peer.stream.aclose())
        await waiting(house, 0)
        await settle(house, 0)
        assert sum(" 499 " in record.getMessage() for record in caplog.records) == 3
        statuses: list[int] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, house, statuses)
            await waiting(house, 3)
            started.set()
        assert statuses == 3 * [200]
        assert len(house.upstream.heads) == 3  # nothing was asked on behalf of those who had left


async def test_who_waits_for_the_start_when_the_drain_begins_is_told_so_at_once() -> None:
    async with open_house(started=trio.Event()) as house:
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        await waiting(house, 1)
        with trio.fail_after(AT_ONCE):
            await house.gate.drain()
            head = await peer.head()
        await refused_for_the_drain(peer, head)
        await peer.reset()


# Drain.


async def refused_for_the_drain(peer: Peer, head: Head) -> None:
    assert head.status == 503
    assert int(head.get(b"retry-after") or b"") > 0
    assert head.get(b"connection") == b"close"
    assert b"restart" in await peer.body(head)
    assert await peer.closed()


@asynccontextmanager
async def a_call_in_flight(house: House) -> AsyncIterator[tuple[Peer, trio.Event]]:
    """A call that the upstream answers when the event is set."""
    finish = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await finish.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    house.upstream.script = script
    caller = await house.connect()
    await caller.send(house.raw(method=b"POST", body=b"{}"))
    await settle(house, 1)
    yield caller, finish
    await caller.reset()


async def test_while_a_call_is_in_flight_new_ones_are_turned_away_and_it_finishes() -> None:
    async with open_house(grace_seconds=10) as house, trio.open_nursery() as nursery:
        kept = await house.connect()
        await kept.send(house.raw())
        await kept.body(await kept.head())
        async with a_call_in_flight(house) as (caller, finish):
            drained = trio.Event()

            async def drain() -> None:
                await house.gate.drain()
                drained.set()

            assert (await house.request(b"/ready"))[0].status == 200
            nursery.start_soon(drain)
            await trio.testing.wait_all_tasks_blocked()
            head, body = await house.request(b"/ready")
            assert b'"stopping"' in body
            assert b'class="status stopping"' in (await house.request(b"/"))[1]
            assert head.status == 503
            assert head.get(b"retry-after")
            assert (await house.request(b"/health"))[0].status == 200
            assert (await house.request(token=False))[0].status == 401
            for peer in (kept, await house.connect()):
                await peer.send(house.raw(method=b"POST", body=b"{}"))
                await refused_for_the_drain(peer, await peer.head())
                await peer.reset()
            assert not drained.is_set()
            asked = len(house.upstream.heads)
            finish.set()
            head = await caller.head()
            assert (head.status, await caller.body(head)) == (200, b"done")
            with trio.fail_after(AT_ONCE):
                await drained.wait()
            assert asked == 2  # the kept connection's first request, and the call


async def test_with_nothing_in_flight_the_drain_is_over_at_once() -> None:
    async with open_house() as house:
        idle = await house.connect()
        with trio.fail_after(AT_ONCE):
            await house.gate.drain()
        await idle.reset()


async def test_a_call_let_in_just_before_the_drain_is_in_flight_from_the_first_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_house() as house, trio.open_nursery() as nursery:
        take, taking, go_on = house.gate.upstream.take, trio.Event(), trio.Event()

        async def slowly() -> Any:  # as when connections that rested too long are closed first
            taking.set()
            await go_on.wait()
            return await take()

        monkeypatch.setattr(house.gate.upstream, "take", slowly)
        statuses: list[int] = []
        nursery.start_soon(ask, house, statuses)
        await taking.wait()
        with trio.move_on_after(0.2):
            await house.gate.drain()
            raise AssertionError("the drain did not wait")
        go_on.set()
        with trio.fail_after(AT_ONCE):
            await house.gate.drain()
        await settle(house, 0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert statuses == [200]


async def test_the_drain_takes_no_longer_than_the_grace() -> None:
    async with open_house(grace_seconds=0.4) as house, a_call_in_flight(house):
        began = trio.current_time()
        await house.gate.drain()
        assert 0.35 < trio.current_time() - began < 0.8


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        pytest.param(b"GET", [], id="get"),
        pytest.param(b"POST", [b"Mcp-Method: subscriptions/listen"], id="subscription"),
    ],
)
async def test_streams_that_stand_open_end_at_once_and_properly(
    method: bytes, fields: list[bytes]
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(STREAM + chunk(b"data: 1\n\n"))
        await until_gone(peer)

    async with open_house(grace_seconds=10) as house:
        house.upstream.script = script
        peer = await house.connect()
        body = b"" if method == b"GET" else b"{}"
        await peer.send(house.raw(b"/mcp", *fields, method=method, body=body))
        await peer.head()
        assert await peer.chunk() == b"data: 1\n\n"
        with trio.fail_after(AT_ONCE):
            await house.gate.drain()
            assert await peer.chunk() == b""  # the last chunk
            await house.upstream.gone.wait()
        await peer.reset()


async def test_a_stream_that_stands_open_in_the_middle_of_an_event_ends_right_after_it() -> None:
    go_on = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await peer.send(STREAM + chunk(b"data: 1\n\nda"))
        await go_on.wait()
        await peer.send(chunk(b"ta: 2\r") + chunk(b"\n\r\ndata: 3\n"))
        await until_gone(peer)

    async with open_house(grace_seconds=5) as house, trio.open_nursery() as nursery:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        assert await peer.chunk() == b"data: 1\n\nda"
        nursery.start_soon(house.gate.drain)
        with trio.move_on_after(0.4):
            raise AssertionError(await peer.chunk())
        go_on.set()
        with trio.fail_after(AT_ONCE):
            assert await peer.body(head) == b"ta: 2\r\n\r\n"
        await peer.reset()


async def test_a_stream_whose_head_comes_after_the_drain_began_ends_at_its_beginning() -> None:
    go_on = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await go_on.wait()
        await peer.send(STREAM)
        await until_gone(peer)

    async with open_house(grace_seconds=5) as house, trio.open_nursery() as nursery:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw())
        await settle(house, 1)
        nursery.start_soon(house.gate.drain)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        with trio.fail_after(AT_ONCE):
            head = await peer.head()
            assert await peer.body(head) == b""
        await peer.reset()


async def test_a_stream_that_answers_a_call_goes_on_and_finishes_within_the_grace() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(STREAM + chunk(b"data: 1\n\n"))
        await trio.sleep(0.5)
        await peer.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    async with open_house(grace_seconds=5) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        head = await peer.head()
        with trio.fail_after(2):
            await house.gate.drain()
        assert await peer.body(head) == b"data: 1\n\ndata: 2\n\n"
        await peer.reset()


@asynccontextmanager
async def stopping(house: House) -> AsyncIterator[None]:
    """Drain and stop, as run.py does at the first signal, while the block runs."""

    async def stop() -> None:
        await house.gate.drain()
        house.stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        yield


@pytest.mark.parametrize("rest", [b"", b"data: 2"], ids=["at-a-border", "inside-an-event"])
async def test_a_stream_that_answers_a_call_ends_at_a_border_when_the_grace_is_over(
    rest: bytes,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(STREAM + chunk(b"data: 1\n\n" + rest))
        await trio.sleep(0.7)
        if rest:
            await peer.send(chunk(b"\n\nid: 3\n"))
        await until_gone(peer)

    async with open_house(grace_seconds=0.5) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        head = await peer.head()
        began = trio.current_time()
        async with stopping(house):
            body = await peer.body(head)  # with its last chunk, or this would raise
        assert body == b"data: 1\n\n" + (rest + b"\n\n" if rest else b"")
        assert 0.45 < trio.current_time() - began < 1.2
        await peer.reset()


async def test_a_stream_that_never_comes_to_a_border_is_cut_visibly() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(STREAM + chunk(b"data: 1\n"))
        await until_gone(peer)

    async with open_house(grace_seconds=0.3) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        async with stopping(house):
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await peer.body(head)
        await peer.reset()


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_outlasts_the_grace_is_cut_visibly(framing: bytes) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        part = chunk(b'{"half') if b"chunked" in framing else b'{"half'
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + part)
        await until_gone(peer)

    async with open_house(grace_seconds=0.3) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        head = await peer.head()
        async with stopping(house):
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await peer.body(head)
        await peer.reset()


async def test_an_answer_without_length_or_chunks_that_outlasts_the_grace_ends_in_a_reset() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b'{"half'))
        await until_gone(peer)

    async with open_house(grace_seconds=0.3) as house:
        house.upstream.script = script
        peer = await house.connect()
        request = house.raw(method=b"POST", body=b"{}")
        await peer.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await peer.head()
        assert await peer.receive() == b'{"half'
        async with stopping(house):
            with pytest.raises(trio.BrokenResourceError):  # and not the end of a whole answer
                await peer.receive()
        await peer.reset()


async def test_connections_without_a_request_are_closed_at_once_at_the_end() -> None:
    async with open_house() as house:
        fresh, kept, begun = [await house.connect() for _ in range(3)]
        await kept.send(house.raw())
        await kept.body(await kept.head())
        await begun.send(b"POST /mcp HT")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(0.7):
            async with stopping(house):
                for peer in (fresh, kept, begun):
                    assert await peer.closed()
        for peer in (fresh, kept, begun):
            await peer.reset()


async def test_a_client_that_reads_nothing_does_not_hold_the_end_up() -> None:
    async def flood(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            await peer.stream.send_all(b"x" * 1_000_000)

    async with open_house(grace_seconds=0.4) as house:
        house.upstream.script = flood
        peer = await house.connect()
        await peer.send(house.raw())
        await trio.sleep(0.3)
        began = trio.current_time()
        await house.gate.drain()
    assert trio.current_time() - began < 1.4 + 0.3
    await peer.reset()


# The whole program, and real signals.


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream that runs elsewhere."""
    async with trio.open_nursery() as nursery:
        upstream = Upstream()
        await nursery.start(upstream.serve)
        yield upstream
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def program_before(
    upstream: Upstream, folder: Path, **settings: str
) -> AsyncIterator[Program]:
    with discreet(folder, MCP_APP="", UPSTREAM_PORT=str(upstream.port), **settings) as program:
        await trio.to_thread.run_sync(program.wait_for)
        yield program


@contextmanager
def discreet(folder: Path, **settings: str) -> Iterator[Program]:
    """The program; whatever happened to it, it has printed no token and no fault of its own."""
    with running(folder, **settings) as program:
        yield program
    assert pieces_in(program.output, TOKEN) == set()
    assert "Traceback" not in program.output
    assert program.errors == []


async def connect(program: Program) -> Peer:
    return Peer(await trio.open_tcp_stream("127.0.0.1", program.port))


def request(method: bytes = b"POST", target: bytes = b"/mcp", *fields: bytes) -> bytes:
    body = b"{}" if method == b"POST" else b""
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: 127.0.0.1", BEARER.rstrip(), *fields]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


async def ended(program: Program, seconds: float) -> int:
    with trio.fail_after(seconds):
        while program.process.poll() is None:
            await trio.sleep(0.01)
    return int(program.process.returncode)


async def behave(peer: Peer, head: Head) -> None:
    """The upstream for all that a signal may meet: the path says what to do."""
    if b"/mcp/stream " in head.start_line:
        await peer.send(STREAM + chunk(b"data: 1\n\n"))
        await until_gone(peer)
    elif b"/mcp/flood " in head.start_line:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            await peer.stream.send_all(b"x" * 1_000_000)
    elif b"/mcp/never " in head.start_line:
        await until_gone(peer)
    else:
        await peer.body(head)
        await trio.sleep(0.9)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")


async def test_a_signal_lets_calls_finish_ends_streams_and_waits_for_no_stuck_reader(
    upstream: Upstream, tmp_path: Path
) -> None:
    grace = 1.2
    upstream.script = behave
    async with program_before(upstream, tmp_path, GRACE_SECONDS=str(grace)) as program:
        idle, kept, call, stream, stuck = [await connect(program) for _ in range(5)]
        await kept.send(request(b"GET", b"/health"))
        await kept.body(await kept.head())
        await stream.send(request(b"GET", b"/mcp/stream"))
        stream_head = await stream.head()
        await stuck.send(request(b"GET", b"/mcp/flood"))
        await call.send(request())
        await trio.sleep(0.2)

        program.process.send_signal(signal.SIGTERM)
        began = trio.current_time()
        with trio.fail_after(AT_ONCE):
            assert await stream.body(stream_head) == b"data: 1\n\n"
            assert await kept.closed(), "so that its client goes elsewhere"
        probe, late = await connect(program), await connect(program)
        await probe.send(request(b"GET", b"/ready"))
        head = await probe.head()
        assert (head.status, head.get(b"Connection")) == (503, b"close")
        await probe.body(head)
        assert await probe.closed()
        for peer in (late, idle):
            await peer.send(request())
            await refused_for_the_drain(peer, await peer.head())
        assert trio.current_time() - began < 2 * AT_ONCE
        head = await call.head()
        assert (head.status, await call.body(head)) == (200, b"done")
        assert await ended(program, grace + 1.5) == 0
        assert trio.current_time() - began < grace + 1.0 + 0.3
        for peer in (idle, kept, call, stream, stuck, late, probe):
            await peer.reset()


async def test_with_nothing_but_idle_clients_the_program_ends_at_once(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with program_before(upstream, tmp_path) as program:
        peers = [await connect(program) for _ in range(4)]
        await peers[0].send(request(b"GET", b"/health"))
        await peers[0].body(await peers[0].head())
        await peers[1].send(b"POST /mcp HTTP/1.1\r\nHo")
        await trio.sleep(0.2)
        program.process.send_signal(signal.SIGTERM)
        assert await ended(program, 1.0) == 0
        for peer in peers:
            assert await peer.closed()
            await peer.reset()


async def test_a_second_signal_ends_the_program_at_once_with_status_1(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = behave
    async with program_before(upstream, tmp_path, GRACE_SECONDS="30") as program:
        call, stuck = await connect(program), await connect(program)
        await call.send(request(b"POST", b"/mcp/never"))
        await stuck.send(request(b"GET", b"/mcp/flood"))
        await trio.sleep(0.4)
        program.process.send_signal(signal.SIGTERM)
        await trio.sleep(0.4)
        assert program.process.poll() is None
        program.process.send_signal(signal.SIGTERM)
        assert await ended(program, 1.0) == 1
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await call.head()
        await call.reset()
        await stuck.reset()


def test_after_a_sigkill_the_next_start_binds_the_same_port(tmp_path: Path) -> None:
    port, upstream_port = str(free_port()), str(free_port())
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = {"PORT": port, "UPSTREAM_PORT": upstream_port, "MCP_APP": "probe_server:mcp"}
        with discreet(folder, **settings) as program:
            program.port = int(port)
            program.url = f"http://127.0.0.1:{port}"
            program.wait_for("/health" if number else "/ready")
            connections = [socket.create_connection(("127.0.0.1", int(port))) for _ in range(3)]
            connections[0].sendall(slow_call())
            time.sleep(0.3)
            assert program.stop(signal.SIGKILL) == -signal.SIGKILL
            for connection in connections:
                connection.close()


# Restarts on a listener that somebody else holds.


HAND_DOWN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, sys.argv[2]])
"""


@contextmanager
def inherits(
    listener: socket.socket, folder: Path, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The program with the listener as file descriptor 3, as systemd hands it down."""
    output = folder / "output.txt"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with output.open("ab") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", HAND_DOWN, str(listener.fileno()), str(ROOT / "run.py")],
            cwd=folder,
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", "MCP_AUTH_TOKEN": TOKEN, **settings},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        yield process, output
    finally:
        process.kill()
        process.wait()


@dataclass
class FreshConnections:
    """A client that makes a connection for each request, and counts what becomes of them."""

    port: int
    answered: int = 0
    told_to_wait: int = 0
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            peer = Peer(await trio.open_tcp_stream("127.0.0.1", self.port))
            try:
                await self._ask(peer)
            except (EOFError, trio.BrokenResourceError, trio.TooSlowError) as error:
                self.failures.append(f"{type(error).__name__} {error}")
            finally:
                await peer.reset()
            await trio.sleep(0.003)

    async def _ask(self, peer: Peer) -> None:
        await peer.send(request())
        head = await peer.head()
        await peer.body(head)
        if head.status == 503 and head.get(b"retry-after"):
            self.told_to_wait += 1
        elif head.status == 200:
            self.answered += 1
        else:
            self.failures.append(head.raw.decode())


@only_in_ci
async def test_restarts_on_an_inherited_listener_lose_no_fresh_connection(
    upstream: Upstream, tmp_path: Path
) -> None:
    restarts, enough = 6, 80
    upstream.script = answer(b"fine")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        clients = FreshConnections(port)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(clients.run)
            for _ in range(restarts + 1):
                served = clients.answered
                with inherits(
                    listener, tmp_path, PORT="1", MCP_APP="", UPSTREAM_PORT=str(upstream.port)
                ) as (process, output):
                    with trio.fail_after(10):
                        while clients.answered < served + enough:
                            assert process.poll() is None, output.read_text()
                            await trio.sleep(0.01)
                    process.send_signal(signal.SIGTERM)
                    with trio.fail_after(5):
                        while process.poll() is None:
                            await trio.sleep(0.005)
                    assert process.returncode == 0
            nursery.cancel_scope.cancel()
    assert clients.failures == []
    assert clients.answered >= enough * (restarts + 1)
    assert f"listens at http://127.0.0.1:{port}/mcp" in output.read_text()
    assert pieces_in(output.read_text(), TOKEN) == set()
    assert "Traceback" not in output.read_text()


def test_an_announced_listener_that_is_not_there_is_one_clear_line_and_status_2(
    tmp_path: Path,
) -> None:
    with running(tmp_path, LISTEN_FDS="1") as program:
        assert program.process.wait(20) == 2
        assert program.output.splitlines() == ["LISTEN_FDS=1 announces sockets that are not there"]


def test_a_listener_that_was_meant_for_another_process_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN_FDS="1", LISTEN_PID="1", MCP_APP="") as program:
        program.wait_for("/health")
        assert httpx.get(program.url + "/health", trust_env=False).status_code == 200
