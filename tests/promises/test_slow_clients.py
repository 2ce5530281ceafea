"""Slow, huge and vanishing clients: a clear refusal, memory that stays flat, and nothing left behind."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.harness.house import House
from tests.harness.levels import connected, settled, steady_house
from tests.harness.program import TOKEN, running
from tests.harness.uploads import FRAMINGS, last, piece, reading, refusal, upload_head
from tests.harness.wire import Head, Peer, Upstream, answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIB = 1024 * 1024


async def refused(house: House, request: bytes, status: int) -> None:
    async with connected(house) as peer:
        await peer.send(request)
        await refusal(peer, status)


# Too large.


async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, max_body_bytes=1000) as house:
        async with trio.open_nursery() as nursery:
            for size in (1001, 10**9, 10**18):
                nursery.start_soon(refused, house, upload_head("Content-Length", size), 413)
        assert house.upstream.connections == 0
        async with connected(house) as peer:
            await peer.send(house.raw(method=b"POST", body=b"x" * 1000))
            assert (await peer.head()).status == 200


async def test_chunks_over_the_limit_are_refused_and_never_look_complete_upstream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole: list[bool] = []

    async def script(peer: Peer, head: Head) -> None:
        await reading(peer, head)
        whole.append(True)

    async with steady_house(caplog, max_body_bytes=100_000) as house:
        for end in (b"", last("chunked")):
            house.upstream.script = script
            async with connected(house) as peer:
                await peer.send(upload_head("chunked", 0))
                for _ in range(11):
                    await peer.send(piece("chunked", bytes(10_000)))
                await peer.send(end)
                await refusal(peer, 413)
            with trio.fail_after(1):
                await house.upstream.gone.wait()
            house.upstream.gone = trio.Event()
        assert whole == []


# Too slow.


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("pace", ["nothing", "a byte now and then"])
async def test_a_body_that_comes_too_slowly_is_refused_and_never_looks_complete_upstream(
    caplog: pytest.LogCaptureFixture, framing: str, pace: str
) -> None:
    whole: list[bool] = []

    async def script(peer: Peer, head: Head) -> None:
        await reading(peer, head)
        whole.append(True)

    async with steady_house(caplog, body_seconds=0.5) as house:
        house.upstream.script = script
        async with connected(house) as peer, trio.open_nursery() as nursery:
            await peer.send(upload_head(framing, 1000))
            began = trio.current_time()

            async def drip() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    for _ in range(900):
                        await peer.stream.send_all(piece(framing, b"x"))
                        await trio.sleep(0.05)

            if pace != "nothing":
                nursery.start_soon(drip)
            head = await peer.head()
            assert head.status == 408
            assert 0.4 < trio.current_time() - began < 1.0
            await peer.body(head)
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await house.upstream.gone.wait()
        assert whole == []


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_large_body_may_take_longer_if_it_comes_fast(
    caplog: pytest.LogCaptureFixture, framing: str
) -> None:
    async with steady_house(caplog, body_seconds=0.2) as house:
        house.upstream.script = reading
        async with connected(house) as peer:
            await peer.send(upload_head(framing, 12 * 32768))
            for _ in range(12):
                await peer.send(piece(framing, bytes(32768)))
                await trio.sleep(0.05)
            await peer.send(last(framing))
            assert (await peer.head()).status == 200


async def test_the_time_that_the_upstream_takes_does_not_count_against_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def slowly(peer: Peer, head: Head) -> None:
        await trio.sleep(1.0)
        await reading(peer, head)

    size = 4 * MIB
    async with steady_house(caplog, body_seconds=0.3) as house:
        house.upstream.script = slowly
        async with connected(house) as peer:
            await peer.send(upload_head("Content-Length", size))
            await peer.send(bytes(size))
            assert (await peer.head()).status == 200


async def test_a_body_for_a_page_of_the_gates_own_is_waited_for_only_briefly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house:
        with trio.fail_after(4):
            async with trio.open_nursery() as nursery:
                for target, status in ((b"/health", 405), (b"/", 405), (b"/nowhere", 404)):
                    request = house.raw(target, b"Content-Length: 10", method=b"POST")
                    nursery.start_soon(refused, house, request, status)


# Refused while uploading.

REFUSED = [  # status, framing, whether a token comes with it
    (401, "Content-Length", False),
    (401, "chunked", False),
    (413, "Content-Length", True),
    (413, "chunked", True),
]


async def test_fifty_refused_uploads_each_read_the_whole_refusal_and_leave_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def visit(house: House, status: int, framing: str, token: bool) -> None:
        async with connected(house) as peer, trio.open_nursery() as nursery:

            async def upload() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await peer.stream.send_all(upload_head(framing, 50 * MIB, token=token))
                    for _ in range(50 * 16):
                        await peer.stream.send_all(piece(framing, bytes(MIB // 16)))

            nursery.start_soon(upload)
            head = await peer.head()
            assert head.status == status
            assert json.loads(await peer.body(head))["error"]["message"]
            read.append(status)
            nursery.cancel_scope.cancel()

    read: list[int] = []
    async with steady_house(caplog) as house:
        house.upstream.script = reading
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(visit, house, *REFUSED[number % len(REFUSED)])
    assert len(read) == 50


async def test_a_client_that_reads_only_after_its_whole_upload_gets_the_refusal_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house:
        for _ in range(5):
            async with connected(house) as peer:
                await peer.send(upload_head("Content-Length", 20 * MIB, token=False))
                await peer.send(bytes(20 * MIB))
                await refusal(peer, 401)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_upload_that_is_broken_off_is_seen_upstream_within_a_second(
    caplog: pytest.LogCaptureFixture, keep_alive: bool, framing: str
) -> None:
    whole: list[bool] = []

    async def script(peer: Peer, head: Head) -> None:
        await reading(peer, head)
        whole.append(True)

    async with steady_house(caplog, keep_alive=keep_alive) as house:
        for size in (1, 1000, 300_000):
            house.upstream.script = script
            house.upstream.gone = trio.Event()
            async with connected(house) as peer:
                await peer.send(upload_head(framing, MIB) + piece(framing, bytes(size)))
                with trio.fail_after(5):
                    while len(house.upstream.heads) == 0:
                        await trio.sleep(0.01)
            with trio.fail_after(1):
                await house.upstream.gone.wait()
            house.upstream.heads.clear()
        assert whole == []
        await settled(house)


# Memory.


def resident(pid: int) -> float:
    """The memory that a process holds, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def growth(
    folder: Path,
    script: Callable[[Peer, Head], Awaitable[None]],
    exchange: Callable[[Peer], Awaitable[None]],
    **settings: str,
) -> float:
    """By how many MiB a program of its own grows, at most, during an exchange."""
    upstream = Upstream()
    peak = 0.0

    async def watch(pid: int) -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident(pid))
            await trio.sleep(0.02)

    with running(folder, MCP_APP="", ALLOWED_HOSTS="gate.example,127.0.0.1", **settings) as program:
        async with trio.open_nursery() as nursery:
            upstream.port = program.upstream_port
            await nursery.start(upstream.serve)
            await trio.to_thread.run_sync(program.wait_for)
            for turn in (answer(), script):
                upstream.script = turn
                peer = Peer(await trio.open_tcp_stream("127.0.0.1", program.port))
                if turn is script:
                    before = resident(program.process.pid)
                    nursery.start_soon(watch, program.process.pid)
                    await exchange(peer)
                else:
                    await peer.send(upload_head("Content-Length", 2) + b"{}")
                    assert (await peer.head()).status == 200
                await peer.stream.aclose()
            nursery.cancel_scope.cancel()
        assert TOKEN not in program.output
    return peak - before


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_large_upload_leaves_memory_flat(tmp_path: Path, framing: str) -> None:
    size = 128 * MIB

    async def upload(peer: Peer) -> None:
        await peer.send(upload_head(framing, size))
        block = piece(framing, bytes(MIB))
        for _ in range(size // MIB):
            await peer.send(block)
        await peer.send(last(framing))
        assert (await peer.head()).status == 200

    assert await growth(tmp_path, reading, upload, MAX_BODY_BYTES=str(size)) <= 16


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_large_download_leaves_memory_flat_at_any_pace(
    tmp_path: Path, framing: str
) -> None:
    size = 128 * MIB
    field = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % size

    async def large(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
        block = piece(framing, bytes(MIB))
        for _ in range(size // MIB):
            await peer.send(block)
        await peer.send(last(framing))

    async def download(peer: Peer) -> None:
        await peer.send(upload_head("Content-Length", 2) + b"{}")
        await peer.head()
        for _ in range(10):  # a slow reader first
            await peer.stream.receive_some(8192)
            await trio.sleep(0.05)
        with trio.fail_after(15):
            rest = size - MIB
            while rest > 0:
                rest -= len(await peer.stream.receive_some(MIB))

    assert await growth(tmp_path, large, download) <= 16
