"""When the upstream fails: a clear 502 before the answer began, a cut one after."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.upstream.network import Transports
from tests.harness.house import House, open_house
from tests.harness.levels import connected, steady_house
from tests.harness.program import free_port
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[[Peer, Head], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def house(keep_alive: bool, caplog: pytest.LogCaptureFixture) -> AsyncIterator[House]:
    """A gate that must be as before after every test."""
    async with steady_house(caplog, keep_alive=keep_alive) as house:
        yield house


def assert_bad_gateway(head: Head, body: bytes) -> None:
    assert head.status == 502
    assert head.get(b"Content-Type") == b"application/json"
    assert json.loads(body)["error"]["code"] == -32012


async def test_an_upstream_that_refuses_is_502_and_serves_again_once_it_is_back(
    keep_alive: bool,
) -> None:
    async with open_house(keep_alive=keep_alive) as house, trio.open_nursery() as nursery:
        await house.upstream.stop()
        with trio.fail_after(2):
            head, body = await house.request(method=b"POST", body=b"{}")
        assert_bad_gateway(head, body)
        assert b"may be starting" in body
        assert head.get(b"Retry-After") is not None
        await nursery.start(house.upstream.serve)
        head, _ = await house.request(method=b"POST", body=b"{}")
        assert head.status == 200
        await house.upstream.stop()
        head, body = await house.request(method=b"POST", body=b"{}")
        assert_bad_gateway(head, body)
        assert b"has stopped answering" in body
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", "nobody listens there: is it running, and is the port right?"),
        ("nowhere.invalid", "its name is not found: is the name right, and does DNS answer?"),
        ("255.255.255.255", "no way leads there: is the address right, and the network up?"),
    ],
)
async def test_the_log_says_why_the_upstream_cannot_be_reached_and_what_to_look_at(
    host: str, why: str, access_log: pytest.LogCaptureFixture
) -> None:
    async with open_house(upstream_host=host, upstream_port=free_port()) as house:
        assert_bad_gateway(*await house.request(method=b"POST", body=b"{}"))
    (line,) = [entry.message for entry in access_log.records if entry.name == "gate"]
    assert line.endswith(f"asked POST /mcp, failed: {why}")


async def test_an_upstream_that_speaks_tls_is_told_from_one_that_babbles(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    house.upstream.script = said(b"\x15\x03\x01\x00\x02\x02\x46", close=True)
    assert_bad_gateway(*await house.request(method=b"POST", body=b"{}"))
    assert "it speaks TLS, and the gate asks it without" in access_log.text


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"HTTP/1.1 2",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"\x00" * 300,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 30_000,
    ],
)
async def test_an_upstream_that_dies_or_babbles_before_its_head_is_502(
    house: House, garbage: bytes
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(garbage)
        await peer.stream.aclose()

    house.upstream.script = script
    for _ in range(2):
        assert_bad_gateway(*await house.request(method=b"POST", body=b"{}"))
    house.upstream.script = answer()
    assert (await house.request())[0].status == 200


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfxx",
    ],
)
async def test_an_answer_that_breaks_off_is_cut_for_the_client_too(
    house: House, cut: bytes
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(cut)
        await peer.stream.aclose()

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(house.raw())
    head = await peer.head()
    assert head.status == 200
    with pytest.raises((EOFError, trio.BrokenResourceError)):
        await peer.body(head)
    await peer.stream.aclose()
    house.upstream.script = answer()
    assert (await house.request())[0].status == 200


@pytest.mark.parametrize(
    "status",
    [b"301 Moved", b"302 Found", b"303 See", b"307 Temporary", b"308 Permanent", b"300 Choices"],
)
async def test_a_redirect_is_never_relayed_and_the_log_names_the_setting(
    house: House, status: bytes, access_log: pytest.LogCaptureFixture
) -> None:
    location = b"Location: http://127.0.0.1:7870/secret-place/?a=1"
    house.upstream.script = answer(b"moved", location, status=status)
    head, body = await house.request(method=b"POST", body=b"{}")
    assert_bad_gateway(head, body)
    assert b"secret-place" not in head.raw + body
    assert head.get(b"Location") is None
    assert any("UPSTREAM_PATH" in record.getMessage() for record in access_log.records)


async def test_a_switch_of_protocols_is_not_relayed(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        await until_gone(peer)

    house.upstream.script = script
    assert_bad_gateway(*await house.request())


async def test_what_the_upstream_sends_too_much_never_reaches_the_next_request(
    house: House,
) -> None:
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + poison)

    house.upstream.script = script
    for _ in range(3):
        head, body = await house.request(method=b"POST", body=b"{}")
        assert (head.status, body) == (200, b"{}")


async def test_an_upstream_that_answers_an_upload_early_is_heard(
    house: House,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nbig!")
        await peer.stream.aclose()

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(house.raw(b"/mcp", b"Content-Length: 3000000", method=b"POST"))
    async with trio.open_nursery() as nursery:

        async def upload() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.stream.send_all(b"x" * 3_000_000)

        nursery.start_soon(upload)
        head = await peer.head()
        assert head.status in (413, 502)
        await peer.body(head)
        nursery.cancel_scope.cancel()
    await peer.stream.aclose()


async def test_an_upstream_that_answers_early_and_goes_on_reading_is_heard(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        await peer.body(head)

    house.upstream.script = script
    async with connected(house) as peer:
        await peer.send(house.raw(b"/mcp", b"Content-Length: 200000", method=b"POST"))
        await peer.send(b"x" * 200_000)
        head = await peer.head()
        assert (head.status, await peer.body(head)) == (401, b"no")


# The upstream's words.


ODDITIES = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "an endless length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "an unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    "a NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "a bell in a value": b"HTTP/1.1 200 OK\r\nX: a\x07b\r\nContent-Length: 2\r\n\r\n{}",
    "a CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    "a DEL in a value": b"HTTP/1.1 200 OK\r\nX: a\x7fb\r\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\n{}",
    "an empty name": b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\n{}",
    "status 99": b"HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol": b"220 mail.example ESMTP\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("oddity", ODDITIES)
async def test_an_answer_that_is_no_http_is_502_and_none_of_it_is_relayed(
    house: House, oddity: str
) -> None:
    house.upstream.script = said(ODDITIES[oddity])
    assert_bad_gateway(*await house.request(method=b"POST", body=b"{}"))


def said(data: bytes, *, close: bool = False) -> Script:
    """A script that reads the request, sends exactly these bytes, and then waits, or closes."""

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(data)
        if close:
            raise EOFError
        await until_gone(peer)

    return script


async def test_a_head_without_an_end_is_502(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-More: and more\r\n" * 100)

    house.upstream.script = script
    assert_bad_gateway(*await house.request())


async def test_interim_answers_are_dropped_and_the_final_one_is_relayed(house: House) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n"

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(interim * 5 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    house.upstream.script = script
    head, body = await house.request(method=b"POST", body=b"{}")
    assert (head.status, body, head.get(b"Link")) == (200, b"{}", None)


async def test_trailers_are_dropped_and_the_body_is_whole(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"2;why=not\r\n{}\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n"
        )

    house.upstream.script = script
    async with connected(house) as peer:
        for _ in range(3):
            await peer.send(house.raw())
            head = await peer.head()
            assert head.get(b"Trailer") is None
            assert await peer.until(b"0\r\n\r\n") == b"2\r\n{}\r\n0\r\n\r\n"


async def test_an_answer_framed_in_both_ways_is_relayed_in_one(house: House) -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
    house.upstream.script = said(both + b"2\r\n{}\r\n0\r\n\r\n", close=True)
    head, body = await house.request()
    assert (head.get(b"Content-Length"), body) == (None, b"{}")


# Where it dies.


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nmore\r\n0\r\n\r\n"
)
MEASURED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalfmore"


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("whole", [CHUNKED, MEASURED], ids=["chunked", "Content-Length"])
async def test_wherever_an_answer_breaks_off_it_never_looks_whole(
    house: House, whole: bytes, version: bytes
) -> None:
    for end in range(len(whole) + 1):
        house.upstream.script = said(whole[:end], close=True)
        async with connected(house) as peer:
            await peer.send(house.raw(b"/mcp", b"Connection: close").replace(b"HTTP/1.1", version))
            received, clean = await everything(peer)
        if end < whole.index(b"\r\n\r\n") + 4:
            assert Head(received).status == 502
        elif end == len(whole):
            assert clean
            assert b"half" in received
            assert b"more" in received
        else:
            framed = received.endswith((b"0\r\n\r\n", b"halfmore"))
            measured = b"Content-Length" in received or b"Transfer-Encoding" in received
            assert not (clean and (framed or not measured)), (end, received)


async def everything(peer: Peer) -> tuple[bytes, bool]:
    """All that comes until the end of the connection, and whether that was a clean one."""
    received = b""
    try:
        while data := await peer.receive():
            received += data
    except trio.BrokenResourceError:
        return received, False
    return received, True


async def test_an_upstream_that_closes_a_connection_at_rest_costs_no_request(
    house: House,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await answer()(peer, head)
        raise EOFError

    house.upstream.script = script
    for _ in range(20):
        assert (await house.request(method=b"POST", body=b"{}"))[0].status == 200
        await trio.sleep(0.01)


# When it takes its time.


async def test_two_hundred_requests_that_get_no_answer_are_504_and_leave_no_slot_behind(
    caplog: pytest.LogCaptureFixture, keep_alive: bool
) -> None:
    async def ask(house: House) -> None:
        head, body = await house.request(method=b"POST", body=b"{}")
        assert json.loads(body)["error"]["code"] == -32012
        statuses.append(head.status)

    statuses: list[int] = []
    async with steady_house(caplog, keep_alive=keep_alive, upstream_seconds=0.5) as house:
        house.upstream.script = said(b"")
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(ask, house)
    assert statuses == [504] * 200


@pytest.mark.parametrize("framing", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
async def test_an_upstream_that_stops_taking_an_upload_is_504(
    caplog: pytest.LogCaptureFixture, framing: bytes
) -> None:
    async def deaf(peer: Peer, head: Head) -> None:
        await over.wait()
        await until_gone(peer)

    over = trio.Event()
    async with steady_house(caplog, upstream_seconds=0.5, max_body_bytes=10**9) as house:
        house.upstream.script = deaf
        async with connected(house) as peer, trio.open_nursery() as nursery:
            await peer.send(house.raw(b"/mcp", framing, method=b"POST"))

            async def upload() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while True:
                        await peer.stream.send_all(b"10000\r\n" + bytes(65536) + b"\r\n")

            nursery.start_soon(upload)
            head = await peer.head()
            assert head.status == 504
            await peer.body(head)
            nursery.cancel_scope.cancel()
        over.set()


async def test_endless_interim_answers_are_504(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer, head: Head) -> None:
        while True:
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await trio.sleep(0.01)

    async with steady_house(caplog, upstream_seconds=0.5) as house:
        house.upstream.script = script
        assert (await house.request())[0].status == 504


LIMITS = "upstream_seconds header_seconds keep_alive_seconds body_seconds write_seconds".split()


async def test_a_silent_event_stream_stays_open_and_an_event_passes_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = 0.0

    async def script(peer: Peer, head: Head) -> None:
        nonlocal sent
        await peer.send(STREAM)
        for _ in range(2):
            await trio.sleep(0.8)
            sent = trio.current_time()
            await peer.send(b"9\r\ndata: 1\n\n\r\n")
        await until_gone(peer)

    async with steady_house(
        caplog,
        comment_seconds=0,
        **dict.fromkeys(LIMITS, 0.3),  # type: ignore[arg-type]
    ) as house:
        house.upstream.script = script
        async with connected(house) as peer:
            await peer.send(house.raw())
            await peer.head()
            for _ in range(2):
                assert await peer.chunk() == b"data: 1\n\n"
                assert trio.current_time() - sent < 0.1


async def test_a_thousand_requests_cancelled_within_ten_milliseconds_leave_every_slot_free(
    caplog: pytest.LogCaptureFixture, keep_alive: bool
) -> None:
    chance = random.Random(51)  # noqa: S311

    async def slowly(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await trio.sleep(chance.random() * 0.01)
        await answer()(peer, Head(b"\r\n\r\n"))

    async def cancel(house: House, held: trio.Semaphore) -> None:
        async with held, connected(house) as peer:
            await peer.stream.send_all(house.raw(method=b"POST", body=b"{}"))
            await trio.sleep(chance.random() * 0.01)

    async with steady_house(caplog, keep_alive=keep_alive) as house:
        house.upstream.script = slowly
        held = trio.Semaphore(40)
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(cancel, house, held)
        house.upstream.script = answer()
        await house.request()  # has its turn when the gate has seen the others go
        with trio.fail_after(4):  # a slot that is lost stays lost
            for _ in range(20):
                assert (await house.request(method=b"POST", body=b"{}"))[0].status == 200


# A process that dies.

PROGRAM = """
import asyncio, sys

