"""Framing and protocol: what two programs could read in two ways ends at the gate, and hurts nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.answers import (
    TOP,
    Answer,
    answers,
    assert_no_banner,
    assert_rpc_error,
    refused,
    said,
)
from tests.harness.house import BEARER, House, open_house
from tests.harness.levels import SECRETS, good_call, levels, settled, unharmed
from tests.harness.program import running
from tests.harness.wire import Head, Peer

if TYPE_CHECKING:
    from pathlib import Path


Log = pytest.LogCaptureFixture

CHUNKED = TOP + b"Transfer-Encoding: chunked\r\n\r\n"
SECOND = b"GET /mcp?second HTTP/1.1\r\nHost: gate.example\r\n" + BEARER + b"\r\n"
"""A good request in a place where none may be found."""


# Both framings in one request (RFC 9112 section 6.1).

SMUGGLED = {
    "CL.TE": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b"
    % (5 + len(SECOND), SECOND),
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(SECOND), SECOND),
    "CL.0": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE.0": b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(SECOND), SECOND),
    "no second": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "between bare LF": b"X: y\nTransfer-Encoding: chunked\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + SECOND,
    "folded": b"Content-Length: 5\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "in capitals": b"CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED)
@pytest.mark.parametrize("pieces", ["one piece", "byte by byte"])
async def test_a_length_beside_chunks_is_refused_and_nothing_behind_it_is_read(
    access_log: Log, rest: bytes, pieces: str
) -> None:
    async with unharmed(access_log) as house:
        request = TOP + rest
        if pieces == "one piece":
            await refused(house, request)
        else:
            await refused(house, *(request[at : at + 1] for at in range(len(request))))


# A length that is no length.

LENGTHS = [
    b"+1",
    b"-1",
    b"",
    b"0x5",
    b"5h",
    b"1, 2",
    b"5,",
    b",5",
    b"5 5",
    b"5;a=b",
    b"1e1",
    b"1_0",
    b"5.0",
    b'"5"',
    b"\xb2",
    b"\xef\xbc\x95",
    b"1" * 25,
    b"1" * 5000,
    b"5\x0b",
    b"\x005",
]


@pytest.mark.parametrize("value", LENGTHS, ids=lambda value: repr(value[:30]))
async def test_a_length_that_is_no_number_is_refused(access_log: Log, value: bytes) -> None:
    async with unharmed(access_log) as house:
        await refused(house, TOP + b"Content-Length: " + value + b"\r\n\r\nhello" + SECOND)


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 0\r\ncontent-length: 5\r\n",
        b"Content-Length: 5\r\nX: y\r\nContent-Length: 05\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length\t: 5\r\n",
        b"Content_Length: 5\r\n",
        b"Content-Length: 1\r\n 0\r\n",
        b"Content-Length\x00: 5\r\n",
    ],
)
async def test_two_lengths_or_an_odd_name_for_one_are_refused(
    access_log: Log, lines: bytes
) -> None:
    async with unharmed(access_log) as house:
        await refused(house, TOP + lines + b"\r\nhello" + SECOND)


@pytest.mark.parametrize(
    "lines", [b"Content-Length: 5, 5\r\n", b"Content-Length: 5\r\nContent-Length: 5\r\n"]
)
async def test_the_same_length_twice_becomes_one_before_it_goes_on(
    access_log: Log, lines: bytes
) -> None:
    """RFC 9110 section 8.6 allows both: to refuse, or to forward a single valid value."""
    async with unharmed(access_log) as house:
        raw = await said(house, TOP + b"Connection: close\r\n" + lines + b"\r\nhello")
        assert [one.status for one in answers(raw)] == [200]
        assert house.upstream.head.all(b"Content-Length") == [b"5"]


# An encoding that one program takes for chunks, and another does not.

ENCODINGS = [
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-encoding: identity",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: , chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: \x00chunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: \x7fchunked",
    b"Transfer-Encoding: \xffchunked",
    b"Transfer-Encoding: chun\xe4ked",
    b"Transfer-Encoding: chunked\xa0",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunked;a=b",
    b"Transfer-Encoding: chunked chunked",
    b"Transfer-Encoding: chun ked",
    b"Transfer-Encoding: chun\r\n ked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: \r\n",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding\xa0: chunked",
    b"Transfer-Encoding chunked",
    b"Transfer_Encoding: chunked",
    b"\x0bTransfer-Encoding: chunked",
    b"\rTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\rTransfer-Encoding: chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding:\nchunked",
    b": chunked\r\nTransfer-Encoding: chunked",
    b"Transfer\rEncoding: chunked",
]


@pytest.mark.parametrize("lines", ENCODINGS)
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"], ids=["alone", "with a length"])
async def test_an_encoding_other_than_chunked_in_whatever_disguise_is_refused(
    access_log: Log, lines: bytes, length: bytes
) -> None:
    async with unharmed(access_log) as house:
        request = TOP + length + lines + b"\r\n\r\n0\r\n\r\n" + SECOND
        await refused(house, request, status=(400, 501))


# Forms of HTTP/1.0.


async def test_chunks_in_http_1_0_are_refused(access_log: Log) -> None:
    """RFC 9112 section 6.1: a faulty framing, since HTTP/1.0 knows no chunks."""
    async with unharmed(access_log) as house:
        top = CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0")
        await refused(house, top + b"0\r\n\r\n" + SECOND)


@pytest.mark.parametrize(
    "connection", [b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"]
)
async def test_http_1_0_gets_one_answer_and_its_end(access_log: Log, connection: bytes) -> None:
    async with unharmed(access_log) as house:
        request = TOP.replace(b"1.1", b"1.0") + connection + b"Content-Length: 2\r\n\r\n{}"
        (only,) = answers(await said(house, request + SECOND))
        assert (only.status, only.body) == (200, b"{}")
        assert house.upstream.head.start_line == b"POST /mcp HTTP/1.1"


async def test_http_1_0_without_a_length_has_no_body(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        (only,) = answers(await said(house, TOP.replace(b"1.1", b"1.0") + b"\r\n" + SECOND))
        assert only.status == 200
        assert house.upstream.head.get(b"Transfer-Encoding") is None


async def test_http_1_0_without_a_host_comes_by_no_allowed_name(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        (only,) = answers(await said(house, b"GET /mcp HTTP/1.0\r\n" + BEARER + b"\r\n"))
        assert only.status == 421
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET /mcp",
        b"GET /mcp ",
        b"GET /mcp http/1.1",
        b"GET /mcp HTTP/1",
        b"GET /mcp HTTP/1.1 ",
        b"GET /mcp HTTP/1.1 HTTP/1.1",
        b"GET  /mcp HTTP/1.1",
        b"GET /mcp  HTTP/1.1",
        b"GET\t/mcp\tHTTP/1.1",
        b" GET /mcp HTTP/1.1",
        b"GET /mcp HTTP/11",
        b"GET /mcp HTTP/1.10",
        b"GET /m\xffcp HTTP/1.1",
        b"GET /m\x00cp HTTP/1.1",
        b"GET /m cp HTTP/1.1",
        b"GET /m\x7fcp HTTP/1.1",
        b"GET /mcp?\x01 HTTP/1.1",
        b"GET /mcp\rX HTTP/1.1",
        b"G@T /mcp HTTP/1.1",
        b"G\xcbT /mcp HTTP/1.1",
        b"/mcp HTTP/1.1",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
        b"{}",
    ],
)
async def test_what_is_no_request_line_is_refused(access_log: Log, line: bytes) -> None:
    async with unharmed(access_log) as house:
        await refused(house, line + b"\r\nHost: gate.example\r\n" + BEARER + b"\r\n")


# Header fields.


@pytest.mark.parametrize("byte", [*range(0x09), *range(0x0A, 0x20), 0x7F])
async def test_a_control_character_in_a_value_is_refused(access_log: Log, byte: int) -> None:
    """CVE-2019-9900; RFC 9110 section 5.5."""
    async with unharmed(access_log) as house:
        await refused(house, TOP + b"X-A: a%cb\r\n\r\n" % byte)


@pytest.mark.parametrize(
    "line",
    [
        b": empty",
        b"X_Forwarded_For: 1",
        b"Mcp_Session_Id: 1",
        b"_: 1",
        b"X-A : 1",
        b"X A: 1",
        b"X-A\x00: 1",
        b"X-\xe4: 1",
        b"X-A",
        b"X(A): 1",
        b"X-A;: 1",
        b'"X": 1',
        b"X-A: a\r\n : b\r\nX_B: c",
    ],
)
async def test_a_name_that_others_read_differently_is_refused(access_log: Log, line: bytes) -> None:
    """CVE-2025-64484 (underscores), CVE-2023-25725 (an empty name)."""
    async with unharmed(access_log) as house:
        await refused(house, TOP + line + b"\r\n\r\n")


async def test_a_fold_before_the_first_field_is_refused(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        await refused(house, b"GET /mcp HTTP/1.1\r\n Host: gate.example\r\n" + BEARER + b"\r\n")
        await refused(house, TOP.replace(b"\r\nAuth", b"\r\n Auth") + b"\r\n")


async def test_a_folded_value_arrives_as_one(access_log: Log) -> None:
    """RFC 9112 section 5.2: refuse it, or replace the fold by spaces."""
    async with unharmed(access_log) as house:
        fold = b"X-A: one\r\n X-Forwarded-Host: evil.example\r\n\t\ttwo\r\n"
        raw = await said(house, TOP + fold + b"Connection: close\r\n\r\n")
        assert answers(raw)[0].status == 200
        assert house.upstream.head.get(b"X-A") == b"one X-Forwarded-Host: evil.example two"
        assert house.upstream.head.get(b"X-Forwarded-Host") == b"gate.example"


async def test_lines_that_end_with_a_bare_lf_go_on_with_proper_ends(access_log: Log) -> None:
    """RFC 9112 section 2.2 lets a recipient take it; what goes upstream is written anew."""
    async with unharmed(access_log) as house:
        request = (TOP + b"X-A: a\r\nConnection: close\r\n\r\n").replace(b"\r\n", b"\n")
        assert answers(await said(house, request))[0].status == 200
        assert house.upstream.head.raw.count(b"\n") == house.upstream.head.raw.count(b"\r\n")
        assert house.upstream.head.get(b"X-A") == b"a"


# Chunks.

BAD_CHUNKS = {
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "21 digits": b"000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "a tab before": b"\t5\r\nhello\r\n0\r\n\r\n",
    "a space in": b"0 5\r\nhello\r\n0\r\n\r\n",
    "a space before the extension": b"5 ;a\r\nhello\r\n0\r\n\r\n",
    "vertical tab": b"5\x0b\r\nhello\r\n0\r\n\r\n",
    "NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "no digit": b"g\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "only an extension": b";a=b\r\nhello\r\n0\r\n\r\n",
    "full-width digit": b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    "LF only": b"5\nhello\n0\n\n\r\n",
    "LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "CR LF LF": b"5\r\n\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "LF behind an extension": b"5;\nhello\r\n0\r\n\r\n",
    "LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "XX behind the data": b"5\r\nhelloXX0\r\n\r\n",
    "too little data": b"6\r\nhello\r\n0\r\n\r\n",
    "too much data": b"4\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\ntrailer\r\n\r\n",
    "a trailer with a space": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "a trailer with NUL": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "a request in the trailer": b"5\r\nhello\r\n0\r\n" + SECOND,
    "two encodings in the trailer": b"0\r\nTransfer-Encoding: a\r\nTransfer-Encoding: b\r\n\r\n",
    "an endless extension": b"5;" + b"a" * 70_000,
    "an endless trailer": b"0\r\n" + b"X: y\r\n" * 12_000,
}


@dataclass
class Bodies:
    """An upstream's script that keeps the bodies which came whole."""

    whole: list[bytes]

    async def __call__(self, peer: Peer, head: Head) -> None:
        body = await peer.body(head)
        self.whole.append(body)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_bad_chunks_are_refused_and_the_upstream_never_sees_a_whole_body(
    access_log: Log, body: bytes
) -> None:
    """CVE-2025-43859 (chunk ends), CVE-2025-55315 (line ends in extensions)."""
    async with unharmed(access_log) as house:
        house.upstream.script = bodies = Bodies([])
        (only,) = answers(await said(house, CHUNKED + body + SECOND))
        assert only.status in {400, 431, 501}
        assert only.head.get(b"Connection") == b"close"
        assert_rpc_error(only)
        assert_no_banner(only.head)
        assert bodies.whole == []
        assert len(house.upstream.heads) <= 1
        assert b"second" not in b"".join(head.raw for head in house.upstream.heads)


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"GET"])
async def test_bad_chunks_are_refused_whatever_the_method(access_log: Log, method: bytes) -> None:
    async with unharmed(access_log) as house:
        raw = await said(house, CHUNKED.replace(b"POST", method) + b"bad\rchunk\r\n\r\n" + SECOND)
        (only,) = answers(raw, to_head=method == b"HEAD")
        assert only.status == 400
        assert only.head.get(b"Connection") == b"close"


