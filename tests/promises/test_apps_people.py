"""Whom apps come in for: the list of this moment decides, whatever a token says; and apps beside all other ways in."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.identity.grants import Grants
from gatehouse.identity.people import Person
from gatehouse.identity.scopes import Scope
from gatehouse.tokens.contents import Contents
from tests.harness.identity import assertions
from tests.harness.identity.app import aside
from tests.harness.identity.app_stage import Stage, stage
from tests.harness.identity.authorization_server import JWKS, authorization_server
from tests.harness.identity.house import PUBLIC, STATIC
from tests.harness.identity.signing import key
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House

NOBODY = {"people": (), "admins": "sub:somebody-else"}
"""Settings by which Alice may do nothing, unless the tokens file names her."""
ALICE, BOB = Person("sub:alice-0001"), Person("bob")


@pytest.fixture
def cast() -> Iterator[Stage]:
    with stage() as cast:
        yield cast


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


@asynccontextmanager
async def standing_stream(house: House, token: str) -> AsyncIterator[Peer]:
    """A GET stream, which has had its head and a whole event."""
    async with (await house.connect()).stream as raw:
        peer = Peer(raw)
        await peer.send(house.raw(b"/mcp", f"Authorization: Bearer {token}".encode(), token=False))
        assert (await peer.head()).status == 200
        assert (await peer.chunk()).startswith(b"data: 1\n\n")
        yield peer


async def end(peer: Peer) -> float:
    """Wait for the proper end of a stream; the seconds that it took."""
    began = time.monotonic()
    with trio.fail_after(10):
        while await peer.chunk():
            pass
    return time.monotonic() - began


async def test_whoever_is_taken_off_the_list_is_out_at_once_with_all_apps(cast: Stage) -> None:
    async with cast.gate(**NOBODY, tokens=()) as house:
        app = cast.app
        house.parts.replace_tokens(Contents(people=(ALICE, BOB)))
        await aside(app.sign_in, cast.person)
        script, house.upstream.script = house.upstream.script, stream_events
        async with standing_stream(house, app.tokens["access_token"]) as peer:
            house.upstream.script = script
            assert (await aside(app.ask)).status_code == 200
            house.parts.replace_tokens(Contents(people=(BOB,)))
            gone = await aside(app.ask)
            assert gone.status_code == 403
            assert "WWW-Authenticate" not in gone.headers
            assert (await aside(app.refresh)).json()["error"] == "invalid_grant"
            assert await end(peer) < 5
        # They have a session, and can let nothing in; nor can they sign in again.
        for browser in (cast.person, cast.another_browser()):
            page = await aside(browser.open, app.authorization_url())
            assert page.status_code == 403, page.text
            assert "Not on the list" in page.text or "not on the list" in page.text
        house.parts.replace_tokens(Contents(people=(ALICE,)))
        assert (await aside(app.ask)).status_code == 200


async def test_an_empty_list_is_nobody(cast: Stage) -> None:
    async with cast.gate(**NOBODY, tokens=()) as house:
        await aside(cast.app.discover)
        await aside(cast.app.register)
        for contents in (Contents(), Contents(people=(BOB,)), Contents()):
            house.parts.replace_tokens(contents)
            page = await aside(cast.another_browser().open, cast.app.authorization_url())
            assert page.status_code == 403, page.text


async def test_an_app_may_do_what_its_persons_entry_and_its_scopes_allow(cast: Stage) -> None:
    person = Person("sub:alice-0001", Grants(tools=("get_*", "add_*")))
    scopes = (
        Scope("read", Grants(tools=("get_*", "list_*"))),
        Scope("write", Grants(tools=("add_*",))),
    )
    async with cast.gate(**NOBODY, tokens=()) as house:
        house.parts.replace_tokens(Contents(people=(person,), scopes=scopes))
        app = cast.app
        await aside(app.discover)
        assert app.server["scopes_supported"] == ["read", "write"]
        await aside(app.register)
        url = app.authorization_url(scope="read offline_access")
        await aside(app.redeem, await aside(cast.person.go, url))
        assert "read" in cast.person.questions[0]
        assert app.tokens["scope"] == "read"
        for tool, status in (("get_x", 200), ("list_x", 403), ("add_x", 403)):
            answer = await aside(app.ask, "tools/call", name=tool, arguments={})
            assert answer.status_code == status, tool
        wider = await aside(app.refresh, scope="read write")
        assert wider.json()["error"] == "invalid_scope"


async def test_every_way_in_goes_on_beside_apps_and_each_is_answered_in_kind(cast: Stage) -> None:
    with authorization_server() as keys:
        keys.keys = [key("cloudflare")]
        front = {
            "front": "cloudflare",
            "front_team": assertions.TEAM,
            "front_audience": assertions.CLOUDFLARE_AUD,
            "front_jwks_url": keys.url + JWKS,
            "front_required": False,
        }
        async with cast.gate(**front, failure_rate="off", people="sub:alice-0001, *@example.com"):
            app = cast.app
            await aside(app.sign_in, cast.person)
            assertion = assertions.cloudflare()
            by = app.http.post
            in_front = {assertions.CLOUDFLARE_HEADER: assertion}
            with trio.fail_after(10):
                while (await aside(by, app.endpoint, headers=in_front, json={})).status_code != 200:
                    await trio.sleep(0.05)
            for url, headers in (
                (app.endpoint, {"Authorization": f"Bearer {app.tokens['access_token']}"}),
                (app.endpoint, {"Authorization": f"Bearer {TOKEN}"}),
                (app.endpoint, {"X-API-Key": TOKEN}),
                (f"{app.endpoint}?key={TOKEN.replace('+', '%2B')}", {}),
                (app.endpoint, {"Authorization": "Bearer x.y.z", "X-API-Key": TOKEN}),
            ):
                assert (await aside(by, url, headers=headers, json={})).status_code == 200, headers
            bare, sign_in = 'Bearer realm="mcp"', "resource_metadata="
            for url, headers, told in (
                (app.endpoint, {}, sign_in),
                (app.endpoint, {"Authorization": "Bearer"}, sign_in),
                (app.endpoint, {"Authorization": "Bearer a.b.c.d.e"}, bare),
                (app.endpoint, {"Authorization": f"Bearer {STATIC}"}, bare),
                (app.endpoint, {"X-API-Key": STATIC}, bare),
                (f"{app.endpoint}?key={STATIC}", {}, bare),
            ):
                answer = await aside(by, url, headers=headers, json={})
                challenge = answer.headers["WWW-Authenticate"]
                assert answer.status_code == 401
                assert challenge == bare if told == bare else told in challenge, headers
            for place in ("registration_endpoint", "token_endpoint", "revocation_endpoint"):
                headers = {"Authorization": f"Bearer {STATIC}"}
                answer = await aside(by, app.server[place], headers=headers, json={})
                assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_the_server_behind_the_gate_learns_who_comes_and_nothing_else(cast: Stage) -> None:
    async with cast.gate() as house:
        await aside(cast.app.sign_in, cast.person)
        cookie = "; ".join(f"{name}={value}" for name, value in cast.person.http.cookies.items())
        house.upstream.heads.clear()
        cast.app.http.headers["Cookie"] = f"theme=dark; {cookie}"
        assert (await aside(cast.app.ask)).status_code == 200
        head = house.upstream.head
    assert head.get(b"x-gate-principal") == b"oauth:alice@example.com"
    assert head.get(b"x-gate-kind") == b"oauth"
    assert head.all(b"cookie") == [b"theme=dark"]
    assert head.all(b"authorization") == []
    assert not re.search(rb"eyJhbGciOi", head.raw)


async def test_ways_in_that_exclude_apps_leave_none_of_their_places(cast: Stage) -> None:
    async with cast.gate(sign_in_apps=False) as house:
        for path in ("/.well-known/oauth-authorization-server", "/authorize", "/token"):
            head, _ = await house.request(path.encode(), token=False)
            assert head.status == 404, path
        head, _ = await house.request(token=False)
        assert (head.status, head.get(b"www-authenticate")) == (401, b'Bearer realm="mcp"')
        assert (await aside(cast.person.get, f"{PUBLIC}/dashboard/sign-in")).is_redirect
