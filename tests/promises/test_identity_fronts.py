"""Signed fronts: whoever comes through one is known by its assertion, and nobody else comes in."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.house import House, open_house
from tests.harness.identity import assertions
from tests.harness.identity.authorization_server import (
    AUDIENCE,
    JWKS,
    AuthorizationServer,
    authorization_server,
)
from tests.harness.identity.house import PUBLIC, ask, challenge_of
from tests.harness.identity.scripts import status
from tests.harness.identity.signing import key
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CLOUDFLARE = {
    "front": "cloudflare",
    "front_team": assertions.TEAM,
    "front_audience": assertions.CLOUDFLARE_AUD,
}


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    """Serves the front's keys."""
    with authorization_server() as server:
        server.keys = [
            key("cloudflare"),
            key("iap", "ES256"),
            key("pomerium", "ES256"),
            key("own", "EdDSA"),
        ]
        yield server


@asynccontextmanager
async def behind(server: AuthorizationServer, **settings: Any) -> AsyncIterator[House]:
    """A gate behind a front whose keys the server has."""
    given = {"public_url": PUBLIC, "front_jwks_url": server.url + JWKS, "failure_rate": "off"}
    async with open_house(background=True, **{**given, **settings}) as house:
        yield house


def shown(assertion: str, header: str = assertions.CLOUDFLARE_HEADER) -> str:
    return f"{header}: {assertion}"


async def test_cloudflare_lets_in_people_and_service_tokens(server: AuthorizationServer) -> None:
    async with behind(server, **CLOUDFLARE) as house:
        person = shown(assertions.cloudflare())
        for fields, name in (
            ([person], "front:alice@example.com"),
            ([shown(assertions.cloudflare_service())], f"front:{assertions.SERVICE_TOKEN}"),
            ([person, "Authorization: Bearer oauth:8vR2mLx5WnB7jYc4"], "front:alice@example.com"),
            (
                [person, "Cookie: CF_Authorization=x; theme=dark", "Cf-Access-Client-Id: x"],
                "front:alice@example.com",
            ),
        ):
            house.upstream.heads.clear()
            assert (await ask(house, None, *fields)).status == 200, fields
            head = house.upstream.head
            assert head.get(b"X-Gate-Principal") == name.encode()
            assert head.get(b"X-Gate-Kind") == b"front"
            assert head.get(b"Authorization") is None
            assert b"CF_Authorization" not in head.raw
            assert b"cf-access" not in head.raw.lower()
            assert (b"theme=dark" in head.raw) == any("theme" in field for field in fields)


async def test_cloudflare_lets_in_nobody_else(server: AuthorizationServer) -> None:
    good = assertions.cloudflare()
    async with behind(server, **CLOUDFLARE) as house:
        await ask(house, None, shown(good))
        house.upstream.heads.clear()
        for what, fields in {
            "nothing": [],
            "a cookie only": [f"Cookie: CF_Authorization={good}"],
            "another application": [shown(assertions.cloudflare(aud=["0" * 64]))],
            "another team": [shown(assertions.cloudflare(iss="https://eve.cloudflareaccess.com"))],
            "no end": [shown(assertions.cloudflare(exp=None))],
            "over": [shown(assertions.cloudflare(exp=1))],
            "an organisation's token": [shown(assertions.cloudflare(type="org"))],
            "nobody": [shown(assertions.cloudflare(sub=""))],
            "another key": [
                shown(assertions.cloudflare(by=key("eve"), iat=int(time.time()) - 100))
            ],
            "twice": [shown(good), shown(good)],
            "two in one": [shown(f"{good}, {good}")],
            "an e-mail without a signature": [
                "Cf-Access-Authenticated-User-Email: alice@example.com"
            ],
            "in the place of a bearer": [f"Authorization: Bearer {good}"],
        }.items():
            reply = await ask(house, None, *fields)
            assert (reply.status, challenge_of(reply)) == (403, None), what
            assert b"alice" not in reply.body
        assert (await ask(house, TOKEN)).status == 403  # around the front
        assert house.upstream.heads == []
        seen = "CF-Connecting-IP: 203.0.113.9"
        assert (await ask(house, TOKEN, shown(good), seen)).status == 200
        assert house.upstream.head.get(b"X-Gate-Principal") == b"default"
        assert house.upstream.head.get(b"X-Forwarded-For") == b"203.0.113.9"
        # A client that shows a token of ours means it.
        reply = await ask(house, "mcpgate_" + "Z" * 43, shown(good))
        assert (reply.status, challenge_of(reply)) == (401, b'Bearer realm="mcp"')
        for place in ("/.well-known/oauth-protected-resource/mcp", "/health", "/ready"):
            reply = await ask(house, method="GET", target=place)
            assert reply.status == (404 if "well-known" in place else 200)