async def test_bad_chunks_without_a_token_are_refused_before_or_after_they_are_read(
    access_log: Log,
) -> None:
    async with unharmed(access_log) as house:
        top = CHUNKED.replace(BEARER, b"")
        bad = [b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX", b"x" * 70_000]
        for rest in bad * 10:
            for pieces in ([top + rest + SECOND], [top, rest, SECOND], [top + rest[:3], rest[3:]]):
                (only,) = answers(await said(house, *pieces))
                assert only.status in {400, 401, 431}
                assert_rpc_error(only)
        assert house.upstream.heads == []


async def test_bad_chunks_behind_a_refusal_that_is_under_way_do_not_cut_it(access_log: Log) -> None:
    async with unharmed(access_log, max_body_bytes=10) as house:
        house.upstream.script = bodies = Bodies([])
        for rest in (b"x", b"5\nhello", b"5;a\nb", SECOND, b"x" * 70_000):
            peer = await house.connect()
            async with peer.stream:
                await peer.send(CHUNKED + b"20\r\n" + b"x" * 32)
                head = await peer.head()
                with suppress(trio.BrokenResourceError):
                    await peer.send(rest + b"\r\n")
                assert_rpc_error(Answer(head, await peer.body(head)))
                assert head.status == 413
                assert await peer.closed()
        assert bodies.whole == []


@pytest.mark.parametrize("token", [BEARER, b""], ids=["with a token", "without a token"])
async def test_the_largest_length_there_can_be_is_too_large(access_log: Log, token: bytes) -> None:
    async with unharmed(access_log) as house:
        top = TOP.replace(BEARER, token) + b"Content-Length: " + b"9" * 20
        peer = await house.connect()
        async with peer.stream:
            await peer.send(top + b"\r\n\r\n" + SECOND)
            head = await peer.head()
            assert head.status == (413 if token else 401)
            assert_rpc_error(Answer(head, await peer.body(head)))
        assert house.upstream.heads == []


async def test_chunks_that_never_end_are_given_up_and_the_upstream_never_sees_a_whole_body(
    access_log: Log,
) -> None:
    """Sizes that overflow 32, 64 or 80 bits are as large as they say, and no smaller."""
    sizes = [b"100000005", b"10000000000000005", b"F" * 16, b"8" + b"0" * 15 + b"5", b"F" * 20]
    unfinished = [size + b"\r\nhello\r\n0\r\n\r\n" + SECOND for size in sizes]
    unfinished += [b"", b"5", b"5\n", b"5\r", b"5\r\nhello", b"5\r\nhello\r\n0\r\n", b"5;a\r"]
    async with unharmed(access_log, body_seconds=0.3) as house:
        house.upstream.script = bodies = Bodies([])

        async def give_up(rest: bytes) -> None:
            (only,) = answers(await said(house, CHUNKED + rest))
            assert only.status == 408
            assert only.head.get(b"Connection") == b"close"
            assert_rpc_error(only)

        async with trio.open_nursery() as nursery:
            for rest in unfinished:
                nursery.start_soon(give_up, rest)
        assert bodies.whole == []
        # The head waits for the first of the body.
        assert len(house.upstream.heads) == sum(b"hello" in rest for rest in unfinished)


GOOD_CHUNKS = {
    "extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "extension with NUL": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "extension with CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension with a quoted CR": b'5;a="\r"\r\nhello\r\n0\r\n\r\n',
    "space behind": b"5 \t\r\nhello\r\n0 \r\n\r\n",
    "leading zeros": b"00005\r\nhello\r\n000\r\n\r\n",
    "trailer": b"5\r\nhello\r\n0\r\nX-Forwarded-For: 203.0.113.1\r\nContent-Length: 9\r\n\r\n",
    "one by one": b"1\r\nh\r\n1\r\ne\r\n3;x\r\nllo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", GOOD_CHUNKS.values(), ids=GOOD_CHUNKS)
@pytest.mark.parametrize("pieces", ["one piece", "byte by byte"])
async def test_of_chunks_only_the_data_goes_on_framed_anew(
    access_log: Log, body: bytes, pieces: str
) -> None:
    """RFC 9112 section 7.1.1; CVE-2025-55315: framing is never copied."""
    async with unharmed(access_log) as house:
        wire: list[bytes] = []

        async def script(peer: Peer, head: Head) -> None:
            wire.append(await peer.until(b"0\r\n\r\n"))
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        house.upstream.script = script
        request = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body
        step = len(request) if pieces == "one piece" else 1
        raw = await said(house, *(request[at : at + step] for at in range(0, len(request), step)))
        assert [one.status for one in answers(raw)] == [200]
        lines = wire[0].split(b"\r\n")
        assert b"".join(lines[1::2]) == b"hello"
        assert all(
            int(size, 16) == len(data) for size, data in zip(lines[::2], lines[1::2], strict=False)
        )


async def test_garbage_behind_the_last_chunk_is_a_bad_request_of_its_own(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        first, second = answers(await said(house, CHUNKED + b"0\r\n\r\nGARBAGE\r\n\r\n" + SECOND))
        assert (first.status, second.status) == (200, 400)
        assert second.head.get(b"Connection") == b"close"
        assert len(house.upstream.heads) == 1


# One request behind another.


async def test_each_pipelined_request_is_judged_by_its_own_token(access_log: Log) -> None:
    async with unharmed(access_log, keep_alive=True) as house:
        last = house.raw(b"/mcp?last", b"Connection: close", token=False)
        raw = await said(house, house.raw(token=False) + SECOND + last + SECOND)
        assert [one.status for one in answers(raw)] == [401, 200, 401]
        assert len(house.upstream.heads) == 1


async def test_a_request_inside_a_refused_body_stays_a_body(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SECOND), SECOND)
        top = b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\n"
        last = house.raw(b"/nope", b"Connection: close")
        for first in (
            house.raw(method=b"POST", body=SECOND, token=False),
            house.raw(b"/nope", method=b"POST", body=SECOND),
            house.raw(b"/health", method=b"GET", body=SECOND),
            top + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
            top.replace(b"gate", b"evil") + BEARER + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
            top + BEARER + b"Origin: null\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
        ):
            statuses = [one.status for one in answers(await said(house, first + last))]
            assert statuses[0] in {200, 401, 403, 404, 421}
            assert statuses[1:] == [404]
        assert house.upstream.heads == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST"])
async def test_a_request_inside_a_passed_body_stays_a_body_by_any_method(
    access_log: Log, method: bytes
) -> None:
    async with unharmed(access_log, keep_alive=True) as house:
        house.upstream.script = bodies = Bodies([])
        last = house.raw(b"/nope", b"Connection: close", method=b"HEAD")
        raw = await said(house, house.raw(method=method, body=SECOND) + last)
        assert [one.status for one in answers(raw, to_head=True)] == [200, 404]
        assert bodies.whole == [SECOND]
        assert len(house.upstream.heads) == 1


async def test_what_follows_a_request_that_closes_is_nobodys(access_log: Log) -> None:
    """CVE-2024-49768; RFC 9112 section 9.6. Hypercorn's own reader is raced by it."""
    async with unharmed(access_log) as house:
        for number in range(40):
            token = bool(number % 2)
            closing = house.raw(b"/mcp", b"Connection: close", token=token)
            pieces = [closing + SECOND] if number % 4 < 2 else [closing, SECOND, b"\0", SECOND]
            (only,) = answers(await said(house, *pieces))
            assert only.status == (200 if token else 401)
        assert len(house.upstream.heads) == 20


# Sizes. Each limit is met exactly, and then exceeded by one.


def filler(size: int) -> bytes:
    """Header fields that, with those of `sized`, count `size` bytes."""
    return b"X-Fill: %b" % (b"f" * (size - len(b"X-Fill: \r\n")))


def counted(head: bytes) -> int:
    return len(head) - len(head.partition(b"\r\n")[0]) - 4


STEPS = {"one piece": 1 << 20, "pieces of 1000": 1000, "pieces of 61": 61}


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_header_fields_over_the_limit_in_bytes_are_431(access_log: Log, step: int) -> None:
    async with unharmed(access_log) as house:
        limit = house.gate.limits.header_bytes
        used = counted(house.raw(b"/mcp", b"Connection: close"))
        whole = house.raw(b"/mcp", b"Connection: close", filler(limit - used))
        assert [one.status for one in answers(await said(house, *cut(whole, step)))] == [200]
        house.upstream.heads.clear()
        for size in (limit + 1, 40_000, 48_000, 60_000, 300_000):
            request = house.raw(b"/mcp", b"Connection: close", filler(size - used))
            await refused(house, *cut(request, max(step, size // 200)), status=(431,))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_more_header_fields_than_the_limit_are_431(access_log: Log, step: int) -> None:
    async with unharmed(access_log) as house:
        limit = house.gate.limits.header_fields
        fields = [b"Connection: close", *[b"X-A: b"] * (limit - 3)]
        whole = house.raw(b"/mcp", *fields)
        assert [one.status for one in answers(await said(house, *cut(whole, step)))] == [200]
        house.upstream.heads.clear()
        await refused(house, *cut(house.raw(b"/mcp", *fields, b"a:"), step), status=(431,))
        many = house.raw(b"/mcp", *[b"a:"] * 12_000)
        await refused(house, *cut(many, max(step, 1000)), status=(431,))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("start", [b"/mcp?", b"/mcp/"], ids=["query", "path"])
async def test_a_target_over_the_limit_is_414(access_log: Log, start: bytes, step: int) -> None:
    async with unharmed(access_log) as house:
        limit = house.gate.limits.target_bytes
        longest = start + b"t" * (limit - len(start.rstrip(b"?")))
        whole = house.raw(longest, b"Connection: close")
        assert [one.status for one in answers(await said(house, *cut(whole, step)))] == [200]
        house.upstream.heads.clear()
        for size in (1, 20_000, 45_000, 60_000, 300_000):
            request = house.raw(longest + b"t" * size)
            await refused(house, *cut(request, max(step, size // 200)), status=(414,))


async def test_a_target_without_an_end_is_414(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        await refused(house, b"GET /mcp?" + b"t" * 60_000, status=(414,))
        await refused(house, b"G" * 60_000, status=(400, 414))


# Host, version, method, and forms of target.


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host: gate.example\r\nHost: gate.example\r\n",
        b"Host: gate.example\r\nhost: evil.example\r\n",
        *(
            b"Host: " + value + b"\r\n"
            for value in (
                *(b"", b"a/b", b"u@a", b"u:p@a", b"a, b", b"a b", b"a?b", b"a#b", b"a\\b", b"a:"),
                *(b"a:b", b"a:1:2", b"a:-1", b"a:123456", b"a:80/", b":80", b"[::1", b"::1"),
                *(b"[::1]a", b"[g]", b"[fe80::1%25lo]", b"a\xe4", b"<a>", b'"a"', b"a%2eb", b"a;b"),
                *(b"http://gate.example", b"gate.example\r\n .evil.example"),
            )
        ),
    ],
)
async def test_a_host_that_is_none_is_400(access_log: Log, lines: bytes) -> None:
    """RFC 9112 section 3.2."""
    async with unharmed(access_log) as house:
        await refused(house, b"GET /mcp HTTP/1.1\r\n" + lines + BEARER + b"\r\n")


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"9.9", b"0.0"])
async def test_another_version_is_505(access_log: Log, version: bytes) -> None:
    async with unharmed(access_log) as house:
        request = house.raw().replace(b"HTTP/1.1", b"HTTP/" + version)
        await refused(house, request + SECOND, status=(505,))


@pytest.mark.parametrize(
    "method",
    [
        *(b"TRACE", b"TRACK", b"CONNECT", b"PRI", b"DEBUG", b"PROPFIND", b"QUERY", b"get"),
        *(b"Post", b"GETX", b"X" * 5000, b"'", b"GET.", b"_"),
    ],
    ids=lambda method: method[:10].decode(),
)
async def test_another_method_is_405_and_says_which_there_are(
    access_log: Log, method: bytes
) -> None:
    async with unharmed(access_log) as house:
        head = await refused(house, house.raw(method=method) + SECOND, status=(405,))
        assert b"POST" in (head.get(b"Allow") or b"")


@pytest.mark.parametrize(
    ("method", "target", "statuses"),
    [
        (b"GET", b"file:///mcp", {404}),
        (b"GET", b"gate.example:80", {404}),
        (b"CONNECT", b"gate.example:80", {405}),
        (b"CONNECT", b"127.0.0.1:22", {405}),
        (b"CONNECT", b"/mcp", {405}),
        (b"OPTIONS", b"*", {404}),
        (b"GET", b"*", {404}),
        (b"GET", b"mcp", {404}),
        (b"GET", b"?key", {404}),
        (b"GET", b"//gate.example/mcp", {404}),
        (b"GET", b"/mcp#x", {400, 404}),
        (b"GET", b"/mcp?a#x", {400}),
        (b"GET", b"/mcp/?a=b#", {400}),
        (b"GET", b"#", {400, 404}),
    ],
)
async def test_other_forms_of_target_lead_nowhere(
    access_log: Log, method: bytes, target: bytes, statuses: set[int]
) -> None:
    """RFC 9112 section 3.2; CVE-2026-41059 and CVE-2021-32779 (a fragment in the target)."""
    async with unharmed(access_log) as house:
        raw = await said(house, house.raw(target, b"Connection: close", method=method) + SECOND)
        (only,) = answers(raw)
        assert only.status in statuses
        assert only.head.get(b"Location") is None
        assert_no_banner(only.head)
        assert house.upstream.heads == []


# HTTP/2, by prior knowledge and by upgrade, which the gate does not speak (CVE-2023-44487).

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def fields(stream: int, *pairs: tuple[bytes, bytes], ends: bool = True) -> bytes:
    """A HEADERS frame of literal fields, not indexed and not compressed (RFC 7541 section 6.2.2)."""
    block = b"".join(
        b"\x00%c%b%c%b" % (len(name), name, len(value), value) for name, value in pairs
    )
    return frame(1, 0x4 | ends, stream, block)


SETTINGS = frame(4, 0, 0)
METHOD, PATH, SCHEME = (b":method", b"GET"), (b":path", b"/mcp"), (b":scheme", b"http")
POST = (b":method", b"POST")
AUTHORITY = (b":authority", b"gate.example")
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
WEBSOCKET = (
    b"GET /mcp HTTP/1.1\r\nHost: gate.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
ASKED = b"GET /mcp HTTP/1.1\r\nHost: gate.example\r\n"

STIMULI: dict[str, list[bytes]] = {
    "1 h2c with bad settings": [ASKED + H2C + b"AAA\r\n\r\n"],
    "1 h2c with good settings": [ASKED + H2C + b"AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", PREFACE],
    "1 h2c with a token": [ASKED + BEARER + H2C + b"A\r\n\r\n"],
    "1 h2c by OPTIONS": [ASKED.replace(b"GET", b"OPTIONS") + H2C + b"=\r\n\r\n", PREFACE],
    "2 websocket and a byte": [WEBSOCKET + b"\r\nx"],
    "2 websocket and a byte later": [WEBSOCKET + b"\r\n", b"x"],
    "2 websocket with a token": [WEBSOCKET + BEARER + b"\r\n\x81\x00"],
    "3 path over 0x7f": [
        PREFACE + SETTINGS + fields(1, METHOD, SCHEME, AUTHORITY, (b":path", b"/\xff"))
    ],
    "4 method over 0x7f": [
        PREFACE + SETTINGS + fields(1, (b":method", b"G\xff"), SCHEME, AUTHORITY, PATH)
    ],
    "5 CONNECT without a path": [
        PREFACE + SETTINGS + fields(1, (b":method", b"CONNECT"), AUTHORITY)
    ],
    "6 DATA behind the answer": [
        PREFACE + SETTINGS + fields(1, POST, SCHEME, AUTHORITY, PATH, ends=False),
        frame(0, 0, 1, b"{"),
        frame(0, 1, 1, b"}"),
    ],
    "7 opened and reset": [
        PREFACE + SETTINGS,
        *(
            fields(stream, METHOD, SCHEME, AUTHORITY, PATH) + frame(3, 0, stream, b"\0\0\0\x08")
            for stream in range(1, 201, 2)
        ),
    ],
    "preface alone": [PREFACE],
    "preface in halves": [PREFACE[:20], PREFACE[20:]],
    "preface without a key": [PREFACE + frame(6, 0, 0, b"p" * 8) * 100],
}


async def said_first(house: House, *pieces: bytes) -> Answer:
    """The first answer on a connection that is then left."""
    peer = await house.connect()
    async with peer.stream:
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await peer.send(piece)
        head = await peer.head()
        return Answer(head, await peer.body(head))


@pytest.mark.parametrize("pieces", STIMULI.values(), ids=STIMULI)
async def test_what_ended_hypercorn_gets_an_ordinary_answer_twenty_times(
    access_log: Log, pieces: list[bytes]
) -> None:
    async with unharmed(access_log) as house:
        for _ in range(20):
            first = await said_first(house, *pieces)
            assert first.status in {200, 400, 401, 505}
            assert first.status == 505 or not pieces[0].startswith(PREFACE[:20])
            assert_no_banner(first.head)
            assert first.head.get(b"Upgrade") is None


@pytest.mark.parametrize("wrong", [b"AAA", b"", b"!", b"AAMAAABkAAQCAAAAAAIAAAAA"])
async def test_an_upgrade_to_http_2_is_ignored_and_the_connection_goes_on(
    access_log: Log, wrong: bytes
) -> None:
    """RFC 9110 section 7.8: Java's client asks for it with every first request."""
    async with unharmed(access_log) as house:
        upgrade = H2C.split(b"\r\n")[:2]
        peer = await house.connect()
        async with peer.stream:
            for body in (b"{}", b""):
                lines = [*upgrade, b"HTTP2-Settings: " + wrong]
                await peer.send(house.raw(b"/mcp", *lines, method=b"POST", body=body))
                head = await peer.head()
                assert (head.status, await peer.body(head)) == (200, b"{}")
        assert not [head for head in house.upstream.heads if b"pgrade" in head.raw]
        assert not [head for head in house.upstream.heads if b"HTTP2" in head.raw]


async def test_the_preface_is_answered_in_http_1_and_closed(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        for stimulus in ("7 opened and reset", "preface alone", "6 DATA behind the answer"):
            await refused(house, *STIMULI[stimulus], status=(505,))


async def test_a_flood_of_streams_while_the_gate_stops_does_not_keep_it_from_stopping(
    access_log: Log,
) -> None:
    """CVE-2023-44487, and Hypercorn's seventh way to end badly."""
    flood = b"".join(STIMULI["7 opened and reset"])

    async def one_house() -> None:
        async with open_house() as house:
            peers = [await house.connect() for _ in range(3)]
            for peer in peers:
                await peer.send(flood)
            house.stop.set()
            for peer in peers:
                with suppress(trio.BrokenResourceError):
                    await peer.send(flood)
                await peer.stream.aclose()
            assert house.connections.failures == 0

    async with unharmed(access_log), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one_house)


def test_the_program_ends_with_status_0_under_all_of_it(tmp_path: Path) -> None:
    async def attack(port: int) -> None:
        async with trio.open_nursery() as nursery:
            for pieces in STIMULI.values():
                nursery.start_soon(one_connection, port, pieces)

    async def one_connection(port: int, pieces: list[bytes]) -> None:
        for _ in range(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with suppress(trio.BrokenResourceError):
                    for piece in pieces:
                        await stream.send_all(piece)

    with running(tmp_path, MCP_APP="") as program:
        program.wait_for("/health")
        trio.run(attack, program.port)
        program.wait_for("/health")
        trio.run(attack, program.port)
        assert program.stop() == 0
        assert "Traceback" not in program.output
        assert not [secret for secret in SECRETS if secret in program.output]


# WebSockets.


@pytest.mark.parametrize("rest", [b"\r\n", b"\r\nx", b"\r\n\x81\x05hello", b"\r\n" + SECOND])
@pytest.mark.parametrize("token", [b"", BEARER], ids=["without a token", "with a token"])
async def test_a_websocket_is_refused_and_nothing_behind_it_is_read(
    access_log: Log, token: bytes, rest: bytes
) -> None:
    async with unharmed(access_log) as house:
        await refused(house, WEBSOCKET + token + rest)


# Whatever comes.

FRAGMENTS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"\xff",
        b"hello",
        b"0\r\n\r\n",
    ),
    *(b"POST /mcp HTTP/1.1\r\n", b"GET /mcp?key=no HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\n"),
    *(b"HEAD /mcp HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"TRACE /mcp HTTP/1.1\r\n"),
    *(b"Host: gate.example\r\n", b"Host: [::1]:1\r\n", b"Host: @\r\n", b"Origin: null\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 4, 4\r\n", b"Content-Length: 99999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"Transfer-Encoding:\r\n "),
    *(b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n"),
    *(b"Upgrade: h2c\r\n", b"HTTP2-Settings: A\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n"),
    *(b"Authorization: Bearer no\r\n", b"X-API-Key: no\r\n", b"5\r\nhello\r\n", b"5;a\nb\r\n"),
    *(b"5;\r\r\n", b"F" * 20, b"X_A: 1\r\n", b" folded\r\n", PREFACE, SETTINGS, b"x" * 9000),
]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=6), max_size=14), st.booleans()
        ),
        min_size=1,
        max_size=10,
    )
)
def test_whatever_bytes_come_without_a_token_nothing_passes_and_the_gate_goes_on(
    conversations: list[tuple[list[bytes], bool]],
) -> None:
    trio.run(survive, conversations)


async def survive(conversations: list[tuple[list[bytes], bool]]) -> None:
    async with open_house() as house:
        await trio.testing.wait_all_tasks_blocked()
        before = levels()
        for pieces, dribble in conversations:
            peer = await house.connect()
            async with peer.stream:
                with suppress(trio.BrokenResourceError, OSError):
                    for piece in pieces if dribble else [b"".join(pieces)]:
                        await peer.send(piece)
                    await peer.stream.send_eof()
                raw = b""
                with suppress(trio.BrokenResourceError):
                    while data := await peer.receive():
                        raw += data
            assert not raw or raw.startswith(b"HTTP/1.1 ")
            assert b"HTTP/1.1 2" not in raw
            assert b"HTTP/1.1 500" not in raw
        assert house.upstream.heads == []
        assert house.connections.failures == 0
        await good_call(house)
        await settled(house, before)
