"""Forms of the request line that RFC 9112 asks every server to take, and what stands before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gatehouse.downstream.connection import Connection
from gatehouse.downstream.http1 import MAX_EMPTY_LINES
from tests.harness.levels import connected, gone, steady_house
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    import pytest

    from tests.harness.house import House
    from tests.harness.wire import Peer

LINE = b"\r\n"


async def status_of(peer: Peer, request: bytes) -> int:
    """The status of the answer, which is read to its end."""
    await peer.send(request)
    head = await peer.head()
    if not request.lstrip().startswith(b"HEAD"):
        await peer.body(head)
    return head.status


# The absolute form (RFC 9112 section 3.2.2).

PASSED = {
    b"http://gate.example/mcp": b"/mcp",
    b"HTTP://gate.example/mcp": b"/mcp",
    b"https://gate.example:443/mcp?a=%2Fb": b"/mcp?a=%2Fb",
    b"http://127.0.0.1:8000/mcp/x?a?b=/": b"/mcp/x?a?b=/",
    b"http://gate.example/mcp?key=%b&a=b" % TOKEN.encode(): b"/mcp?a=b",
}

ANSWERED = [
    (b"GET", b"http://gate.example", 200),
    (b"HEAD", b"http://gate.example?a=/mcp", 200),
    (b"GET", b"http://gate.example/health", 200),
    (b"POST", b"http://gate.example", 405),
    (b"OPTIONS", b"http://gate.example/", 405),
    (b"OPTIONS", b"http://gate.example", 404),  # stands for `OPTIONS *` (section 3.2.4)
    (b"GET", b"http://gate.example//mcp", 404),
    (b"GET", b"http://gate.example/http://gate.example/mcp", 404),
    (b"GET", b"http://evil.example/mcp", 421),
    (b"GET", b"http://gate.example.evil/mcp", 421),
]

MALFORMED = [
    *(b"http://u@gate.example/mcp", b"http://u:p@gate.example/mcp", b"http://@gate.example/mcp"),
    *(b"http://gate.example@evil.example/mcp", b"http:///mcp", b"http://", b"http://?/mcp"),
    *(b"http:", b"http:/mcp", b"http:mcp", b"https:gate.example/mcp", b"http:\\\\gate.example/mcp"),
    *(b"http://gate.example#/mcp", b"http://gate.example/mcp?#", b"http://gate.example\\mcp"),
    *(b"http://gate.example:/mcp", b"http://gate.example:x/mcp", b"http://gate.example:123456/mcp"),
    *(b"http://[::1/mcp", b"http://::1/mcp", b"http://gate%2eexample/mcp", b"http://a,b/mcp;"),
]


async def test_the_authority_of_an_absolute_target_stands_for_the_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house, connected(house) as peer:
        for target, passed in PASSED.items():
            for host in (b"gate.example", b"evil.example"):
                request = house.raw(target, token=b"key=" not in target)
                request = request.replace(b"Host: gate.example", b"Host: " + host)
                assert await status_of(peer, request) == 200, target
                head = house.upstream.heads.pop()
                assert head.start_line == b"GET %b HTTP/1.1" % passed
                assert head.get(b"X-Forwarded-Host") == target.split(b"/")[2]
        for method, target, status in ANSWERED:
            assert await status_of(peer, house.raw(target, method=method)) == status, target
        assert house.upstream.heads == []
        async with connected(house) as old:
            line = b"GET http://gate.example/mcp HTTP/1.0\r\n"
            bearer = b"Authorization: Bearer %b\r\n" % TOKEN.encode()
            assert await status_of(old, line + bearer + LINE) == 200
            assert house.upstream.head.get(b"X-Forwarded-Host") == b"gate.example"


async def test_an_absolute_target_whose_authority_could_be_no_host_is_400(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house:
        for target in MALFORMED:
            for method in (b"GET", b"OPTIONS"):
                async with connected(house) as peer:
                    request = house.raw(target, method=method)
                    assert await status_of(peer, request) == 400, target
                    assert await gone(peer)
        for lines in (b"", b"Host: gate.example\r\n" * 2, b"Host: a/b\r\n", b"Host:\r\n"):
            async with connected(house) as peer:
                request = b"GET http://gate.example/mcp HTTP/1.1\r\n" + lines + LINE
                assert await status_of(peer, request) == 400
        assert house.upstream.heads == []


# Empty lines before a request (RFC 9112 section 2.2).


async def test_some_empty_lines_before_a_request_are_ignored_wherever_they_are_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with steady_house(caplog) as house:
        chunked = house.raw(b"/mcp", b"Transfer-Encoding: chunked", method=b"POST")
        bodies = [
            house.raw(),
            house.raw(method=b"POST", body=b"{}"),
            chunked + b"2\r\n{}\r\n0\r\n\r\n",
        ]
        async with connected(house) as peer:
            for number, body in enumerate(bodies * 2):
                lines = [LINE, b"\n", LINE * MAX_EMPTY_LINES, b"\n\r\n\n"][number % 4]
                for step in (1, 7, 1 << 20):
                    data = lines + body
                    for at in range(0, len(data) - step, step):
                        await peer.send(data[at : at + step])
                        await trio.lowlevel.checkpoint()
                    rest = data[(len(data) - 1) // step * step :]
                    assert await status_of(peer, rest) == 200
        async with connected(house) as peer:  # all in one segment
            await peer.send(LINE.join([*bodies, b"\n", *bodies]))
            for _ in range(6):
                head = await peer.head()
                assert (head.status, await peer.body(head)) == (200, b"{}")


async def test_an_empty_line_is_no_request_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    async with steady_house(caplog) as house, connected(house) as peer:
        for body in (house.raw(method=b"POST", body=b"{}") + LINE, house.raw()):
            assert await status_of(peer, body) == 200
            connection = await at_rest(house)
            deadline = connection.deadline
            await peer.send(LINE)
            while connection.has_unread():
                await trio.sleep(0.001)
            assert await at_rest(house) is connection
            assert connection.deadline == deadline
    async with steady_house(caplog, header_seconds=0.2) as house, connected(house) as peer:
        with trio.fail_after(4):
            for _ in range(4):
                await peer.send(LINE)
                await trio.sleep(0.1)
            assert await gone(peer)


async def at_rest(house: House) -> Connection:
    """The only connection, once it rests."""
    (connection,) = house.connections.open
    assert isinstance(connection, Connection)
    with trio.fail_after(1):
        while not connection.resting:
            await trio.sleep(0.001)
    return connection


async def test_more_empty_lines_or_half_of_one_are_400(caplog: pytest.LogCaptureFixture) -> None:
    async with steady_house(caplog) as house:
        for lines in (LINE * (MAX_EMPTY_LINES + 1), b"\n" * 70_000, b"\r", b"\r\r\n", b" \r\n"):
            for before in (b"", house.raw(method=b"POST", body=b"{}")):
                async with connected(house) as peer:
                    if before:
                        assert await status_of(peer, before) == 200
                    assert await status_of(peer, lines + house.raw()) == 400
                    assert await gone(peer)
        assert len(house.upstream.heads) == 5
