"""From where a request may come, and to what: Host, Origin, CORS, and targets that lead elsewhere."""

from __future__ import annotations

import json

import pytest

from tests.harness.answers import answers, assert_no_banner, assert_rpc_error, said
from tests.harness.house import BEARER, House
from tests.harness.levels import unharmed
from tests.harness.paths import ODD
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer

Log = pytest.LogCaptureFixture


# Host (DNS rebinding: CVE-2025-66416).


# Origin.


# Over sockets: what a browser, and a page behind it, gets to see.


async def one(house: House, request: bytes) -> tuple[Head, bytes]:
    (only,) = answers(await said(house, request))
    return only.head, only.body


def asked(host: bytes, *fields: bytes, method: bytes = b"POST", token: bool = True) -> bytes:
    lines = [method + b" /mcp HTTP/1.1", b"Host: " + host, *fields, b"Connection: close"]
    return b"\r\n".join([*lines, BEARER.rstrip()] if token else lines) + b"\r\n\r\n"


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"gate.example..", b"127.0.0.1.evil.example", b"[::2]", b"localhost:1"],
)
async def test_a_wrong_host_is_421_with_and_without_a_token(
    access_log: Log, host: bytes, token: bool
) -> None:
    async with unharmed(access_log) as house:
        head, body = await one(house, asked(host, token=token))
        assert head.status == 421
        assert "ALLOWED_HOSTS" in json.loads(body)["error"]["message"]
        assert house.upstream.heads == []


async def test_on_a_public_bind_any_name_passes_and_the_upstream_gets_its_own(
    access_log: Log,
) -> None:
    async with unharmed(access_log, allowed_hosts="", host="0.0.0.0") as house:
        assert (await one(house, asked(b"any.example:1")))[0].status == 200
        assert house.upstream.head.get(b"Host") == b"127.0.0.1:%d" % house.upstream.port
        assert house.upstream.head.get(b"X-Forwarded-Host") == b"any.example:1"


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "origin", [b"null", b"https://evil.example", b"http://127.0.0.1@evil", b""]
)
async def test_a_foreign_origin_is_403_with_and_without_a_token_and_gets_no_cors(
    access_log: Log, origin: bytes, token: bool
) -> None:
    async with unharmed(access_log) as house:
        for method in (b"POST", b"GET", b"DELETE", b"OPTIONS"):
            lines = [b"Origin: " + origin, b"Access-Control-Request-Method: POST"]
            head, body = await one(
                house, asked(b"gate.example", *lines, method=method, token=token)
            )
            assert head.status == 403
            assert b"ALLOWED_ORIGINS" in body
            assert not [name for name, _ in head.fields if name.lower().startswith(b"access-")]
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"http://gate.example", b"https://evil.example"), (b"null", b"http://gate.example")],
)
async def test_two_origins_are_refused(access_log: Log, first: bytes, second: bytes) -> None:
    """RFC 6454 section 7.3: never more than one; a reader of the other one would be deceived."""
    async with unharmed(access_log) as house:
        head, _ = await one(
            house, asked(b"gate.example", b"Origin: " + first, b"origin: " + second)
        )
        assert head.status in {400, 403}
        assert house.upstream.heads == []


PREFLIGHT = [
    b"Access-Control-Request-Method: POST",
    b"Access-Control-Request-Headers: authorization,content-type,mcp-param-region,x-evil,Mcp-Param-B",
]


@pytest.mark.parametrize("origin", [b"http://gate.example", b"https://app.example"])
async def test_a_preflight_of_an_allowed_origin_is_answered_without_a_token(
    access_log: Log, origin: bytes
) -> None:
    """Fetch Standard, «CORS protocol»."""
    async with unharmed(access_log, allowed_origins="https://app.example") as house:
        request = asked(
            b"gate.example", b"Origin: " + origin, *PREFLIGHT, method=b"OPTIONS", token=False
        )
        head, body = await one(house, request)
        assert (head.status, body) == (204, b"")
        assert head.get(b"Content-Length") is None
        assert head.get(b"Access-Control-Allow-Origin") == origin
        assert head.get(b"Access-Control-Allow-Methods") == b"GET, POST, DELETE"
        assert head.get(b"Vary") == b"Origin"
        allowed = (head.get(b"Access-Control-Allow-Headers") or b"").lower().split(b", ")
        for (
            name
        ) in b"authorization x-api-key content-type accept last-event-id mcp-session-id".split():
            assert name in allowed
        for name in b"mcp-protocol-version mcp-param-region mcp-param-b".split():
            assert name in allowed
        assert b"x-evil" not in allowed
        assert head.get(b"Access-Control-Allow-Credentials") is None
        assert house.upstream.heads == []


