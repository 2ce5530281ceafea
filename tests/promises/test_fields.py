"""Header fields on the wire: what stops here, what the gate adds, and what no answer ever shows."""

from __future__ import annotations

import pytest

from tests.harness.answers import TOP, answers, assert_no_banner, assert_rpc_error, refused, said
from tests.harness.house import BEARER
from tests.harness.levels import unharmed
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer

Log = pytest.LogCaptureFixture

CLOSE = b"Connection: close"
KEY = b"/mcp?key=" + TOKEN.encode()

HOPS = [
    b"Connection: ",  # CVE-2021-33197: an empty line must not hide the ones behind it
    b"Connection: keep-alive, X-First",
    b"connection: x-second ,\tX-Third,,",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers, deflate",
    b"Trailer: X-T",
    b"Upgrade: foo/2",
    b"Proxy-Authenticate: Basic",
    b"Proxy-Authorization: Basic eA==",
    b"X-First: 1",
    b"x-SECOND: 2",
    b"X-Third: 3",
]


def names(head: Head) -> list[bytes]:
    return [name.lower() for name, _ in head.fields]


# RFC 9110 section 7.6.1.


async def test_what_concerns_one_hop_reaches_neither_the_upstream_nor_the_client(
    access_log: Log,
) -> None:
    async with unharmed(access_log) as house:
        house.upstream.script = answer(b"{}", *HOPS[:7], *HOPS[8:], b"X-Kept: 1")
        raw = await said(house, house.raw(b"/mcp", *HOPS, b"X-Kept: 1", CLOSE))
        (only,) = answers(raw)
        assert only.status == 200
        assert names(only.head) == [b"content-length", b"x-kept", b"connection"]
        assert only.head.get(b"Connection") == b"close"
        assert names(house.upstream.head) == [
            *(b"host", b"x-kept", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
            *(b"via", b"connection"),
        ]
        assert house.upstream.head.get(b"Connection") == b"close"


@pytest.mark.parametrize("field", HOPS[3:10], ids=lambda field: field.split(b":")[0].decode())
async def test_each_field_of_one_hop_stops_here_alone_and_in_any_spelling(
    access_log: Log, field: bytes
) -> None:
    name, _, rest = field.partition(b":")
    async with unharmed(access_log) as house:
        for spelled in (name.upper(), name.lower(), name.swapcase()):
            house.upstream.heads.clear()
            raw = await said(house, house.raw(b"/mcp", spelled + b":" + rest, CLOSE))
            assert answers(raw)[0].status == 200
            assert name.lower() not in names(house.upstream.head)


POSES = [
    b"X-Forwarded-For: 203.0.113.1",
    b"x-forwarded-for: 203.0.113.2",
    b"X-Forwarded-Host: evil.example",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Port: 1",
    b"X-Forwarded-User: root",
    b"X-Forwarded-Prefix: /x",
    b"Forwarded: for=203.0.113.1;host=evil.example",
    b"X-Real-IP: 203.0.113.1",
    b"X-Gate-Secret: guess",
    b"X-Gate-Request-Id: guess",
]


@pytest.mark.parametrize(
    "strip",
    [
        b"X-Kept: 1",
        b"Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Via, Host",
        b"Connection: content-length, transfer-encoding, authorization",
    ],
)
async def test_a_client_can_neither_pose_nor_strip_what_the_gate_adds(
    access_log: Log, strip: bytes
) -> None:
    """CVE-2025-48865, CVE-2024-45410, CVE-2026-30851, CVE-2026-52845."""
    async with unharmed(access_log) as house:
        request = house.raw(b"/mcp", strip, *POSES, CLOSE, method=b"POST", body=b"{}")
        assert answers(await said(house, request))[0].status == 200
        head = house.upstream.head
        assert head.get(b"Host") == b"127.0.0.1:%d" % house.upstream.port
        assert head.get(b"X-Forwarded-For") == b"127.0.0.1"
        assert head.get(b"X-Forwarded-Host") == b"gate.example"
        assert head.get(b"X-Forwarded-Proto") == b"http"
        assert head.get(b"Via") == b"1.1 mcp-gate"
        assert head.get(b"Content-Length") == b"2"
        assert head.get(b"Authorization") is None
        for value in (b"203.0.113", b"evil.example", b"root", b"guess"):
            assert value not in head.raw


@pytest.mark.parametrize(
    "name",
    [
        *(b"X_Forwarded_For", b"X_Real_IP", b"X-Forwarded_For", b"X_Forwarded_User"),
        *(b"X_Gate_Secret", b"Content_Length", b"Transfer_Encoding", b"X_API_KEY", b"_"),
    ],
)
async def test_an_alias_with_underscores_is_refused(access_log: Log, name: bytes) -> None:
    """CVE-2025-64484."""
    async with unharmed(access_log) as house:
        await refused(house, house.raw(b"/mcp", name + b": 1"))


async def test_the_upstream_keeps_a_token_of_its_own_but_gets_none_of_ours(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        fields = [b"X-API-Key: " + TOKEN.encode(), b"X-HF-Authorization: Bearer hf_x", CLOSE]
        request = house.raw(KEY + b"&a=%2F;b&key2=x", *fields, b"Cookie: a=b")
        assert answers(await said(house, request))[0].status == 200
        assert house.upstream.head.start_line == b"GET /mcp?a=%2F;b&key2=x HTTP/1.1"
        assert TOKEN.encode() not in house.upstream.head.raw
        assert b"hf_x" not in house.upstream.head.raw
        assert house.upstream.head.get(b"Cookie") == b"a=b"


# RFC 9110 section 10.1.1.


@pytest.mark.parametrize(
    "value", [b"200-ok", b"100-continue, x", b"100-continue;q=1", b"", b"100", b"x" * 2000]
)
@pytest.mark.parametrize("token", [True, False])
async def test_an_unknown_expectation_is_417(access_log: Log, value: bytes, token: bool) -> None:
    async with unharmed(access_log) as house:
        request = house.raw(b"/mcp", b"Expect: " + value, token=token)
        await refused(house, request, status=(417,))


@pytest.mark.parametrize("spelled", [b"100-continue", b"100-Continue"])
async def test_who_expects_to_be_told_gets_a_final_401_without_a_token(
    access_log: Log, spelled: bytes
) -> None:
    async with unharmed(access_log) as house:
        peer = await house.connect()
        async with peer.stream:
            top = TOP.replace(BEARER, b"") + b"Expect: " + spelled
            await peer.send(top + b"\r\nContent-Length: 2\r\n\r\n")
            head = await peer.head()
            if head.status == 100:  # Hypercorn says it before the gate is asked
                assert head.fields == []
                head = await peer.head()
            assert head.status == 401
            await peer.body(head)
        assert house.upstream.heads == []


async def test_who_expects_to_be_told_may_go_on_with_a_token_and_the_upstream_is_not_asked(
    access_log: Log,
) -> None:
    async with unharmed(access_log) as house:
        peer = await house.connect()
        async with peer.stream:
            await peer.send(TOP + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            head = await peer.head()
            assert head.start_line.startswith(b"HTTP/1.1 100")
            assert_no_banner(head)
            await peer.send(b"{}")
            head = await peer.head()
            assert (head.status, await peer.body(head)) == (200, b"{}")
        assert house.upstream.head.get(b"Expect") is None


# Answers without a body.

BODILESS = {
    "HEAD": (b"HEAD", b"200 OK", [b"Content-Length: 1000"]),
    "HEAD without a length": (b"HEAD", b"200 OK", []),
    "HEAD in chunks": (b"HEAD", b"200 OK", [b"Transfer-Encoding: chunked"]),
    "HEAD of events": (b"HEAD", b"200 OK", [b"Content-Type: text/event-stream"]),
    "HEAD of an error": (b"HEAD", b"404 Not Found", [b"Content-Length: 9"]),
    "204": (b"POST", b"204 No Content", []),
    "204 with a length": (b"DELETE", b"204 No Content", [b"Content-Length: 0"]),
    "204 with a false length": (b"DELETE", b"204 No Content", [b"Content-Length: 9"]),
    "304": (b"GET", b"304 Not Modified", [b"ETag: x"]),
    "304 with a length": (b"GET", b"304 Not Modified", [b"Content-Length: 1000"]),
    "202 and nothing": (b"POST", b"202 Accepted", [b"Content-Length: 0"]),
}


@pytest.mark.parametrize(("method", "status", "lines"), BODILESS.values(), ids=BODILESS)
@pytest.mark.parametrize("keep_alive", [False, True])
async def test_an_answer_without_a_body_has_none_and_the_connection_goes_on(
    access_log: Log, keep_alive: bool, method: bytes, status: bytes, lines: list[bytes]
) -> None:
    async with unharmed(access_log, keep_alive=keep_alive) as house:

        async def script(peer: Peer, head: Head) -> None:
            if head.start_line.startswith(b"PUT"):
                await answer(b"next")(peer, head)
                return
            await peer.body(head)
            await peer.send(b"\r\n".join([b"HTTP/1.1 " + status, *lines]) + b"\r\n\r\n")

        house.upstream.script = script
        peer = await house.connect()
        async with peer.stream:
            for _ in range(2):
                await peer.send(house.raw(method=method))
                head = await peer.head()
                assert head.status == int(status[:3])
                await peer.send(house.raw(method=b"PUT"))
                head = await peer.head()
                assert (head.status, await peer.body(head)) == (200, b"next")


@pytest.mark.parametrize("target", [b"/mcp", b"/nope", b"/health", b"/", b"/mcp?a#b"])
async def test_head_never_gets_a_body_from_the_gate_itself(access_log: Log, target: bytes) -> None:
    async with unharmed(access_log) as house:
        raw = await said(house, house.raw(target, CLOSE, method=b"HEAD", token=False))
        assert raw.endswith(b"\r\n\r\n")
        assert len(answers(raw, to_head=True)) == 1


# RFC 6750 section 2.3.


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"Cache-Control: public, max-age=3600"],
        [b"Connection: Cache-Control", b"Cache-Control: public"],
        [b"Content-Type: text/event-stream"],
    ],
)
async def test_answers_to_a_token_in_the_url_are_for_no_cache(
    access_log: Log, fields: list[bytes], token: bool
) -> None:
    async with unharmed(access_log) as house:
        for status in (b"200 OK", b"404 Not Found", b"307 Moved", b"304 Not Modified"):
            body = b"" if status.startswith(b"304") else b"{}"
            house.upstream.script = answer(body, *fields, status=status)
            (only,) = answers(await said(house, house.raw(KEY, CLOSE, token=token)))
            assert only.status == (502 if status.startswith(b"307") else int(status[:3]))
            assert b"no-store" in only.head.all(b"Cache-Control")


