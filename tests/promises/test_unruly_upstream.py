"""An upstream that misbehaves is a matter of its own calls: no other waits for them, and nothing stays behind."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse import keepalive
from gatehouse.http.events import COMMENT
from gatehouse.upstream import addresses, network
from gatehouse.upstream.answers import MAX_LINES
from tests.harness.house import House, network_only, open_house
from tests.harness.levels import connected, levels, sockets_to, steady_house
from tests.harness.loop_steps import loop_steps
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Script = Callable[[Peer, Head], Awaitable[None]]

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = CHUNKED.replace(b"text/plain", b"text/event-stream")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HINTS = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 200 + b"\r\n"

FLOODS = {
    "one-byte chunks": CHUNKED + b"1\r\nx\r\n" * 65_536 + b"0\r\n\r\n",
    "one-byte chunks of events": EVENTS + b"1\r\n:\r\n" * 65_536 + b"0\r\n\r\n",
    "a long extension on each chunk": CHUNKED + (b"1;%b\r\nx\r\n" % bytes(4000)) * 2000,
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + ANSWER,
    "interim answers with fields": HINTS * 500 + ANSWER,
    "fields": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 15_000 + b"Content-Length: 2\r\n\r\n{}",
    "a few fields too many": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * (MAX_LINES + 100) + b"\r\n",
    "trailers": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"a:\r\n" * 15_000 + b"\r\n",
    "a trailer without an end": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"a: " + b"b" * 2_000_000,
    "a field without an end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 2_000_000,
}

MAX_STEP_SECONDS = 0.012
"""Of CPU time. The aim is 2 ms, which a machine that does other things at the same time may double."""


def flooding(flood: bytes) -> Script:
    """A script that answers /mcp/good well, and everything else with a flood."""

    async def script(peer: Peer, head: Head) -> None:
        if b"/good" in head.start_line:
            await answer()(peer, head)
            return
        await peer.body(head)
        await peer.stream.send_all(flood)
        await until_gone(peer)

    return script


async def ask(house: House, results: list[int | str]) -> None:
    """One call: its status, or that its answer was cut."""
    async with connected(house) as peer:
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        head = await peer.head()
        try:
            await peer.body(head)
            results.append(head.status)
        except (EOFError, trio.BrokenResourceError):
            results.append("cut")


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_from_the_upstream_ends_its_own_call_and_no_other_waits(
    flood: str, keep_alive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with steady_house(caplog, keep_alive=keep_alive) as house:
        house.upstream.script = flooding(FLOODS[flood])
        results: list[int | str] = []
        waits = []
        with loop_steps() as steps:
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask, house, results)
                while len(results) < 5:
                    began = trio.current_time()
                    head, _ = await house.request(b"/mcp/good", method=b"POST", body=b"{}")
                    assert head.status == 200
                    waits.append(trio.current_time() - began)
        assert results == [502 if b"chunked" not in FLOODS[flood] else "cut"] * 5
        assert max(waits) < 2  # 30 ms where nothing else runs
        assert steps.longest() < MAX_STEP_SECONDS, steps
    complaints = [record for record in caplog.records if "upstream 127" in record.getMessage()]
    assert len(complaints) == 5


async def test_interim_answers_without_end_are_502(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer, head: Head) -> None:
        while True:
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    async with steady_house(caplog) as house:
        house.upstream.script = script
        assert (await house.request())[0].status == 502


async def test_pieces_that_came_together_are_passed_on_as_one(
    keep_alive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(EVENTS + b"3\r\n: x\r\n" * 1000 + b"2\r\n\n\n\r\n" + b"0\r\n\r\n")

    async with steady_house(caplog, keep_alive=keep_alive) as house:
        house.upstream.script = script
        async with connected(house) as peer:
            await peer.send(house.raw())
            await peer.head()
            chunks = []
            while chunk := await peer.chunk():
                chunks.append(chunk)
        assert b"".join(chunks) == b": x" * 1000 + b"\n\n"
        assert len(chunks) < 100  # as many as slices of 1 ms that a busy machine makes of it


async def test_an_event_that_comes_letter_by_letter_is_passed_on_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = 0.0

    async def script(peer: Peer, head: Head) -> None:
        nonlocal sent
        for byte in EVENTS + b"9\r\ndata: 1\n\n\r\n":
            sent = trio.current_time()
            await peer.send(bytes([byte]))
        await until_gone(peer)

    async with steady_house(caplog) as house:
        house.upstream.script = script
        async with connected(house) as peer:
            await peer.send(house.raw())
            await peer.head()
            await peer.until(b"\n\n")
            assert trio.current_time() - sent < 0.1


# Silence.


async def test_a_body_whose_upstream_falls_silent_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer, head: Head) -> None:
        framing = framings.pop()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + b"2\r\n{}\r\n")
        await until_gone(peer)

    framings = [b"Content-Length: 9", b"Content-Length: 2000000", b"Transfer-Encoding: chunked"]
    async with steady_house(caplog, upstream_seconds=0.3) as house:
        house.upstream.script = script
        results: list[int | str] = []
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask, house, results)
        assert results == ["cut"] * 3
    assert caplog.text.count("fell silent for 0.3 s") == 3
    assert caplog.text.count("upstream broke off: upstream-silent") == 3


@pytest.mark.parametrize("way", ["close", "inprocess-asyncio"], indirect=True)
async def test_an_event_stream_that_falls_silent_is_cut_only_if_that_is_set_and_comments_do_not_count(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(EVENTS)
        for _ in range(4):
            await peer.send(b"9\r\ndata: 1\n\n\r\n")
            await trio.sleep(0.3)
        await until_gone(peer)

    limits: dict[str, Any] = {"comment_seconds": 0.1, "upstream_silence_seconds": 0.5}
    async with steady_house(caplog, **way, **limits) as house:
        house.upstream.script = script
        async with connected(house) as peer:
            began = trio.current_time()
            await peer.send(house.raw())
            await peer.head()
            seen = b""
            with suppress(EOFError, trio.BrokenResourceError):
                while chunk := await peer.chunk():
                    seen += chunk
            assert chunk  # cut, not ended
        assert 1.4 < trio.current_time() - began < 3.5
        assert seen.count(b"data: 1\n\n") == 4
        assert seen.count(COMMENT) > 3
    assert "upstream broke off: upstream-silent" in caplog.text


@network_only
async def test_an_upstream_that_vanishes_is_found_out_by_the_kernel(house: House) -> None:
    async def looked_at(peer: Peer, head: Head) -> None:
        (end,) = sockets_to(house.upstream.port)
        with end:
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option, value in keepalive.OPTIONS:
                assert end.getsockopt(socket.IPPROTO_TCP, option) == value
            if keepalive.USER_TIMEOUT is not None:
                assert end.getsockopt(socket.IPPROTO_TCP, keepalive.USER_TIMEOUT) == 120_000
        await answer()(peer, head)

    house.upstream.script = looked_at
    assert (await house.request())[0].status == 200


# Names, and looks.


class Resolver:
    """Stands in for the system's: knows one name, takes its time, may fail, and counts."""

    def __init__(self, seconds: float, found: list[str]) -> None:
        self.seconds, self.found = seconds, found
        self.asked = self.at_a_time = self.most_at_a_time = 0
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "upstream.test":
            return self._real(host, port, *args, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        self.asked += 1
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        time.sleep(self.seconds)
        self.at_a_time -= 1
        if not self.found:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [entry for one in self.found for entry in self._real(one, port, *args, **options)]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver(0.5, ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


NAMED: dict[str, Any] = {"upstream_host": "upstream.test", "keep_alive": False}


async def test_questions_of_readiness_by_the_hundred_cost_one_look_and_no_call_waits_for_them(
    resolver: Resolver,
) -> None:
    async def is_ready(house: House) -> None:
        assert (await house.request(b"/ready", token=False))[0].status == 200

    async with open_house(**NAMED) as house:
        assert (await house.request())[0].status == 200
        before = house.upstream.connections
        began = trio.current_time()
        calls = 0
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                for _ in range(50):
                    nursery.start_soon(is_ready, house)
                await trio.sleep(0.25)
                asked_at = trio.current_time()
                assert (await house.request())[0].status == 200
                assert trio.current_time() - asked_at < 0.2
                calls += 1
        seconds = trio.current_time() - began
        assert house.upstream.connections - before - calls <= seconds + 1
        assert resolver.most_at_a_time == 1
        assert resolver.asked <= 2 + seconds / addresses.FRESH_SECONDS


async def test_the_last_good_address_is_kept_while_the_name_is_not_found(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(addresses, "OLD_SECONDS", 0.1)
    monkeypatch.setattr(addresses, "MAX_LOOK_UP_SECONDS", 0.2)
    resolver.seconds = 0.0
    async with open_house(**NAMED) as house:
        resolver.found = []
        assert (await house.request())[0].status == 502
        await trio.sleep(0.1)
        resolver.found = ["127.0.0.1"]
        assert (await house.request())[0].status == 200
        resolver.found = []
        for _ in range(3):
            await trio.sleep(0.1)
            assert (await house.request())[0].status == 200
        resolver.seconds = 1.5  # silent: waited for once, by whoever is there
        began = trio.current_time()
        for _ in range(3):
            await trio.sleep(0.15)
            assert (await house.request())[0].status == 200
        assert trio.current_time() - began < 1


async def test_an_upstream_that_moves_is_found_by_the_next_call(resolver: Resolver) -> None:
    resolver.seconds = 0.0
    resolver.found = ["127.0.0.2"]  # where nobody listens
    async with open_house(**NAMED) as house:
        assert (await house.request())[0].status == 502
        resolver.found = ["127.0.0.1"]
        await trio.sleep(addresses.MIN_AGE_SECONDS)
        assert (await house.request())[0].status == 200


async def test_a_name_with_several_addresses_is_reached_at_any_of_them(resolver: Resolver) -> None:
    resolver.seconds = 0.0
    resolver.found = ["::1", "127.0.0.2", "127.0.0.1"]  # at the first two, nobody listens
    async with open_house(**NAMED) as house:
        assert (await house.request())[0].status == 200


async def test_a_number_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_house(keep_alive=False) as house:
        monkeypatch.setattr(socket, "getaddrinfo", None)
        for _ in range(3):
            async with trio.open_nursery():
                sock = trio.socket.socket()
                await sock.connect(("127.0.0.1", house.port))
                peer = Peer(trio.SocketStream(sock))
                await peer.send(house.raw())
                assert (await peer.head()).status == 200
                await peer.stream.aclose()


# Kept connections.


async def kept_by(house: House, count: int) -> None:
    """Make `count` calls at a time."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(partial(house.request, method=b"POST", body=b"{}"))


async def test_kept_connections_end_by_themselves_when_the_upstream_has_ended_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slow(peer: Peer, head: Head) -> None:
        await trio.sleep(0.3)
        await answer()(peer, head)

    monkeypatch.setattr(network, "MAX_KEPT_CONNECTIONS", 30)
    async with open_house(keep_alive=True) as house:
        house.upstream.script = slow
        await kept_by(house, 50)
        with trio.fail_after(1):
            while house.upstream.open != 30:
                await trio.sleep(0.01)
        level = levels()
        await house.upstream.stop()
        with trio.fail_after(2):
            while levels()["file descriptors"] > level["file descriptors"] - 2 * 30:
                await trio.sleep(0.05)


async def test_kept_connections_end_by_themselves_when_they_have_rested() -> None:
    async with open_house(keep_alive=0.2) as house:
        await kept_by(house, 3)
        assert house.upstream.open == 3
        with trio.fail_after(2):
            while house.upstream.open:
                await trio.sleep(0.05)
