"""The wire: what passes through the gate is the same on the other side, byte for byte."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.upstream.inprocess import Calls
from tests.harness.house import BEARER, House, network_only, open_house
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer

SENT = [
    b"User-Agent: test/1.0",
    b"accept: application/json, text/event-stream",
    b"Content-Type: application/json; charset=utf-8",
    b"MCP-Protocol-Version: 2026-07-28",
    b"Mcp-Method: tools/call",
    b"Mcp-Name: =?base64?w6TDtsO8?=",
    b"Mcp-Param-Region: us-west",
    b"Mcp-Session-Id: 1868a90c",
    b"Last-Event-ID: 7",
    b"X-Twice: 1",
    b"x-twice: 2",
    b"X-Spacing: a  b\tc",
    b"X-Latin: caf\xe9",
    b"Origin: http://gate.example",
    b"Cookie: a=b; c=d",
]


def lower_name(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    return name.lower() + colon + value


async def test_a_request_arrives_with_every_byte_but_the_credentials(house: House) -> None:
    body = bytes(range(256)) * 3
    target = b"/mcp?a=%2F&key=" + TOKEN.encode() + b"&b=;+%20&&c"
    await house.request(target, *SENT, b"X-API-Key: x", method=b"POST", body=body)
    head = house.upstream.head
    assert head.start_line == b"POST /mcp?a=%2F&b=;+%20&&c HTTP/1.1"
    lines = head.raw.split(b"\r\n")[1:-2]
    connection = [] if house.gate.upstream.keep_alive else [b"Connection: close"]
    expected = [
        b"Host: " + house.gate.upstream.authority.encode(),
        b"Content-Length: %d" % len(body),
        *SENT,
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Host: gate.example",
        b"X-Forwarded-Proto: http",
        b"Via: 1.1 mcp-gate",
        *connection,
    ]
    if isinstance(house.gate.upstream, Calls):  # names in lower case: ASGI specification
        expected = [lower_name(line) for line in expected]
    assert lines == expected
    assert TOKEN.encode() not in head.raw


@pytest.mark.parametrize("path", [b"/mcp", b"/mcp/"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS", b"PUT", b"HEAD"])
async def test_both_spellings_reach_the_upstreams_endpoint_by_any_method(
    house: House, path: bytes, method: bytes
) -> None:
    head, _ = await house.request(path + b"?x=1", method=method)
    assert head.status == 200
    assert house.upstream.head.start_line == method + b" /mcp?x=1 HTTP/1.1"


async def test_below_the_endpoint_the_raw_path_is_kept(house: House) -> None:
    await house.request(b"/mcp/a%20b/c?key=" + TOKEN.encode(), token=False)
    assert house.upstream.head.start_line == b"GET /mcp/a%20b/c HTTP/1.1"


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 100_000])
async def test_a_body_arrives_whole_and_framed_as_it_was_sent(house: House, body: bytes) -> None:
    received: list[bytes] = []

    async def script(peer: Peer, head: Head) -> None:
        received.append(await peer.body(head))
        await peer.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    house.upstream.script = script
    await house.request(method=b"POST", body=body)
    peer = await house.connect()
    await peer.send(
        b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n"
        + BEARER
        + b"\r\n"
        + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
        + b"0\r\n\r\n"
    )
    assert (await peer.head()).status == 202
    await peer.stream.aclose()
    assert received == [body, body]
    by_length, by_chunks = house.upstream.heads
    assert by_length.get(b"Transfer-Encoding") is None
    assert by_chunks.get(b"Transfer-Encoding") == b"chunked"
    assert by_chunks.get(b"Content-Length") is None


ANSWERED = [
    b"date: Tue, 24 Nov 2026 00:00:00 GMT",
    b"Server: upstream/1",
    b"Content-Type: application/json",
    b"mcp-session-id: 1868a90c",
    b"Set-Cookie: a=1",
    b"set-cookie: b=2",
    b"Content-Encoding: gzip",
    b"WWW-Authenticate: Bearer realm=inner",
    b"X-Latin: caf\xe9",
    b"Cache-Control: no-cache, no-transform",
]


@pytest.mark.parametrize(
    "status",
    [
        b"200 OK",
        b"202 Accepted",
        b"400 Bad",
        b"401 No",
        b"404 Gone",
        b"405 No",
        b"409 Busy",
        b"413 Big",
        b"500 Oops",
        b"503 Later",
    ],
)
async def test_an_answer_comes_back_with_every_byte_of_fields_and_body(
    house: House, status: bytes
) -> None:
    body = b"\x1f\x8b not really gzip \x00\xff" * 10
    house.upstream.script = answer(body, *ANSWERED, b"Keep-Alive: timeout=5", status=status)
    head, received = await house.request(method=b"POST", body=b"{}")
    assert head.status == int(status[:3])
    assert head.raw.split(b"\r\n")[1:-2] == [b"Content-Length: %d" % len(body), *ANSWERED]
    assert received == body


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_without_a_body_leaves_the_connection_usable(
    house: House, status: bytes
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")

    house.upstream.script = script
    peer = await house.connect()
    for _ in range(2):
        await peer.send(house.raw())
        head = await peer.head()
        assert head.status == int(status[:3])
        assert head.get(b"ETag") == b"x"
    await peer.stream.aclose()


@network_only
async def test_connections_to_the_upstream_are_kept_only_where_that_is_safe(house: House) -> None:
    peer = await house.connect()
    for _ in range(5):
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        await peer.body(await peer.head())
    await peer.stream.aclose()
    assert house.upstream.connections == (1 if house.gate.upstream.keep_alive else 5)


async def test_pipelined_requests_are_judged_one_by_one_and_answered_in_order(house: House) -> None:
    peer = await house.connect()
    await peer.send(house.raw(token=False) + house.raw() + house.raw(b"/nope"))
    statuses = []
    for _ in range(3):
        head = await peer.head()
        await peer.body(head)
        statuses.append(head.status)
    await peer.stream.aclose()
    assert statuses == [401, 200, 404]
    assert len(house.upstream.heads) == 1


field_names = st.from_regex(rb"X-[A-Za-z0-9!#$%&'*+.^|~-]{1,12}", fullmatch=True)
field_values = st.from_regex(
    rb"([!-~\x80-\xff]([ -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True
)


@settings(max_examples=30)
@given(
    exchanges=st.lists(
        st.tuples(
            st.lists(st.tuples(field_names, field_values), max_size=8), st.binary(max_size=200)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_random_fields_and_bodies_pass_unchanged_both_ways(
    exchanges: list[tuple[list[tuple[bytes, bytes]], bytes]],
) -> None:
    trio.run(pass_unchanged, exchanges)


async def pass_unchanged(exchanges: list[tuple[list[tuple[bytes, bytes]], bytes]]) -> None:
    stopped = (
        b"x-forwarded-",
        b"x-real-ip",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-api-key",
        b"x-hf-authorization",
    )
    async with open_house(keep_alive=True) as house:
        for fields, body in exchanges:
            lines = [
                b": ".join(field) for field in fields if not field[0].lower().startswith(stopped)
            ]
            house.upstream.script = answer(body, *lines)
            house.upstream.heads.clear()
            head, received = await house.request(b"/mcp", *lines, method=b"POST", body=body)
            sent = house.upstream.head.raw.split(b"\r\n")[1:-2]
            first = 1 + bool(body)
            assert sent[first : first + len(lines)] == lines
            assert head.raw.split(b"\r\n")[2:-2] == lines
            assert received == body