async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100000\\r\\n\\r\\n" + bytes(100000))
            await writer.drain()
            await asyncio.sleep(0)
    except (EOFError, OSError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def start(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as stdout:
        assert stdout.readline() == b"ready\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def test_an_upstream_that_is_killed_frozen_and_restarted_under_load_is_missed_only_while_down(
    caplog: pytest.LogCaptureFixture, keep_alive: bool
) -> None:
    up = True
    changed = 0
    seen: dict[bool, set[int | str]] = {True: set(), False: set()}

    async def ask(house: House) -> int | str:
        try:
            async with connected(house) as peer:
                await peer.send(house.raw(method=b"POST", body=b"{}"))
                head = await peer.head()
                await peer.body(head)
                return head.status
        except (EOFError, trio.BrokenResourceError):
            return "cut"

    async def load(house: House) -> None:
        while True:
            before = changed
            result = await ask(house)
            seen[up and before == changed].add(result)

    async with steady_house(caplog, keep_alive=keep_alive, upstream_seconds=0.3) as house:
        port = free_port()
        scripted = house.gate.upstream
        house.gate.upstream = Transports("127.0.0.1", port, idle_seconds=15 * keep_alive)
        process = start(port)
        try:
            with trio.fail_after(15):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(load, house)
                    await trio.sleep(0.2)
                    for trouble in ("kill", "freeze"):
                        up = False
                        changed += 1
                        if trouble == "kill":
                            await trio.to_thread.run_sync(kill, process)
                        else:
                            process.send_signal(signal.SIGSTOP)
                        await trio.sleep(0.5)
                        if trouble == "kill":
                            process = await trio.to_thread.run_sync(start, port)
                        else:
                            process.send_signal(signal.SIGCONT)
                        up = True
                        changed += 1
                        assert await ask(house) == 200
                        await trio.sleep(0.1)
                    nursery.cancel_scope.cancel()
        finally:
            kill(process)
            await house.gate.upstream.aclose()
            house.gate.upstream = scripted
    assert seen[True] == {200}
    assert seen[False] >= {502, 504}
    assert seen[False] <= {200, 502, 503, 504, "cut"}
