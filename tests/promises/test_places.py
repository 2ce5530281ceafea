"""Places for connections: whoever holds many, a good token finds room, and what ended is counted and told."""

from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from gatehouse.records.ends import SAYS
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import House, open_house
from tests.harness.levels import gone, steady_house
from tests.harness.program import TOKEN, running
from tests.harness.wire import Peer, until_gone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.wire import Head

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def attack(house: House, address: str, sends: bytes) -> socket.socket:
    sock = socket.socket()
    sock.bind((address, 0))
    sock.connect(("127.0.0.1", house.port))
    sock.setblocking(False)
    sock.send(sends)
    await trio.sleep(0.002)
    return sock


async def silent(peer: Peer, head: Head) -> None:
    await peer.send(STREAM)
    await until_gone(peer)


HEALTH = b"GET /health HTTP/1.1\r\nHost: gate.example\r\n\r\n"
BODY = b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 99\r\n\r\nx"


@pytest.mark.parametrize(
    ("sends", "hops"),
    [(HEALTH, 0), (b"GET /h", 0), (b"", 0), (BODY, 0), (HEALTH, 1)],
    ids=["resting", "slow heads", "nothing", "bodies that stop", "behind a front"],
)
async def test_a_good_token_finds_room_whoever_holds_the_places(
    caplog: pytest.LogCaptureFixture, sends: bytes, hops: int
) -> None:
    async with steady_house(caplog, max_connections=40, trusted_hops=hops) as house:
        house.upstream.script = silent
        stream = await house.connect()
        await stream.send(house.raw())
        await stream.head()
        named = sends.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 1)
        # Some from one address alone, then many addresses at once.
        socks = [await attack(house, "127.0.0.1", named if hops else sends) for _ in range(60)]
        socks += [await attack(house, f"127.0.1.{number}", sends) for number in range(1, 60)]
        began = trio.current_time()
        head, _ = await house.request(b"/health")
        assert head.status == 200
        with trio.fail_after(1):
            peer = await house.connect()
            await peer.send(house.raw())
            assert (await peer.head()).status == 200
        assert trio.current_time() - began < 0.5
        assert house.connections.places.held <= 40
        assert house.connections.ends.connections["given-up"] > 50
        for sock in socks:
            sock.close()
        for one in (stream, peer):  # neither was cut
            assert await one.receive() != b""  # a comment
            await one.reset()
    assert caplog.text.count(SAYS["given-up"].partition("%s")[0]) == 1


async def test_who_is_given_up_with_a_request_on_its_way_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog, max_connections=3) as house:
        peers = []
        for half in (b"GET /health HTTP/1.1\r\nHo", b"", house.raw()[:-2]):
            peers.append(await house.connect())
            if half:
                await peers[-1].send(half)
            await trio.sleep(0.02)
        newcomers = [await house.connect() for _ in range(3)]
        for peer in peers:
            head = await peer.head()
            assert (head.status, head.get(b"Retry-After")) == (503, b"5")
            await peer.body(head)
            assert await gone(peer)
        for peer in [*peers, *newcomers]:
            await peer.reset()


async def test_a_name_that_holds_all_it_may_leaves_room_for_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    value = "mcpgate_" + "b" * 40
    tokens = [Token("bob", (TokenValue(digest_of(value)),))]
    async with steady_house(caplog, max_connections=16, tokens=tokens) as house:
        house.upstream.script = silent
        streams = []
        status = 200
        while status == 200:
            streams.append(await house.connect())
            await streams[-1].send(house.raw())
            status = (await streams[-1].head()).status
        assert (status, len(streams) - 1) == (429, 10)
        mine = b"Authorization: Bearer " + value.encode()
        peer = await house.connect()
        await peer.send(house.raw(b"/mcp", mine, token=False))
        assert (await peer.head()).status == 200
        for one in (*streams, peer):
            await one.reset()
        with trio.fail_after(5):
            while house.connections.open:
                await trio.sleep(0.01)


async def test_what_no_record_tells_of_is_counted_and_told_within_a_budget(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scrapes = make_value()
    async with open_house(header_seconds=0.2, metrics_token=scrapes) as house:
        bad = [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\x00\r\n\r\n", b"GET /" + b"a" * 60_000]
        bad += [b"GET / HTTP/1.1\r\nTransfer-Encoding: br\r\nHost: a\r\n\r\n"] * 20
        for request in bad:
            peer = await house.connect()
            await peer.send(request)
            await peer.head()
            await peer.reset()
        peer = await house.connect()
        await peer.send(b"GET /secret-of-a-client")
        assert await peer.closed()
        await peer.reset()
        bearer = b"Authorization: Bearer " + scrapes.encode()
        _, page = await house.request(b"/metrics", bearer, token=False)
        assert b'mcp_gate_refusals_total{reason="malformed"} 22.0' in page
        assert b'mcp_gate_connections_ended_total{reason="head-late"} 1.0' in page
    lines = [record.getMessage() for record in caplog.records if record.name == "gate.connections"]
    assert "refused a request from 127.0.0.1: malformed (414)" in lines
    assert (
        "ended a connection from 127.0.0.1: its request's head did not come in time (head-late)"
        in lines
    )
    assert sum("malformed (501)" in line for line in lines) == 10
    assert "refused (501): and 10 more" in lines
    assert "secret-of-a-client" not in caplog.text


def test_the_descriptor_limit_is_raised_or_fewer_connections_taken_and_the_start_says_so(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        program = running(tmp_path)
        with program as started:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            started.wait_for()  # importing a server takes descriptors, too
            started.wait_for_log("raised the limit of file descriptors from 256 to 6128")
            resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE, (60, 60))
            held = []
            for _ in range(80):
                held.append(socket.create_connection(("127.0.0.1", started.port)))
                held[-1].sendall(HEALTH.replace(b"gate.example", b"127.0.0.1"))
            started.wait_for_log("no file descriptor is left")
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            accept = {"Accept": "application/json, text/event-stream"}
            answered = httpx.post(
                started.endpoint, json=body, headers=bearer | accept, trust_env=False, timeout=5
            )
            assert answered.status_code == 200
            assert "Traceback" not in started.log
            for sock in held:
                sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
