"""The gate's own answers: challenges, refusals and pages, over real sockets."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.harness.house import BEARER, House, network_only, one_way, open_house
from tests.harness.paths import DISCOVERY, ODD
from tests.harness.program import TOKEN, free_port

if TYPE_CHECKING:
    from tests.harness.wire import Head, Peer

PAGES = [b"/", b"/health", b"/ready"]


def assert_challenge(head: Head, body: bytes) -> None:
    assert head.status == 401
    assert head.get(b"WWW-Authenticate") == b'Bearer realm="mcp"'
    assert head.get(b"Cache-Control") == b"no-store"
    assert head.get(b"Content-Type") == b"application/json"
    assert head.get(b"Server") is None
    assert head.get(b"Date") is not None
    error = json.loads(body)
    assert error["jsonrpc"] == "2.0"
    assert error["id"] is None
    assert error["error"]["code"] == -32010
    assert error["error"]["message"].startswith("Unauthorized: ")


@pytest.mark.parametrize("path", [b"/mcp", b"/mcp/", b"/mcp/below", b"/mcp?a=1", b"/mcp?key=wrong"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"PUT", b"OPTIONS", b"PATCH"])
async def test_without_a_good_token_every_method_is_challenged(
    house: House, path: bytes, method: bytes
) -> None:
    head, body = await house.request(path, method=method, token=False)
    assert_challenge(head, body)
    assert house.upstream.heads == []


async def test_a_missing_and_a_wrong_token_get_the_same_bytes(house: House) -> None:
    bodies = {
        (await house.request(b"/mcp", *fields, token=False))[1]
        for fields in ([], [b"Authorization: Bearer wrong"], [b"Authorization: Basic eA=="])
    }
    assert len(bodies) == 1


async def test_a_challenge_comes_before_a_byte_of_the_body_is_read(house: House) -> None:
    peer = await house.connect()
    await peer.send(b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 1000000\r\n\r\n")
    head = await peer.head()
    assert_challenge(head, await peer.body(head))
    await peer.stream.aclose()


async def test_a_refused_upload_reads_its_refusal_and_leaves_nothing_behind(house: House) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    for _ in range(5):
        peer = await house.connect()
        body = b"x" * 8_000_000
        async with trio.open_nursery() as nursery:

            async def upload(peer: Peer = peer, body: bytes = body) -> None:
                head = (
                    b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await peer.stream.send_all(head + body)

            nursery.start_soon(upload)
            head = await peer.head()
            assert_challenge(head, await peer.body(head))
            nursery.cancel_scope.cancel()
        await peer.stream.aclose()
    with trio.fail_after(3):
        while trio.lowlevel.current_statistics().tasks_living > tasks:
            await trio.sleep(0.05)


async def test_a_connection_stays_usable_after_a_refusal_with_a_body(house: House) -> None:
    peer = await house.connect()
    for _ in range(3):
        await peer.send(house.raw(method=b"POST", body=b'{"a":1}', token=False))
        head = await peer.head()
        assert_challenge(head, await peer.body(head))
    await peer.send(house.raw(method=b"POST", body=b'{"a":1}'))
    head = await peer.head()
    assert (head.status, await peer.body(head)) == (200, b"{}")
    await peer.stream.aclose()


@pytest.mark.parametrize(
    "fields",
    [
        [b"Authorization: Bearer " + TOKEN.encode()] * 2,
        [b"X-API-Key: a", b"x-api-key: a"],
    ],
)
async def test_the_same_kind_of_credential_twice_is_400(house: House, fields: list[bytes]) -> None:
    head, body = await house.request(b"/mcp", *fields, token=False)
    assert head.status == 400
    assert "twice" in json.loads(body)["error"]["message"]
    assert house.upstream.heads == []


async def test_the_key_twice_is_400_even_beside_a_good_header(house: House) -> None:
    key = TOKEN.encode()
    head, _ = await house.request(b"/mcp?key=" + key + b"&k%65y=" + key)
    assert head.status == 400
    assert house.upstream.heads == []


@pytest.mark.parametrize(
    "path", [path.encode() for path in DISCOVERY] + [b"/nope", b"/favicon.ico"]
)
@pytest.mark.parametrize("token", [False, True])
async def test_discovery_and_unknown_paths_are_a_json_404(
    house: House, path: bytes, token: bool
) -> None:
    for method in (b"GET", b"POST"):
        head, body = await house.request(path, method=method, body=b"", token=token)
        assert head.status == 404
        assert head.get(b"Content-Type") == b"application/json"
        assert head.get(b"WWW-Authenticate") is None
        assert json.loads(body)["error"] == "not_found"
    assert house.upstream.heads == []


@one_way
@pytest.mark.parametrize("path", [path for path in ODD if path != "host:443"])
async def test_odd_paths_are_404_with_a_good_token_and_never_forwarded(
    house: House, path: str
) -> None:
    head, _ = await house.request(path.encode())
    assert head.status in (400, 404)
    assert house.upstream.heads == []


async def test_health_is_ok_while_the_gate_lives(house: House) -> None:
    for query in (b"", b"?x=1"):
        head, body = await house.request(b"/health" + query, token=False)
        assert (head.status, json.loads(body)) == (200, {"status": "ok"})


@network_only
async def test_ready_says_whether_the_upstream_accepts_connections(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.upstream.network.LOOK_SECONDS", 0.0)  # nothing is remembered
    head, _ = await house.request(b"/ready", token=False)
    assert head.status == 200
    await house.upstream.stop()
    head, body = await house.request(b"/ready", token=False)
    assert head.status == 503
    assert json.loads(body)["status"] == "unreachable"
    assert head.get(b"Retry-After") is not None


@pytest.mark.parametrize("path", PAGES)
async def test_head_gets_the_head_of_get_without_a_body(house: House, path: bytes) -> None:
    get, body = await house.request(path, token=False)
    peer = await house.connect()
    await peer.send(b"HEAD %s HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n" % path)
    head = await peer.head()
    assert head.status == get.status == 200
    assert head.get(b"Content-Length") == b"%d" % len(body)
    assert head.get(b"Content-Type") == get.get(b"Content-Type")
    assert await peer.closed()
    await peer.stream.aclose()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_refuses_other_methods(house: House, path: bytes) -> None:
    head, body = await house.request(path, method=b"POST", body=b"a=b", token=False)
    assert head.status == 405
    assert head.get(b"Allow") == b"GET, HEAD"
    assert json.loads(body)["error"] == "method_not_allowed"


@network_only
async def test_the_landing_page_shows_how_to_connect_and_no_secret(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.upstream.network.LOOK_SECONDS", 0.0)  # nothing is remembered
    head, body = await house.request(b"/?logs=container&__theme=dark")
    page = body.decode()
    assert head.status == 200
    assert (head.get(b"Content-Type") or b"").startswith(b"text/html")
    for client in ("supergateway", "mcp-remote", "inspector", "claude mcp add", "gemini mcp add"):
        assert client in page
    assert "http://gate.example/mcp" in page
    assert "YOUR_TOKEN" in page
    assert TOKEN not in page
    assert 'class="status ready"' in page
    await house.upstream.stop()
    _, body = await house.request(b"/")
    assert b'class="status unreachable"' in body
    assert b'has not been reachable since <time datetime="2' in body


async def test_before_the_upstream_was_ever_reached_it_may_be_starting() -> None:
    async with open_house(upstream_port=free_port()) as house:
        _, ready = await house.request(b"/ready", token=False)
        assert json.loads(ready)["status"] == "starting"
        _, page = await house.request(b"/", token=False)
        assert b'class="status starting"' in page
        head, body = await house.request(method=b"POST", body=b"{}")
        assert head.status == 502
        assert b"may be starting" in body


@pytest.mark.parametrize("fields", [[], [BEARER.replace(b"t0Ken", b"wrong").rstrip()]])
async def test_where_no_token_may_come_in_a_url_the_refusal_says_so_whatever_the_token_is(
    fields: list[bytes],
) -> None:
    async with open_house(allow_query_key=False) as house:
        answers = []
        for key in (TOKEN, TOKEN[:-1], "x"):
            head, body = await house.request(b"/mcp?key=" + key.encode(), *fields, token=False)
            assert head.status == 401
            assert head.get(b"WWW-Authenticate") == b'Bearer realm="mcp"'
            answers.append(body)
        assert len(set(answers)) == 1
        assert b"takes no token in a URL" in answers[0]
        head, _ = await house.request(b"/mcp?key=x")
        assert head.status == 200


async def test_the_landing_page_may_be_framed_by_hugging_face_and_loads_nothing(
    house: House,
) -> None:
    head, body = await house.request(b"/", token=False)
    policy = head.get(b"Content-Security-Policy") or b""
    assert b"default-src 'none'; script-src 'sha256-" in policy
    assert b"unsafe" not in policy
    assert b"frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
    assert head.get(b"X-Frame-Options") is None
    for loading in (b"src=", b"<link", b"@import", b"url(", b"style="):
        assert loading not in body


async def test_a_websocket_is_refused(house: House) -> None:
    peer = await house.connect()
    await peer.send(
        b"GET /mcp HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + BEARER
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = await peer.head()
    assert 400 <= head.status < 500
    assert house.upstream.heads == []
    await peer.stream.aclose()


async def test_a_document_of_discovery_comes_over_a_connection_whatever_host_is_asked() -> None:
    path = b"/.well-known/oauth-protected-resource/mcp"
    async with open_house(
        auth_issuer="https://sign-in.example", public_url="https://gate.example"
    ) as house:
        head, body = await house.request(path, token=False)
        only, nothing = await house.request(path, method=b"HEAD", token=False)
        before, _ = await house.request(path, b"Origin: https://a", method=b"OPTIONS", token=False)
        same = (await house.request(path, b'X-Forwarded-Host: e"vil', token=False))[1]
        peer = await house.connect()
        async with peer.stream:
            await peer.send(b"GET %s HTTP/1.1\r\nHost: evil.example\r\n\r\n" % path)
            evil = await peer.body(await peer.head())
        static, refused = await house.request(path)
    assert (head.status, only.status, before.status, static.status) == (200, 200, 204, 404)
    assert json.loads(body)["resource"] == "https://gate.example/mcp"
    assert (body, nothing) == (same, b"") == (evil, b"")
    assert only.get(b"Content-Length") == head.get(b"Content-Length") == b"%d" % len(body)
    assert "remove the static token" in json.loads(refused)["error_description"]
    assert house.upstream.heads == []