async def test_each_front_has_its_own_header_and_rules(server: AuthorizationServer) -> None:
    own: dict[str, Any] = {
        "front": "jwt",
        "front_header": "X-Kitchen-Assertion",
        "front_issuer": "https://front.example",
        "front_audience": AUDIENCE,
        "front_algorithms": "EdDSA",
    }
    fronts = (
        (
            {"front": "iap", "front_audience": assertions.IAP_AUD},
            shown(assertions.iap(), assertions.IAP_HEADER),
            shown(assertions.iap(aud="/projects/1/apps/other"), assertions.IAP_HEADER),
        ),
        (
            {"front": "pomerium", "front_audience": assertions.ROUTE},
            shown(assertions.pomerium(), assertions.POMERIUM_HEADER),
            shown(assertions.pomerium(iss="other.example"), assertions.POMERIUM_HEADER),
        ),
        (
            own,
            shown(assertions.own("https://front.example", AUDIENCE), "X-Kitchen-Assertion"),
            shown(assertions.own("https://front.example/", AUDIENCE), "X-Kitchen-Assertion"),
        ),
    )
    for settings, good, bad in fronts:
        async with behind(server, **settings) as house:
            assert (await ask(house, None, good)).status == 200, settings
            assert house.upstream.head.get(b"X-Gate-Principal") == b"front:alice@example.com"
            assert good.partition(":")[0].lower().encode() not in house.upstream.head.raw.lower()
            assert (await ask(house, None, bad)).status == 403
            assert (await ask(house)).status == 403


async def test_a_front_whose_keys_are_out_of_reach_is_503_and_static_tokens_need_it_too(
    server: AuthorizationServer,
) -> None:
    server.says[JWKS] = status(500)
    async with behind(server, **CLOUDFLARE) as house:
        for token in (None, TOKEN):
            reply = await ask(house, token, shown(assertions.cloudflare()))
            assert (reply.status, challenge_of(reply)) == (503, None)
            assert reply.head.get(b"Retry-After")
        assert (await ask(house, method="GET", target="/ready")).status == 200
        assert (await ask(house)).status == 403


async def test_a_front_that_is_not_required_is_one_way_in_of_several(
    server: AuthorizationServer,
) -> None:
    both = {"auth_issuer": server.issuer, "auth_jwks_url": server.url + JWKS}
    async with behind(server, **CLOUDFLARE, **both, front_required=False) as house:
        assert (await ask(house, TOKEN)).status == 200
        assert (await ask(house, None, shown(assertions.cloudflare()))).status == 200
        assert (await ask(house, server.token())).status == 200
        reply = await ask(house)
        assert reply.status == 401
        assert b"resource_metadata" in (challenge_of(reply) or b"")
        assert (await ask(house, None, shown(assertions.cloudflare(aud=["x"])))).status == 403
        assert (await ask(house, TOKEN, shown(assertions.cloudflare(aud=["x"])))).status == 200
        metadata = await ask(
            house, method="GET", target="/.well-known/oauth-protected-resource/mcp"
        )
        assert json.loads(metadata.body)["authorization_servers"] == [server.issuer]
