"""Access tokens: good ones are let in and told apart by who they are for, all others are refused before any question."""

from __future__ import annotations

import hmac
import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.identity.authorization_server import (
    AUDIENCE,
    JWKS,
    AuthorizationServer,
    authorization_server,
)
from tests.harness.identity.house import (
    INVALID,
    POINTER,
    ask,
    assert_static_works,
    believing,
    challenge_of,
    until_known,
)
from tests.harness.identity.signing import key, part
from tests.harness.wire import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House

SESSION = "0f3c9e8ad5b14a7c"


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


@pytest.fixture
async def house(server: AuthorizationServer) -> AsyncIterator[House]:
    async with believing(server, failure_rate="off") as house:
        await until_known(house, server.token())
        house.upstream.heads.clear()
        yield house


async def test_a_good_token_is_let_in_and_goes_no_further(
    house: House, server: AuthorizationServer, access_log: pytest.LogCaptureFixture
) -> None:
    tokens = [
        server.token(),
        server.token(aud=[AUDIENCE]),
        server.token(aud=["https://another.example", AUDIENCE]),
        server.token(aud=f"{AUDIENCE}/"),
        server.token(header={"typ": "at+jwt"}),
        server.token(header={"typ": "application/at+jwt"}),
        server.token(header={"typ": None}),
        server.token(scope=None, scp=["mcp:read", "mcp:write"]),
        server.token(scope=["mcp:write", "mcp:read"]),
    ]
    of_fronts = [
        "Cf-Access-Authenticated-User-Email: eve@example.com",
        "Cookie: CF_Authorization=x",
    ]
    for token in tokens:
        assert (await ask(house, token, *of_fronts)).status == 200
    assert len(house.upstream.heads) == len(tokens)
    for head in house.upstream.heads:
        assert head.get(b"Authorization") is None
        assert head.get(b"Cf-Access-Authenticated-User-Email") is None
        assert head.get(b"Cookie") is None
        assert head.get(b"X-Gate-Principal") == b"oauth:alice@example.com"
        assert head.get(b"X-Gate-Kind") == b"oauth"
    for token in tokens:
        for piece in token.split("."):
            assert piece[-12:] not in access_log.text
    assert "oauth:alice@example.com" in access_log.text
    assert "alice-0001" not in access_log.text


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, "oauth:alice@example.com"),
        ({"email_verified": False}, "oauth:alice"),
        ({"email_verified": "true"}, "oauth:alice"),
        ({"email": None, "preferred_username": None}, "oauth:app-of-the-tests"),
        (
            {"email": None, "preferred_username": None, "client_id": None},
            "oauth:alice-0001",
        ),
    ],
)
async def test_a_name_is_one_that_the_issuer_has_verified(
    house: House, server: AuthorizationServer, claims: dict[str, Any], name: str
) -> None:
    assert (await ask(house, server.token(**claims))).status == 200
    assert house.upstream.head.get(b"X-Gate-Principal") == name.encode()


async def test_an_odd_name_ends_no_line_of_log_and_no_header_field(
    house: House, server: AuthorizationServer, access_log: pytest.LogCaptureFixture
) -> None:
    odd = 'eve\r\nX-Gate-Principal: admin\u2028"' + "é" * 100
    token = server.token(email=None, preferred_username=odd)
    assert (await ask(house, token)).status == 200
    name = house.upstream.head.get(b"X-Gate-Principal")
    assert name is not None
    assert name.isascii()
    assert len(name) <= 64
    assert b" " not in name
    assert "X-Gate-Principal: admin" not in access_log.text


async def test_an_expired_token_is_refused_and_never_counted(
    server: AuthorizationServer,
) -> None:
    now = int(time.time())
    async with believing(server, failure_rate="5/min") as house:
        await until_known(house, server.token())
        assert (await ask(house, server.token(iat=now - 700, exp=now - 40))).status == 200
        for number in range(60):
            late = server.token(iat=now - 700, exp=now - 70 - number)
            reply = await ask(house, late)
            assert (reply.status, challenge_of(reply)) == (401, INVALID)
        statuses = [(await ask(house, server.token()[:-8] + "AAAAAAAA")).status for _ in range(8)]
        assert statuses[:4] == [401] * 4
        assert statuses[-1] == 429  # whoever forges is counted
        assert (await ask(house, server.token())).status == 200
        await assert_static_works(house)