async def test_a_refusal_is_for_no_cache_whether_or_not_the_url_holds_a_token(
    access_log: Log,
) -> None:
    async with unharmed(access_log, max_body_bytes=10) as house:
        for request in (
            house.raw(b"/mcp?key=wrong", CLOSE, token=False),
            house.raw(b"/nope?key=" + TOKEN.encode(), CLOSE),
            house.raw(b"/?key=" + TOKEN.encode(), CLOSE),
            house.raw(b"/health?key=" + TOKEN.encode(), CLOSE),
            house.raw(KEY, CLOSE, method=b"POST", body=b"x" * 11),
            house.raw(KEY + b"&key=" + TOKEN.encode(), CLOSE),
            house.raw(KEY, b"Origin: null"),
            house.raw(KEY + b"#"),
            house.raw(KEY).replace(b"gate.example", b"evil.example"),
            b"GET " + KEY + b" HTTP/1.1\r\n\r\n",
        ):
            closing = request.replace(b"\r\n\r\n", b"\r\n" + CLOSE + b"\r\n\r\n", 1)
            (only,) = answers(await said(house, request if CLOSE in request else closing))
            assert only.head.get(b"Cache-Control") == b"no-store"
            assert TOKEN.encode() not in only.head.raw + only.body


# Local replies.


