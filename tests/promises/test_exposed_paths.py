"""Paths of the server's outside its endpoint: with a token as the endpoint, or open to everybody within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from gatehouse.identity.grants import Grants
from gatehouse.policy.strangers import MAX_OF_ADDRESS
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import House, open_house
from tests.harness.paths import ODD
from tests.harness.wire import Head, Peer, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMITED = make_value()
TOKENS = [Token("limited", (TokenValue(digest_of(LIMITED)),), Grants(tools=("a",)))]
PATHS = "/status, /files/*, /webhook without token, /open/* without token, /open/not"


@pytest.fixture
async def house(way: dict[str, Any]) -> AsyncIterator[House]:
    async with open_house(
        tokens=TOKENS, expose_paths=PATHS, trusted_hops=1, expose_rate="off", **way
    ) as house:
        yield house


async def test_exposed_paths_pass_as_they_are_with_a_token_or_without_one_where_that_is_said(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    for path in (b"/status", b"/files/a", b"/files/a/b%20c/", b"/open/not"):
        assert (await house.request(path, method=b"PUT", body=b"x"))[0].status == 200
        head = house.upstream.heads.pop()
        assert head.start_line == b"PUT %s HTTP/1.1" % path
        assert head.get(b"X-Gate-Principal") == b"default"
        assert (await house.request(path, token=False))[0].status == 401
        limited = b"X-API-Key: " + LIMITED.encode()
        refused, body = await house.request(path, limited, token=False)
        assert refused.status == 403
        assert b"no path but the MCP endpoint" in body
    for path in (b"/webhook", b"/open/a/b"):
        for credential in (b"Authorization: Bearer secret-of-a-client", b"X-API-Key: x", b"X-A: b"):
            target = path + b"?a=1&key=secret-of-a-client"
            assert (await house.request(target, credential, token=False))[0].status == 200
            head = house.upstream.heads.pop()
            assert head.start_line == b"GET %s?a=1 HTTP/1.1" % path
            assert head.get(b"X-Gate-Principal") is None
            assert b"secret-of" not in head.raw
    assert house.upstream.heads == []
    await trio.testing.wait_all_tasks_blocked(0.01)  # the last line comes a moment after its answer
    lines = [entry.getMessage() for entry in access_log.records if entry.name == "gate.access"]
    assert sum("needs no token" in line for line in lines) == 6
    assert "secret-of" not in access_log.text


@pytest.mark.parametrize("way", ["close"], indirect=True)
async def test_the_log_takes_no_body_and_no_field_outside_the_endpoint_for_a_call(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forged"}}'
    fields = [b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: tools/call", b"Mcp-Name: forged"]
    for path, token in ((b"/webhook", False), (b"/status", True), (b"/none", False)):
        await house.request(path, method=b"POST", body=body, token=token)
        await house.request(path, *fields, method=b"POST", body=body, token=token)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert "forged" not in access_log.text
    assert "tools/call" not in access_log.text


NOWHERE = """/status/ /status/a /Status /files /files/ /files/a//b /files/../mcp /files/%2e%2e/mcp /files/a%2fb /files/./a
    /files/.well-known/x /webhook/ /webhook/a //webhook /webhook;a /%77ebhook /open/ /open/a%00 /open/a%2Fb /other""".split()


@pytest.mark.parametrize("way", ["close"], indirect=True)
async def test_no_other_path_passes_and_none_that_is_odd(house: House) -> None:
    for path in [*NOWHERE, *(odd for odd in ODD if not odd.startswith("/mcp?"))]:
        head, _ = await house.request(path.encode())
        assert head.status in {400, 404}, path
    assert house.upstream.heads == []


@pytest.mark.parametrize("way", ["close"], indirect=True)
async def test_hosts_origins_and_limits_hold_without_a_token_too(house: House) -> None:
    async def status(*fields: bytes, host: bytes = b"gate.example") -> int:
        client = await house.connect()
        async with client.stream:
            lines = [b"POST /webhook HTTP/1.1", b"Host: " + host, *fields, b"", b""]
            await client.send(b"\r\n".join(lines))
            return (await client.head()).status

    preflight = [b"Origin: http://gate.example", b"Access-Control-Request-Method: PUT"]
    head, _ = await house.request(b"/webhook", *preflight, method=b"OPTIONS", token=False)
    assert b"PUT" in (head.get(b"Access-Control-Allow-Methods") or b"")
    assert await status(host=b"elsewhere.example") == 421
    assert await status(b"Origin: https://elsewhere.example") == 403
    assert await status(b"Content-Length: 99999999") == 413
    assert house.upstream.heads == []


@pytest.mark.parametrize("way", ["close"], indirect=True)
async def test_one_address_has_bounds_without_a_token_and_keeps_nobody_out(house: House) -> None:
    going = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        if b"/webhook" in head.start_line:
            await going.wait()
        await answer()(peer, head)

    async def ask(address: bytes, seen: list[int], path: bytes = b"/webhook") -> None:
        field = b"X-Forwarded-For: " + address
        seen.append((await house.request(path, field, token=path == b"/mcp"))[0].status)

    house.upstream.script = script
    waiting: list[int] = []
    others: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_OF_ADDRESS):
            nursery.start_soon(ask, b"192.0.2.1", waiting)
        while len(house.upstream.heads) < MAX_OF_ADDRESS:
            await trio.sleep(0.01)
        await ask(b"192.0.2.1", others)
        await ask(b"192.0.2.1", others, b"/mcp")
        await ask(b"192.0.2.1", others, b"/open/a")
        await ask(b"192.0.2.2", others, b"/open/a")
        going.set()
    assert others == [503, 200, 503, 200]
    assert waiting == [200] * MAX_OF_ADDRESS


async def test_one_address_may_ask_so_often_without_a_token() -> None:
    async with open_house(
        expose_paths=PATHS, expose_rate="1/hour, burst 2", trusted_hops=1
    ) as house:

        async def statuses(address: bytes) -> list[int]:
            field = b"X-Forwarded-For: " + address
            return [
                (await house.request(b"/webhook", field, token=False))[0].status for _ in range(3)
            ]

        assert await statuses(b"192.0.2.1") == [200, 200, 429]
        assert await statuses(b"192.0.2.2") == [200, 200, 429]
        assert (await house.request(b"/status"))[0].status == 200


async def test_without_a_token_nobody_waits_for_the_server_to_start() -> None:
    async with open_house(runtime="asyncio", started=trio.Event(), expose_paths=PATHS) as house:
        head, body = await house.request(b"/webhook", token=False)
        assert head.status == 503
        assert b"still starting" in body