def wrong_claims() -> dict[str, dict[str, Any]]:
    now = int(time.time())
    return {
        "another audience": {"aud": "https://another.example/mcp"},
        "an audience that begins like ours": {"aud": f"{AUDIENCE}x"},
        "the origin alone": {"aud": "https://gate.example"},
        "no audience": {"aud": None},
        "an empty audience": {"aud": []},
        "an audience that is a table": {"aud": {AUDIENCE: True}},
        "an audience in a list in a list": {"aud": [[AUDIENCE]]},
        "an ID token": {"aud": "app-of-the-tests", "nonce": "n"},
        "an ID token with our audience": {"nonce": "n"},
        "an ID token by its hash": {"at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
        "an ID token by its use": {"token_use": "id"},
        "another issuer": {"iss": "https://another.example"},
        "an issuer with one slash more": {"iss": "/"},  # behind ours
        "no issuer": {"iss": None},
        "no end": {"exp": None},
        "an end that is true": {"exp": True},
        "an end that is a text": {"exp": str(now + 600)},
        "an end that is no number": {"exp": float("nan")},
        "an end after all time": {"exp": float("inf")},
        "not yet": {"nbf": now + 90},
        "made in the future": {"iat": now + 90},
        "no subject": {"sub": None},
        "an empty subject": {"sub": ""},
        "a subject that is a number": {"sub": 7},
    }


async def test_a_signed_token_that_is_not_for_this_gate_is_refused_without_a_question(
    house: House, server: AuthorizationServer
) -> None:
    questions = server.count()
    for kind, claims in wrong_claims().items():
        if kind == "an issuer with one slash more":
            claims = {"iss": f"{server.issuer}/"}
        for by in (server.keys[0], key("unknown")):  # a kid is looked for only if all else is right
            reply = await ask(house, server.token(by=by, **claims))
            assert (reply.status, challenge_of(reply)) == (401, INVALID), kind
    assert house.upstream.heads == []
    assert server.count() == questions


async def test_no_forgery_is_let_in_or_makes_the_gate_ask_anybody(
    house: House, server: AuthorizationServer
) -> None:
    ours, eve = server.keys[0], key("eve", "RS256")
    claims = server.claims()
    data = part({"alg": "HS256", "kid": ours.kid, "typ": "JWT"}) + b"." + part(claims)
    confused = data + b"." + part(hmac.digest(ours.pem, data, sha256))
    with authorization_server() as another:
        another.keys = [eve]
        theirs = {"jku": f"{another.url}{JWKS}", "x5u": f"{another.url}/cert"}
        forged = [
            part({"alg": "none"}) + b"." + part(claims) + b".",
            part({"alg": "None", "kid": ours.kid}) + b"." + part(claims) + b"." + part(b"x"),
            confused,
            server.token(header={"crit": ["exp"]}).encode(),
            server.token(header={"crit": ["b64"], "b64": False}).encode(),
            server.token(by=eve, header={"kid": ours.kid, "jwk": eve.jwk}).encode(),
            server.token(by=eve, header={"kid": ours.kid, **theirs}).encode(),
            server.token(by=eve, header={"kid": ours.kid}).encode(),
            server.token(header={"alg": "RS384"}).encode(),
            server.token(header={"alg": "PS256"}).encode(),
            server.token(padding="x" * 9000).encode(),
            server.token(header={"padding": "x" * 2500}).encode(),
            ours.token(b"[]").encode(),
            ours.token(b"\xff").encode(),
            ours.token(b"[" * 4000).encode(),
            ours.token(json.dumps(claims).encode() + b"x").encode(),
            server.token().rpartition(".")[0].encode() + b".",
        ]
        questions = server.count()
        for token in forged:
            reply = await ask(house, token.decode())
            assert reply.status in {401, 431}, token[:60]
            assert challenge_of(reply) in {INVALID, None}
        assert another.asked == []
        assert server.count() == questions
    assert house.upstream.heads == []
    assert (await ask(house, server.token())).status == 200


async def test_a_token_without_the_scope_is_told_which_to_ask_for(
    house: House, server: AuthorizationServer
) -> None:
    reply = await ask(house, server.token(scope="mcp:write offline_access"))
    assert reply.status == 403
    assert challenge_of(reply) == (
        b'Bearer realm="mcp", error="insufficient_scope", scope="mcp:write mcp:read", '
        b'resource_metadata="' + POINTER + b'"'
    )
    reply = await ask(house, server.token(scope=None))
    assert reply.status == 403
    assert house.upstream.heads == []


async def test_a_person_who_is_not_listed_is_told_that_and_nothing_else(
    server: AuthorizationServer,
) -> None:
    async with believing(server, people="bob, *@kitchen.example, client:robot") as house:
        await until_known(house, server.token(preferred_username="bob"))
        bobs = {"sub": "bob-1", "preferred_username": "bob", "email": None}
        cook = {"sub": "c", "preferred_username": "c", "email": "cook@Kitchen.example"}
        robot = {"sub": "robot", "client_id": "robot", "email": None, "preferred_username": None}
        for listed in (bobs, cook, robot):
            assert (await ask(house, server.token(**listed))).status == 200
        for stranger in (
            {},
            {**cook, "email_verified": False},
            {**cook, "email": "cook@evil-kitchen.example"},
            {**cook, "email": "cook@kitchen.example.evil.example"},
            {"client_id": "robot"},
            {"preferred_username": "Bob"},
            {"sub": "bob", "preferred_username": "eve"},
        ):
            reply = await ask(house, server.token(**stranger))
            assert (reply.status, challenge_of(reply)) == (403, None), stranger
        await assert_static_works(house)


async def test_a_session_is_the_persons_and_outlives_the_token(
    house: House, server: AuthorizationServer
) -> None:
    house.upstream.script = answer(b"{}", b"Mcp-Session-Id: " + SESSION.encode())
    assert (await ask(house, server.token())).status == 200
    session = f"Mcp-Session-Id: {SESSION}"
    house.upstream.script = answer(b"{}")
    assert (await ask(house, server.token(email="alice@new.example"), session)).status == 200
    for other in (
        {"sub": "bob-0001"},
        {"sub": None, "client_id": "alice-0001"},
        {"sub": "alice-0001", "client_id": "alice-0001"},
    ):
        assert (await ask(house, server.token(**other), session)).status in {401, 404}, other
    assert (await ask(house, "t0Ken/for+tests.only~3f9c1b7ad25e48c0", session)).status == 404
    assert (await ask(house, server.token(), session)).status == 200