async def test_no_answer_of_the_gate_names_its_maker(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        for request in (
            house.raw(b"/mcp", CLOSE),
            house.raw(b"/mcp", CLOSE, token=False),
            *(house.raw(path, CLOSE) for path in (b"/", b"/health", b"/ready", b"/nope")),
            house.raw(b"/health", CLOSE, method=b"POST"),
            house.raw(b"/mcp", b"a b: c"),
            house.raw(b"/mcp", b"a: " + b"x" * 20_000),
            house.raw(b"/mcp", b"a: " + b"x" * 200_000),
            house.raw(b"/mcp?" + b"x" * 9000),
            house.raw(b"/mcp?" + b"x" * 90_000),
            house.raw(b"/mcp", b"Transfer-Encoding: x"),
            house.raw(b"/mcp", method=b"TRACE"),
            house.raw().replace(b"1.1", b"2.0"),
            house.raw(b"/mcp", b"Expect: x"),
            b"\0\r\n\r\n",
        ):
            (only,) = answers(await said(house, request))
            assert_no_banner(only.head)
            reason = only.head.start_line.split(b" ", 2)[2]
            assert reason, "a status line without a reason"
            assert only.head.get(b"Date") or only.status == 200
            assert only.head.all(b"Content-Length") == [b"%d" % len(only.body)]


# Control characters, both ways (RFC 9110 section 5.5; CVE-2019-9900).

CONTROLS = [*range(0x09), *range(0x0A, 0x20), 0x7F]


@pytest.mark.parametrize("byte", CONTROLS)
async def test_a_control_character_from_the_upstream_is_a_502(access_log: Log, byte: int) -> None:
    async with unharmed(access_log) as house:
        house.upstream.script = answer(b"{}", b"X-A: a%cb" % byte, b"X-Secret: s3cret")
        (only,) = answers(await said(house, house.raw(b"/mcp", CLOSE)))
        assert only.status == 502
        assert_rpc_error(only)
        assert b"s3cret" not in only.head.raw


@pytest.mark.parametrize(
    "line",
    [
        *(b"X A: 1", b": 1", b"X-A", b"X-A : 1", b"X-\xe4: 1", b"Content-Length: 3"),
        *(b"Content-Length: x", b"Transfer-Encoding: gzip", b"X\x00: 1"),
    ],
)
async def test_an_answer_that_is_malformed_is_a_502(access_log: Log, line: bytes) -> None:
    async with unharmed(access_log) as house:
        house.upstream.script = answer(b"{}", line)
        (only,) = answers(await said(house, house.raw(b"/mcp", CLOSE)))
        assert only.status == 502
        assert_rpc_error(only)


async def test_an_odd_reason_phrase_is_replaced(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        for status in (b"200 caf\xe9 \x01", b"200 ", b"200", b"200 <b>", b"299 Own", b"999 Own"):
            house.upstream.script = answer(b"{}", status=status)
            (only,) = answers(await said(house, house.raw(b"/mcp", CLOSE)))
            phrase = b"OK" if status.startswith(b"200") else b""
            assert only.head.start_line == b"HTTP/1.1 %b %b" % (status[:3], phrase)


async def test_what_is_allowed_in_a_value_passes_both_ways(access_log: Log) -> None:
    value = b"a\tb" + bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])
    async with unharmed(access_log) as house:
        house.upstream.script = answer(b"{}", b"X-A: " + value, b"X_B: 1")
        (only,) = answers(await said(house, house.raw(b"/mcp", CLOSE, b"X-A: " + value)))
        assert only.head.get(b"X-A") == house.upstream.head.get(b"X-A") == value
        assert only.head.get(b"X_B") == b"1"


async def test_of_an_answer_with_both_framings_chunks_count_and_one_goes_on(
    access_log: Log,
) -> None:
    """RFC 9112 section 6.3."""
    async with unharmed(access_log) as house:

        async def script(peer: Peer, head: Head) -> None:
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5;x\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"
            )

        house.upstream.script = script
        peer = await house.connect()
        async with peer.stream:
            await peer.send(house.raw())
            head = await peer.head()
            assert head.get(b"Content-Length") is None
            assert await peer.body(head) == b"hello"
            await peer.send(house.raw(b"/nope"))
            assert (await peer.head()).status == 404


async def test_interim_answers_of_the_upstream_stay_here(access_log: Log) -> None:
    async with unharmed(access_log) as house:

        async def script(peer: Peer, head: Head) -> None:
            await peer.send(b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n")
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await answer(b"{}")(peer, head)

        house.upstream.script = script
        (only,) = answers(await said(house, house.raw(b"/mcp", CLOSE)))
        assert (only.status, only.body) == (200, b"{}")


# Whatever comes.
