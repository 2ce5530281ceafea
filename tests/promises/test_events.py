"""Event streams: a comment when they fall silent, only ever between two whole events."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import fastmcp
import httpx
import httpx2
import mcp
import pytest
import trio
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client.streamable_http import streamable_http_client

from gatehouse.http.events import COMMENT
from tests.harness.event_source import cut, parsed
from tests.harness.house import open_house
from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN, Program, running
from tests.harness.wire import Head, Peer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.harness.house import House

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


END = b""
"""As a step of a script: the last chunk."""


def script_of(*steps: bytes | float, head: bytes = HEAD) -> Callable[[Peer, Head], Awaitable[None]]:
    """An upstream that sends chunks, pauses, and then stays silent until the gate goes."""

    async def script(peer: Peer, _: Head) -> None:
        await peer.send(head)
        for step in steps:
            if isinstance(step, bytes):
                await peer.send(chunk(step))
            else:
                await trio.sleep(step)
        if END not in steps:
            await until_gone(peer)

    return script


@dataclass
class Heard:
    """All that came after the head: chunk by chunk, with the seconds since the head."""

    head: Head
    chunks: list[tuple[float, bytes]]
    ended: bool

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.chunks)

    @property
    def comments(self) -> list[float]:
        return [seconds for seconds, data in self.chunks if data == COMMENT]

    @property
    def others(self) -> bytes:
        return b"".join(data for _, data in self.chunks if data != COMMENT)


async def listen(
    house: House, seconds: float, target: bytes = b"/mcp", method: bytes = b"GET"
) -> Heard:
    """Open a stream and take down what comes, for so long or until its proper end."""
    peer = await house.connect()
    await peer.send(house.raw(target, b"Accept: text/event-stream", method=method))
    head = await peer.head()
    began = trio.current_time()
    heard = Heard(head, [], ended=False)
    with trio.move_on_after(seconds):
        while data := await peer.chunk():
            heard.chunks.append((trio.current_time() - began, data))
        heard.ended = True
    await peer.reset()
    return heard


async def test_a_stream_silent_from_the_start_gets_a_comment_right_after_the_head() -> None:
    async with open_house() as house:  # as it is set by default: every 15 s
        house.upstream.script = script_of()
        heard = await listen(house, 1.0)
        (seconds,) = heard.comments
        assert seconds < 0.6
        assert heard.body == COMMENT


async def test_a_stream_that_stays_silent_gets_a_comment_after_each_interval() -> None:
    async with open_house(comment_seconds=0.3) as house:
        house.upstream.script = script_of()
        heard = await listen(house, 1.3)
        assert heard.others == b""
        assert 3 <= len(heard.comments) <= 4
        gaps = [after - before for before, after in pairwise(heard.comments)]
        assert min(gaps) > 0.2, gaps


async def test_no_comment_comes_while_events_come_faster() -> None:
    async with open_house(comment_seconds=0.4) as house:
        steps = [step for n in range(12) for step in (b"data: %d\n\n" % n, 0.1)]
        house.upstream.script = script_of(*steps, END)
        heard = await listen(house, 3.0)
        assert heard.ended
        assert heard.comments == []
        assert heard.body == b"".join(b"data: %d\n\n" % n for n in range(12))


async def test_after_an_event_silence_is_counted_anew() -> None:
    async with open_house(comment_seconds=0.6) as house:
        house.upstream.script = script_of(0.5, b"data: x\n\n")
        heard = await listen(house, 1.5)
        first, second = heard.comments
        assert first < 0.5
        assert 1.0 < second < 1.4


async def test_no_comment_gets_into_an_event_however_it_is_cut_and_one_comes_after_it() -> None:
    """Every place in an event, halves of line ends included: the upstream stops there for a while."""
    event = b"id: 1\r\ndata: x\r\n\r\n"
    heard: dict[int, Heard] = {}

    async def script(peer: Peer, head: Head) -> None:
        at = int(head.start_line.partition(b"at=")[2].split()[0])
        await script_of(event[:at], 0.6, event[at:])(peer, head)

    async def hear(house: House, at: int) -> None:
        heard[at] = await listen(house, 1.9, b"/mcp?at=%d" % at)

    async with open_house(comment_seconds=0.2) as house, trio.open_nursery() as nursery:
        house.upstream.script = script
        for at in range(1, len(event)):
            nursery.start_soon(hear, house, at)
    assert len(heard) == len(event) - 1
    for at, one in heard.items():
        assert one.body.startswith(event + COMMENT), at
        assert one.others == event
        assert one.comments[0] > 0.55


async def test_two_events_in_odd_chunks_pass_unchanged_with_comments_between_them_only() -> None:
    stream = b": hello\n\nevent: a\r\ndata: 1\r\n\r\nid: 2\ndata: 2\n\r\ndata: 3\ndata: 4\n\n"
    heard: list[Heard] = []

    async def script(peer: Peer, head: Head) -> None:
        dice = random.Random(head.start_line)  # noqa: S311 - no secret: the same each time
        chunks = cut(stream, {dice.randrange(len(stream)) for _ in range(6)})
        steps = [step for part in chunks for step in (part, dice.choice((0.0, 0.0, 0.25, 0.4)))]
        await script_of(*steps, END)(peer, head)

    async def hear(house: House, number: int) -> None:
        heard.append(await listen(house, 6.0, b"/mcp?n=%d" % number))

    async with open_house(comment_seconds=0.15) as house, trio.open_nursery() as nursery:
        house.upstream.script = script
        for number in range(60):
            nursery.start_soon(hear, house, number)
    assert all(one.ended for one in heard)
    assert all(one.others == stream for one in heard)
    assert all(parsed(one.body) == parsed(stream) for one in heard)
    assert sum(len(one.comments) for one in heard) > 10  # or the test shows nothing


async def test_a_reader_that_stalls_gets_every_byte_and_comments_at_borders_only() -> None:
    """The gate is then stuck in the middle of a write when a comment falls due."""
    event = b"data: " + b"x" * 1000 + b"\n\n"
    stream = event * 24_000
    size = 65_521  # so that chunks end anywhere

    async def script(peer: Peer, head: Head) -> None:
        await peer.send(HEAD)
        with trio.fail_after(20):
            for at in range(0, len(stream), size):
                await peer.stream.send_all(chunk(stream[at : at + size]))
        await peer.send(chunk(END))

    async with open_house(comment_seconds=0.1) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw(b"/mcp"))
        head = await peer.head()
        await trio.sleep(1.5)
        body = await peer.body(head)
        await peer.reset()
    assert body.replace(COMMENT, b"") == stream
    assert body.replace(event, b"").replace(COMMENT, b"") == b""


async def test_zero_switches_comments_off() -> None:
    async with open_house(comment_seconds=0) as house:
        house.upstream.script = script_of(0.5, b"data: x\n\n", 0.4, END)
        heard = await listen(house, 3.0)
        assert heard.ended
        assert heard.body == b"data: x\n\n"


async def listen_to_all(heads: list[bytes], *steps: bytes | float) -> list[Heard]:
    """Several streams at a time, which differ by their heads, from an upstream that does the same."""
    heard: dict[int, Heard] = {}

    async def script(peer: Peer, head: Head) -> None:
        number = int(head.start_line.partition(b"n=")[2].split()[0])
        await script_of(*steps, head=heads[number])(peer, head)

    async def hear(house: House, number: int) -> None:
        heard[number] = await listen(house, 1.2, b"/mcp?n=%d" % number)

    async with open_house(comment_seconds=0.1) as house, trio.open_nursery() as nursery:
        house.upstream.script = script
        for number in range(len(heads)):
            nursery.start_soon(hear, house, number)
    return [heard[number] for number in range(len(heads))]


def with_fields(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", *lines, b"", b""])


async def test_no_comment_gets_into_anything_but_a_plain_event_stream() -> None:
    heads = [
        with_fields(b"Content-Type: application/json"),
        with_fields(b"Content-Type: text/event-streams"),
        with_fields(b"Content-Type: application/json; x=text/event-stream"),
        with_fields(),
        with_fields(b"Content-Type: text/event-stream", b"Content-Encoding: gzip"),
    ]
    for heard in await listen_to_all(heads, 0.8, b"x", END):
        assert heard.ended
        assert heard.body == b"x"


async def test_an_event_stream_is_one_whatever_parameters_and_case_its_type_has() -> None:
    heads = [
        with_fields(b"Content-Type: text/event-stream; charset=utf-8"),
        with_fields(b"content-type: text/event-stream;charset=utf-8"),
        with_fields(b"Content-Type: Text/Event-Stream"),
    ]
    for heard in await listen_to_all(heads, 0.8, b"data: x\n\n", END):
        assert heard.comments
        assert heard.others == b"data: x\n\n"


async def test_no_comment_gets_into_an_event_stream_with_a_length() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n"
        )
        await trio.sleep(0.8)
        await peer.send(b"data: x\n\n")

    async with open_house(comment_seconds=0.1) as house:
        house.upstream.script = script
        head, body = await house.request()
        assert head.get(b"content-length") == b"9"
        assert body == b"data: x\n\n"


async def test_the_answer_to_head_gets_no_comment_and_the_connection_goes_on() -> None:
    async with open_house(comment_seconds=0.1) as house:
        house.upstream.script = script_of(head=HEAD)
        peer = await house.connect()
        await peer.send(house.raw(method=b"HEAD"))
        assert (await peer.head()).status == 200
        with trio.move_on_after(0.6):
            raise AssertionError(await peer.receive())
        await peer.send(house.raw(b"/health"))
        assert (await peer.head()).start_line == b"HTTP/1.1 200 OK"
        await peer.reset()


async def test_event_streams_get_comments_by_whatever_method_they_came() -> None:
    async def hear(house: House, method: bytes) -> None:
        assert (await listen(house, 0.6, method=method)).comments

    async with open_house(comment_seconds=0.1) as house, trio.open_nursery() as nursery:
        house.upstream.script = script_of()
        for method in (b"GET", b"POST", b"DELETE"):
            nursery.start_soon(hear, house, method)


async def test_a_client_of_http_1_0_gets_comments_without_chunks() -> None:
    async with open_house(comment_seconds=0.2) as house:
        house.upstream.script = script_of(0.6, b"data: x\n\n", END)
        peer = await house.connect()
        await peer.send(house.raw().replace(b"HTTP/1.1", b"HTTP/1.0"))
        head = await peer.head()
        assert head.get(b"transfer-encoding") is None
        body = b""
        while data := await peer.receive():
            body += data
        await peer.reset()
    assert body.startswith(COMMENT)
    assert body.replace(COMMENT, b"") == b"data: x\n\n"


async def test_a_client_that_leaves_between_comments_is_noticed() -> None:
    async with open_house(comment_seconds=0.1) as house:
        house.upstream.script = script_of()
        assert len((await listen(house, 0.6)).comments) > 1
        with trio.fail_after(1):
            await house.upstream.gone.wait()


async def test_an_upstream_that_breaks_off_after_comments_is_seen_as_cut() -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(HEAD)
        await trio.sleep(0.5)
        raise EOFError

    async with open_house(comment_seconds=0.1) as house:
        house.upstream.script = script
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        with pytest.raises(EOFError):
            await peer.body(head)
        await peer.reset()


# Real clients, with comments in between what they read.


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("events")
    with running(folder, MCP_APP="probe_server:mcp", COMMENT_SECONDS="0.2") as program:
        program.wait_for()
        yield program
        assert program.stop() == 0
        assert pieces_in(program.output, TOKEN) == set()


AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
STEPS, PAUSE = 3, 0.5


@asynccontextmanager
async def fastmcp_client(url: str, mode: str) -> AsyncIterator[fastmcp.Client[Any]]:
    transport = StreamableHttpTransport(url, headers=AUTHORIZED)
    async with fastmcp.Client(transport, mode=mode) as client:
        yield client


@asynccontextmanager
async def mcp_client(url: str, mode: str) -> AsyncIterator[mcp.Client]:
    async with httpx2.AsyncClient(headers=AUTHORIZED, timeout=20) as http:
        transport = streamable_http_client(url, http_client=http)
        async with mcp.Client(transport, mode=mode) as client:
            yield client


async def count(client: fastmcp.Client[Any] | mcp.Client) -> tuple[Any, list[float]]:
    """Call a tool that takes its time; its result, and the progress that was reported."""
    reports: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append(progress)

    arguments = {"to": STEPS, "pause": PAUSE}
    if isinstance(client, fastmcp.Client):
        called = await client.call_tool("count", arguments, progress_handler=on_progress)
        return called.data, reports
    result: Any = await client.call_tool("count", arguments, progress_callback=on_progress)
    return result.structured_content["result"], reports


def test_real_clients_of_both_eras_read_on_through_comments(program: Program) -> None:
    async def call(connect: Any, mode: str) -> tuple[Any, list[float]]:
        async with connect(program.endpoint, mode) as client:
            return await count(client)

    async def main() -> list[tuple[Any, list[float]]]:
        clients, modes = (fastmcp_client, mcp_client), ("legacy", "2026-07-28")
        calls = [call(connect, mode) for connect in clients for mode in modes]
        return await asyncio.wait_for(asyncio.gather(*calls), 20)

    assert asyncio.run(main()) == 4 * [(STEPS, [1.0, 2.0, 3.0])]


def test_between_the_progress_reports_of_a_real_server_there_are_comments(
    program: Program,
) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": 1,
    }
    arguments = {"to": 2, "pause": PAUSE}
    began = time.monotonic()
    answer = httpx.post(
        program.endpoint,
        headers={
            **AUTHORIZED,
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "count",
        },
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "count", "arguments": arguments, "_meta": meta},
        },
        timeout=20,
        trust_env=False,
    )
    assert time.monotonic() - began > 2 * PAUSE
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content.count(COMMENT) >= 2
    assert len(parsed(answer.content).dispatched) == 3  # two reports and the result
    assert parsed(answer.content) == parsed(answer.content.replace(COMMENT, b""))
