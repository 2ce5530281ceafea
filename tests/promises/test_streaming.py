"""Streaming: both ways as it comes, with back-pressure, and an end for whoever leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.upstream.transport import LARGE_BYTES
from tests.harness.house import BEARER, House, network_only, open_house
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def open_stream(house: House) -> Peer:
    peer = await house.connect()
    await peer.send(house.raw(b"/mcp", b"Accept: text/event-stream"))
    return peer


async def test_the_head_arrives_before_the_first_byte_of_the_body(house: House) -> None:
    seen = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await peer.send(STREAM)
        await seen.wait()
        await peer.send(chunk(b"data: 1\r\n\r\n") + b"0\r\n\r\n")

    house.upstream.script = script
    peer = await open_stream(house)
    head = await peer.head()
    assert head.get(b"Content-Type") == b"text/event-stream"
    seen.set()
    assert await peer.chunk() == b"data: 1\r\n\r\n"
    assert await peer.chunk() == b""
    await peer.stream.aclose()


async def test_each_event_arrives_before_the_next_one_is_sent(house: House) -> None:
    go_on_send, go_on_receive = trio.open_memory_channel[None](0)

    async def script(peer: Peer, head: Head) -> None:
        await peer.send(STREAM)
        for number in range(5):
            await peer.send(chunk(b"id: %d\r\ndata: x\r\n\r\n" % number))
            await go_on_receive.receive()
        await peer.send(b"0\r\n\r\n")

    house.upstream.script = script
    peer = await open_stream(house)
    await peer.head()
    for number in range(5):
        assert await peer.chunk() == b"id: %d\r\ndata: x\r\n\r\n" % number
        with trio.fail_after(5):
            await go_on_send.send(None)
    assert await peer.chunk() == b""
    await peer.stream.aclose()


async def test_an_upload_arrives_piece_by_piece(house: House) -> None:
    arrived_send, arrived = trio.open_memory_channel[bytes](10)

    async def script(peer: Peer, head: Head) -> None:
        while piece := await peer.chunk():
            await arrived_send.send(piece)
        await peer.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(
        b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n"
        + BEARER
        + b"\r\n"
    )
    for piece in (b"one", b"two", b"three"):
        await peer.send(chunk(piece))
        with trio.fail_after(5):
            assert await arrived.receive() == piece
    await peer.send(b"0\r\n\r\n")
    assert (await peer.head()).status == 202
    await peer.stream.aclose()


async def pushed(send: Callable[[bytes], Awaitable[None]], limit: int) -> int:
    """How many bytes go out before the other side takes no more."""
    count = 0
    with trio.move_on_after(1.0) as patience:
        while count < limit:
            await send(b"x" * 65536)
            count += 65536
            patience.deadline = trio.current_time() + 1.0
    return count


MANY = 256 * 1024 * 1024


async def test_a_client_that_reads_slowly_slows_the_upstream_down(house: House) -> None:
    sent = trio.Event()
    count = 0

    async def script(peer: Peer, head: Head) -> None:
        nonlocal count
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        count = await pushed(peer.stream.send_all, MANY)
        sent.set()

    house.upstream.script = script
    peer = await open_stream(house)
    await peer.head()
    with trio.fail_after(30):
        await sent.wait()
    assert count < 64 * 1024 * 1024  # the sockets' own buffers, and no more
    await peer.reset()


async def test_an_upstream_that_reads_slowly_slows_the_upload_down() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await trio.sleep_forever()

    async with open_house(max_body_bytes=MANY) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw(b"/mcp", b"Content-Length: %d" % MANY, method=b"POST"))
        assert await pushed(peer.stream.send_all, MANY) < 64 * 1024 * 1024
        await peer.reset()


async def test_a_client_that_leaves_a_stream_ends_the_upstream_exchange_at_once(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(STREAM + chunk(b"data: 1\r\n\r\n"))
        await until_gone(peer)

    house.upstream.script = script
    peer = await open_stream(house)
    await peer.head()
    await peer.chunk()
    await peer.stream.aclose()
    with trio.fail_after(1):
        await house.upstream.gone.wait()
    await logged(access_log, "client left")


async def test_a_client_that_leaves_before_the_answer_ends_the_upstream_exchange_at_once(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    asked = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        asked.set()
        await until_gone(peer)

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(house.raw(method=b"POST", body=b"{}"))
    with trio.fail_after(5):
        await asked.wait()
    await peer.reset()
    with trio.fail_after(1):
        await house.upstream.gone.wait()
    await logged(access_log, "POST /mcp 499")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_an_upload_that_is_cut_never_looks_complete_upstream(
    house: House, framing: bytes
) -> None:
    complete = False

    async def script(peer: Peer, head: Head) -> None:
        nonlocal complete
        await peer.body(head)
        complete = True

    house.upstream.script = script
    peer = await house.connect()
    head = b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\n" + framing + b"\r\n" + BEARER + b"\r\n"
    await peer.send(head + (chunk(b"half") if b"chunked" in framing else b"half"))
    with trio.fail_after(5):
        while not house.upstream.heads:
            await trio.sleep(0.01)
    await peer.stream.aclose()
    with trio.fail_after(1):
        await house.upstream.gone.wait()
    assert not complete


async def test_after_many_clients_left_the_gate_serves_as_before(house: House) -> None:
    async def silent(peer: Peer, head: Head) -> None:
        await until_gone(peer)

    tasks = trio.lowlevel.current_statistics().tasks_living
    house.upstream.script = silent
    for number in range(60):
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        await trio.sleep(0.0005 * (number % 12))
        await peer.reset()
    with trio.fail_after(8):
        while trio.lowlevel.current_statistics().tasks_living > tasks:
            await trio.sleep(0.05)
    house.upstream.script = answer()
    for _ in range(20):
        head, _ = await house.request(method=b"POST", body=b"{}")
        assert head.status == 200


async def logged(log: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until a line of the access log holds `text`."""
    with trio.fail_after(5):
        while not any(text in record.getMessage() for record in log.records):
            await trio.sleep(0.01)


