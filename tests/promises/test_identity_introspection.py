"""Opaque access tokens: the authorization server is asked, within bounds, and its word counts only if it is about this gate."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote_plus

import pytest
import trio

from tests.harness.identity.authorization_server import (
    AUDIENCE,
    CLIENT_ID,
    CLIENT_SECRET,
    INTROSPECTION,
    AuthorizationServer,
    authorization_server,
)
from tests.harness.identity.house import (
    BARE,
    INVALID,
    STATIC,
    ask,
    assert_static_works,
    believing,
    challenge_of,
    until_known,
)
from tests.harness.identity.scripts import document, hang, redirect, status, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House
    from tests.harness.identity.scripts import Script

OPAQUE = "opaque-{}-8vR2mLx5WnB7jYc4HdK1uGp6TeSa9f"


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


@pytest.fixture
async def house(server: AuthorizationServer) -> AsyncIterator[House]:
    given = {
        "auth_introspection_url": server.url + INTROSPECTION,
        "auth_client_id": CLIENT_ID,
        "auth_client_secret": CLIENT_SECRET,
        "mcp_auth_token": "mcpgate_" + "s" * 43,
        "failure_rate": "off",
    }
    async with believing(server, **given) as house:
        yield house


def active(server: AuthorizationServer, **changes: Any) -> dict[str, Any]:
    """An answer about a good token (RFC 7662 section 2.2)."""
    return {"active": True, **server.claims(), **changes}


async def test_an_opaque_token_is_good_if_it_is_active_and_for_this_gate(
    house: House, server: AuthorizationServer
) -> None:
    about: dict[str, tuple[dict[str, Any], int]] = {
        "good": (active(server), 200),
        "for several": (active(server, aud=["https://x.example", AUDIENCE]), 200),
        "of a silent issuer": (
            {name: value for name, value in active(server).items() if name != "iss"},
            200,
        ),
        "for nobody": (
            {name: value for name, value in active(server).items() if name != "aud"},
            401,
        ),
        "for another": (active(server, aud="https://another.example/mcp"), 401),
        "of another issuer": (active(server, iss="https://another.example"), 401),
        "inactive": ({"active": False}, 401),
        "not quite active": (active(server, active="true"), 401),
        "over": (active(server, exp=int(time.time()) - 90), 401),
        "without the scope": (active(server, scope="other"), 403),
    }
    for name, (content, expected) in about.items():
        token = OPAQUE.format(name.replace(" ", "-"))
        server.introspects[token] = content
        reply = await ask(house, token)
        assert reply.status == expected, name
        if expected == 401:
            assert challenge_of(reply) == INVALID
    assert (await ask(house, OPAQUE.format("nobody-knows"))).status == 401
    first = next(each for each in server.asked if each.path == INTROSPECTION)
    basic = base64.b64decode(first.fields["authorization"].removeprefix("Basic ")).decode()
    assert basic == f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}"
    assert parse_qs(first.body.decode())["token"] == [OPAQUE.format("good")]
    assert {head.get(b"Authorization") for head in house.upstream.heads} == {None}


async def test_answers_are_remembered_and_signed_tokens_are_not_asked_about(
    house: House, server: AuthorizationServer
) -> None:
    good, bad = OPAQUE.format("good"), OPAQUE.format("bad")
    server.introspects[good] = active(server)
    for _ in range(3):
        assert (await ask(house, good)).status == 200
        assert (await ask(house, bad)).status == 401
    assert server.count(INTROSPECTION) == 2
    await until_known(house, server.token())
    assert (await ask(house, server.token(exp=1))).status == 401
    for static in (STATIC, "hf_qLkJhGfDsApOiUyTrEwQzXcVbNmLkJhGf"):
        reply = await ask(house, static)
        assert (reply.status, challenge_of(reply)) == (401, BARE)
    assert (await ask(house, None, f"X-API-Key: {good}")).status == 401
    assert (await ask(house, target=f"/mcp?key={good}")).status == 401
    assert server.count(INTROSPECTION) == 2


async def test_an_authorization_server_that_cannot_say_signs_nobody_out(
    house: House, server: AuthorizationServer
) -> None:
    troubles: dict[str, Script] = {
        "500": status(500),
        "401": document({"error": "invalid_client"}, 401),
        "400": document({"error": "invalid_request"}, 400),
        "elsewhere": redirect("/elsewhere"),
        "garbage": text(b"<html>"),
        "a list": document([True]),
    }
    for name, trouble in troubles.items():
        server.says[INTROSPECTION] = trouble
        reply = await ask(house, OPAQUE.format(name.replace(" ", "-")))
        assert (reply.status, challenge_of(reply)) == (503, None), name
        assert reply.head.get(b"Retry-After")
    assert server.count("/elsewhere") == 0
    server.stop()
    assert (await ask(house, OPAQUE.format("dead"))).status == 503
    await assert_static_works(house)
    server.start()
    server.says.clear()
    server.introspects[OPAQUE.format("500")] = active(server)
    await until_known(house, OPAQUE.format("500"))


async def test_few_are_asked_at_once_and_a_server_that_hangs_holds_up_nobody_else(
    house: House, server: AuthorizationServer
) -> None:
    server.says[INTROSPECTION] = hang
    statuses: list[int] = []

    async def show(number: int) -> None:
        statuses.append((await ask(house, OPAQUE.format(number))).status)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(show, number)
        with trio.fail_after(30):  # those for whom there is no room
            while len(statuses) < 24:
                await trio.sleep(0.01)
        assert server.count(INTROSPECTION) <= 16
        await assert_static_works(house)
        server.stop()
    assert set(statuses) == {503}
    server.start()
