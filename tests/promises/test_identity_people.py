"""Scopes and people: what an access token may do, whose session it is, and how soon somebody is out."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.identity.grants import Grants
from gatehouse.identity.people import Person
from gatehouse.identity.scopes import Scope
from gatehouse.tokens.contents import Contents
from tests.harness.identity.authorization_server import AuthorizationServer, authorization_server
from tests.harness.identity.house import (
    POINTER,
    as_if_later,
    ask,
    assert_static_works,
    believing,
    challenge_of,
    until_known,
)
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House

SCOPES = (
    Scope("mcp:read", Grants(tools=("list_*",))),
    Scope("mcp:write", Grants(tools=("list_*", "add_*"))),
)
MODERN = ["MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call"]
BOB: dict[str, Any] = {"sub": "bob-0001", "preferred_username": "bob", "email": None}
SESSION = "0f3c9e8ad5b14a7c"


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


@pytest.fixture
async def house(server: AuthorizationServer) -> AsyncIterator[House]:
    async with believing(server) as house:
        await until_known(house, server.token())
        house.upstream.heads.clear()
        yield house


async def test_a_tool_that_needs_a_scope_names_it_beside_those_that_there_are(
    house: House, server: AuthorizationServer
) -> None:
    house.parts.replace_tokens(Contents(scopes=SCOPES))
    read, write = server.token(), server.token(scope="mcp:read mcp:write")
    for token, tool, status in (
        (read, "list_inventory", 200),
        (read, "add_item", 403),
        (write, "add_item", 200),
        (write, "remove_item", 403),
    ):
        reply = await ask(house, token, *MODERN, f"Mcp-Name: {tool}")
        assert reply.status == status, tool
        if tool == "add_item" and status == 403:
            assert challenge_of(reply) == (
                b'Bearer realm="mcp", error="insufficient_scope", scope="mcp:read mcp:write", '
                b'resource_metadata="' + POINTER + b'"'
            )
        if tool == "remove_item":  # no scope allows it, so a sign-in would lead nowhere
            assert challenge_of(reply) is None
    assert (await ask(house, TOKEN, *MODERN, "Mcp-Name: remove_item")).status == 200


async def test_a_person_may_do_what_both_the_entry_and_the_scopes_allow(
    house: House, server: AuthorizationServer
) -> None:
    people = (Person("alice", Grants(tools=("*_item", "list_rooms"))), Person("bob"))
    house.parts.replace_tokens(Contents(scopes=SCOPES, people=people))
    alice = server.token(scope="mcp:read mcp:write")
    bob = server.token(scope="mcp:read mcp:write", **BOB)
    for token, tool, status in (
        (alice, "add_item", 200),
        (alice, "list_rooms", 200),
        (alice, "list_inventory", 403),
        (alice, "remove_item", 403),
        (bob, "list_inventory", 200),
        (bob, "remove_item", 403),
    ):
        reply = await ask(house, token, *MODERN, f"Mcp-Name: {tool}")
        assert reply.status == status, tool
    reply = await ask(house, server.token(sub="eve", preferred_username="eve", email=None))
    assert (reply.status, challenge_of(reply)) == (403, None)


async def test_sessions_outlive_a_change_of_the_tokens_file(
    house: House, server: AuthorizationServer
) -> None:
    house.upstream.script = answer(b"{}", b"Mcp-Session-Id: " + SESSION.encode())
    assert (await ask(house, server.token())).status == 200
    house.upstream.script = answer(b"{}")
    session = f"Mcp-Session-Id: {SESSION}"
    people = (Person("alice"), Person("bob"))
    house.parts.replace_tokens(Contents(people=people))
    assert (await ask(house, server.token(), session)).status == 200
    assert (await ask(house, server.token(**BOB), session)).status == 404


@asynccontextmanager
async def standing_stream(house: House, token: str) -> AsyncIterator[Peer]:
    """A GET stream, which has had its head and a whole event."""
    async with (await house.connect()).stream as stream:
        peer = Peer(stream)
        await peer.send(house.raw(b"/mcp", f"Authorization: Bearer {token}".encode(), token=False))
        await peer.head()
        assert (await peer.chunk()).startswith(b"data: 1\n\n")
        yield peer


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


async def end(peer: Peer) -> float:
    """Wait for the proper end of a stream; the seconds that it took."""
    began = time.monotonic()
    with trio.fail_after(10):
        while await peer.chunk():
            pass
    return time.monotonic() - began


async def test_whoever_leaves_the_list_or_expires_loses_streams_and_no_call(
    house: House, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.upstream.script = stream_events
    alice, bob, short = (
        server.token(exp=int(time.time()) + 7000),
        server.token(exp=int(time.time()) + 7000, **BOB),
        server.token(),
    )
    asked, may_answer = trio.Event(), trio.Event()

    async def think(peer: Peer, head: Head) -> None:
        await peer.body(head)
        asked.set()
        await may_answer.wait()
        await answer()(peer, Head(b"\r\n\r\n"))

    async def call() -> None:
        assert (await ask(house, short)).status == 200

    async with (
        standing_stream(house, alice) as leaves,
        standing_stream(house, bob) as stays,
        standing_stream(house, short) as expires,
        trio.open_nursery() as nursery,
    ):
        house.upstream.script = think
        nursery.start_soon(call)
        await asked.wait()
        with as_if_later(monkeypatch, 700):
            assert await end(expires) < 5
            await trio.sleep(1.5)  # the look of each second sees the call, too
            may_answer.set()
            house.parts.replace_tokens(Contents(people=(Person("bob"),)))
            assert await end(leaves) < 5
        house.upstream.script = answer()
        assert (await ask(house, alice)).status == 403
        assert (await ask(house, bob)).status == 200
        with trio.move_on_after(1):
            await end(stays)
            raise AssertionError("bob has lost his stream")
        house.parts.replace_tokens(Contents())  # an emptied list lets nobody in
        assert await end(stays) < 5
        assert (await ask(house, bob)).status == 403
        await assert_static_works(house)
