"""Answers come in kind: a client that should sign in is told where, and one with a static token hears nothing of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gatehouse.http import refusals
from tests.harness.house import open_house
from tests.harness.identity.authorization_server import AuthorizationServer, authorization_server
from tests.harness.identity.house import (
    BARE,
    INVALID,
    PUBLIC,
    SIGN_IN,
    STATIC,
    ask,
    believing,
    challenge_of,
    until_known,
)
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House

ROOT = "/.well-known/oauth-protected-resource"
SPELLINGS = {ROOT: "/mcp", f"{ROOT}/mcp": "/mcp", f"{ROOT}/mcp/": "/mcp/"}
"""The places of the metadata, and the endpoint that each speaks of."""

ELSEWHERE = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/mcp/.well-known/openid-configuration",
    "/mcp/.well-known/oauth-protected-resource",
    "/register",
    "/authorize",
    "/token",
]
"""Places of an authorization server, where clients look for one."""

METHODS = ["POST", "GET", "DELETE"]

CODEX_LOOKS = [
    ("GET", "/mcp", 401),
    ("GET", f"{ROOT}/mcp", 200),
    ("GET", "/mcp/.well-known/oauth-protected-resource", 404),
    ("GET", ROOT, 200),
    ("GET", "/.well-known/oauth-authorization-server/mcp", 404),
    ("GET", "/.well-known/openid-configuration/mcp", 404),
    ("GET", "/mcp/.well-known/openid-configuration", 404),
    ("GET", "/.well-known/oauth-authorization-server", 404),
    ("POST", "/register", 404),
]
"""The requests of Codex 0.171 that was given another host than that of PUBLIC_URL: it believes none of the documents."""


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


@pytest.fixture
async def house(server: AuthorizationServer) -> AsyncIterator[House]:
    async with believing(server) as house:
        yield house


async def test_without_an_issuer_nothing_speaks_of_oauth() -> None:
    async with open_house(public_url=PUBLIC) as house:
        for method in METHODS:
            answer = await ask(house, method=method)
            assert (answer.status, challenge_of(answer)) == (401, BARE)
        for place in [*SPELLINGS, *ELSEWHERE]:
            answer = await ask(house, method="GET", target=place)
            assert answer.status == 404
            assert answer.body == refusals.NOT_FOUND.body


async def test_nothing_and_an_empty_bearer_are_told_where_to_sign_in(house: House) -> None:
    for method in METHODS:
        for fields in ([], ["Authorization: Bearer"], ["Authorization: Bearer "]):
            answer = await ask(house, None, *fields, method=method)
            assert (answer.status, challenge_of(answer)) == (401, SIGN_IN)
            assert json.loads(answer.body)["error"]["code"] == -32010


async def test_a_wrong_static_token_is_told_nothing_of_oauth(
    house: House, server: AuthorizationServer
) -> None:
    jwt = server.token()
    for fields in (
        [f"Authorization: Bearer {STATIC}"],
        ["Authorization: Bearer some-secret-of-another-server"],
        ["Authorization: Bearer hf_qLkJhGfDsApOiUyTrEwQzXcVbNmLkJhGf"],
        [f"Authorization: Bearer hf_oauth_{jwt}"],
        ["Authorization: Bearer a.b.c"],
        [f"X-API-Key: {STATIC}"],
        [f"X-API-Key: {jwt}"],
    ):
        answer = await ask(house, None, *fields)
        assert (answer.status, challenge_of(answer)) == (401, BARE), fields
    for key in (STATIC, jwt):
        answer = await ask(house, target=f"/mcp?key={key}")
        assert (answer.status, challenge_of(answer)) == (401, BARE)
    assert (await ask(house, jwt, f"Authorization: Bearer {jwt}")).status == 400
    assert house.upstream.heads == []


async def test_the_metadata_have_three_spellings_and_one_truth(
    house: House, server: AuthorizationServer
) -> None:
    for place, endpoint in SPELLINGS.items():
        answer = await ask(house, None, "Origin: https://app.example", method="GET", target=place)
        assert answer.status == 200
        assert answer.head.get(b"Access-Control-Allow-Origin") == b"*"
        content = json.loads(answer.body)
        assert content["resource"] == PUBLIC + endpoint
        assert content["authorization_servers"] == [server.issuer]
        assert content["scopes_supported"] == ["mcp:read"]
        assert content["bearer_methods_supported"] == ["header"]
        for host in ("evil.example", '"evil".example', "gate.example"):
            forged = await house.request(
                place.encode(),
                *(f"X-Forwarded-Host: {host}".encode(), b"X-Forwarded-Proto: http"),
                *(f'Forwarded: host="{host}"'.encode(), b"X-Original-URL: /evil"),
                token=False,
            )
            assert forged[1] == answer.body
        asked = "Access-Control-Request-Headers: mcp-protocol-version"
        allowed = await ask(
            house,
            None,
            *("Origin: https://app.example", "Access-Control-Request-Method: GET", asked),
            method="OPTIONS",
            target=place,
        )
        assert allowed.status == 204
        assert allowed.head.get(b"Access-Control-Allow-Origin") == b"*"
        assert (
            b"mcp-protocol-version"
            in (allowed.head.get(b"Access-Control-Allow-Headers") or b"").lower()
        )


@pytest.mark.parametrize("value", [TOKEN, STATIC, "a-secret-of-another-server"])
async def test_discovery_with_a_static_token_finds_nothing(
    house: House, server: AuthorizationServer, value: str
) -> None:
    for place in SPELLINGS:
        for fields in ([f"Authorization: Bearer {value}"], [f"X-API-Key: {value}"]):
            answer = await ask(house, None, *fields, method="GET", target=place)
            assert answer.status == 404
            assert json.loads(answer.body)["error"] == "not_found"
            assert server.issuer.encode() not in answer.body
        answer = await ask(house, method="GET", target=f"{place}?key={value}")
        assert answer.status == 404
    asked = [question.path for question in server.asked]  # the gate's own fetch, as far as it is
    assert asked == ["/.well-known/oauth-authorization-server", "/jwks"][: len(asked)]


async def test_the_gate_is_no_authorization_server_and_says_which_one_is(
    house: House, server: AuthorizationServer
) -> None:
    for place in ELSEWHERE:
        method = "POST" if place in {"/register", "/token"} else "GET"
        answer = await ask(house, method=method, target=place)
        content = json.loads(answer.body)
        assert answer.status == 404
        assert isinstance(content["error"], str)
        assert server.issuer in content["error_description"]


async def test_whoever_registers_at_the_gate_reads_which_url_its_client_should_have(
    server: AuthorizationServer,
) -> None:
    async with believing(server, public_url="https://another.example") as house:
        for method, target, status in CODEX_LOOKS:
            answer = await ask(house, None, "Accept: */*", method=method, target=target)
            assert answer.status == status, target
        told = json.loads(answer.body)["error_description"]
        assert told.endswith(" its URL of this server must be https://another.example/mcp.")


async def test_an_old_key_in_the_url_keeps_nobody_from_signing_in(
    house: House, server: AuthorizationServer
) -> None:
    version = "MCP-Protocol-Version: 2025-11-25"  # as Claude Code 2.1 and opencode 1.18 ask
    key = f"?key={STATIC}"
    wrong = await ask(house, None, version, target=f"/mcp{key}")
    assert (wrong.status, challenge_of(wrong)) == (401, BARE)
    assert (await ask(house, None, version, method="GET", target=f"{ROOT}/mcp{key}")).status == 404
    told = await ask(house, None, version, method="GET", target=ROOT)
    assert json.loads(told.body)["resource"] == f"{PUBLIC}/mcp"
    token = server.token()
    await until_known(house, token)
    assert (await ask(house, token, version, target=f"/mcp{key}")).status == 200


async def test_a_client_that_asks_with_head_is_told_where_to_sign_in(house: House) -> None:
    answer = await ask(house, None, "Accept: text/event-stream", method="HEAD")  # Gemini CLI 0.61
    assert (answer.status, challenge_of(answer), answer.body) == (401, SIGN_IN, b"")


async def test_a_good_static_token_works_without_the_authorization_server(
    server: AuthorizationServer,
) -> None:
    server.stop()
    async with believing(server) as house:
        for method in METHODS:
            assert (await ask(house, TOKEN, method=method)).status == 200
        answer = await ask(house)
        assert (answer.status, challenge_of(answer)) == (401, SIGN_IN)
    server.start()


async def test_all_bad_access_tokens_get_the_same_bytes(
    house: House, server: AuthorizationServer
) -> None:
    answers = {
        (answer.status, challenge_of(answer), answer.body)
        for answer in [
            await ask(house, server.token(aud="https://another.example/mcp")),
            await ask(house, server.token(exp=1)),
            await ask(house, server.token()[:-8] + "AAAAAAAA"),
        ]
    }
    ((status, challenge, body),) = answers
    assert (status, challenge) == (401, INVALID)
    assert json.loads(body)["error"]["code"] == -32010


async def test_of_two_credentials_the_bearer_is_answered_and_a_wrong_secret_beside_it_is_counted(
    server: AuthorizationServer,
) -> None:
    expired = server.token(exp=1)
    async with believing(server, failure_rate="5/min") as house:
        for _ in range(20):
            answer = await ask(house, expired)
            assert (answer.status, challenge_of(answer)) == (401, INVALID)
        answer = await ask(house, expired, target=f"/mcp?key={STATIC}")
        assert (answer.status, challenge_of(answer)) == (401, INVALID)
        assert (await ask(house, expired, f"X-API-Key: {TOKEN}")).status == 200
        statuses = [(await ask(house, expired, f"X-API-Key: {STATIC}")).status for _ in range(6)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