# Large answers with a length, which are read past h11.

LARGE_BODY = b",".join(b"%d" % number for number in range(200_000))[: LARGE_BYTES + 70_001]


def large(*pieces: bytes) -> Callable[[Peer, Head], Awaitable[None]]:
    """An upstream that announces LARGE_BODY and sends these pieces, and after them its end."""

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE_BODY))
        if head.start_line.startswith(b"HEAD"):
            return
        for piece in pieces:
            await peer.send(piece)

    return script


@network_only
@pytest.mark.parametrize("first", [0, 1, 5000, len(LARGE_BODY)])
@pytest.mark.parametrize("extra", [b"", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"])
async def test_a_large_answer_passes_whole_and_nothing_of_what_follows_it(
    house: House, first: int, extra: bytes
) -> None:
    house.upstream.script = large(LARGE_BODY[:first], LARGE_BODY[first:] + extra)
    for _ in range(2):
        head, body = await house.request(b"/mcp")
        assert head.get(b"content-length") == b"%d" % len(LARGE_BODY)
        assert body == LARGE_BODY
    house.upstream.script = answer(b"good")
    _, body = await house.request(b"/mcp")
    assert body == b"good"


@network_only
async def test_a_large_answer_that_breaks_off_is_cut_for_the_client_too(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await large(LARGE_BODY[:-1])(peer, head)
        await peer.stream.aclose()

    house.upstream.script = script
    async with (await house.connect()).stream as stream:
        peer = Peer(stream)
        await peer.send(house.raw())
        head = await peer.head()
        with pytest.raises(EOFError):
            await peer.body(head)


@network_only
async def test_a_head_request_for_a_large_answer_is_over_with_its_head(house: House) -> None:
    house.upstream.script = large()
    for _ in range(2):
        head, _ = await house.request(b"/mcp", method=b"HEAD")
        assert head.get(b"content-length") == b"%d" % len(LARGE_BODY)