async def test_a_preflight_leaves_the_connection_to_the_call_that_follows(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        origin = b"Origin: http://gate.example"
        before = house.raw(b"/mcp", origin, *PREFLIGHT, method=b"OPTIONS", token=False)
        call = house.raw(b"/mcp", origin, b"Connection: close", method=b"POST", body=b"{}")
        assert [each.status for each in answers(await said(house, before + call))] == [204, 200]
        assert len(house.upstream.heads) == 1


async def test_options_that_is_no_preflight_needs_a_token(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        for lines in ([b"Origin: http://gate.example"], [PREFLIGHT[0]], [PREFLIGHT[1]]):
            request = asked(b"gate.example", *lines, method=b"OPTIONS", token=False)
            assert (await one(house, request))[0].status == 401
        assert house.upstream.heads == []


async def hang_up(peer: Peer, head: Head) -> None:
    await peer.stream.aclose()


async def test_an_allowed_page_may_read_every_answer_and_the_session_id(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        house.upstream.script = answer(
            b"{}",
            b"Mcp-Session-Id: 1868a90c",
            b"Access-Control-Allow-Origin: *",
            b"access-control-allow-credentials: true",
            b"Connection: Access-Control-Expose-Headers, Vary",
        )
        origin = b"Origin: http://gate.example"
        for token, status in ((True, 200), (False, 401)):
            head, _ = await one(house, asked(b"gate.example", origin, token=token))
            assert head.status == status
            assert head.get(b"Access-Control-Allow-Origin") == b"http://gate.example"
            assert b"Mcp-Session-Id" in (head.get(b"Access-Control-Expose-Headers") or b"")
            assert head.get(b"Access-Control-Allow-Credentials") is None
        house.upstream.script = hang_up
        head, _ = await one(house, asked(b"gate.example", origin))
        assert head.status == 502
        assert head.get(b"Access-Control-Allow-Origin") == b"http://gate.example"


# Targets: the tables are in http/test_paths.py; here they meet sockets, pages and redirects.


async def test_no_odd_path_passes_or_redirects(access_log: Log) -> None:
    """RFC 3986 section 6; CVE-2021-29492, CVE-2021-32779, CVE-2026-73511."""
    async with unharmed(access_log) as house:
        for path in [*ODD, "/mcp?#", "/mcp?a=b#c", "/mcp/%2e%2e/admin", "/mcp/../admin"]:
            for method in (b"GET", b"POST"):
                raw = await said(
                    house, house.raw(path.encode(), b"Connection: close", method=method)
                )
                (only,) = answers(raw)
                assert only.status in {400, 404}
                assert only.head.get(b"Location") is None
                assert_no_banner(only.head)
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    "status",
    [
        *(b"101 Switching Protocols", b"300 Many", b"301 Moved", b"302 Found", b"303 Other"),
        *(b"305 Proxy", b"306 Unused", b"307 Temporary", b"308 Permanent", b"399 Own"),
    ],
)
async def test_a_redirect_of_the_upstream_is_a_502_and_its_location_stays_here(
    access_log: Log, status: bytes
) -> None:
    """CVE-2026-116685: clients follow, and take their token along."""
    async with unharmed(access_log) as house:
        house.upstream.script = answer(
            b"", b"Location: http://evil.example/mcp?key=stolen", status=status
        )
        target = b"/mcp?key=" + TOKEN.encode()
        raw = await said(house, house.raw(target, b"Connection: close", token=False))
        (only,) = answers(raw)
        assert only.status == 502
        assert only.head.get(b"Location") is None
        assert b"evil.example" not in raw
        assert_rpc_error(only)


# The whole of it, as ASGI: no bytes make the gate fail.
