"""People at the gate, whoever vouches for them: two of one name are two, and two tokens of one are one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.http import refusals
from gatehouse.http.challenges import NOT_LISTED
from gatehouse.identity.principal import Principal, Unknown
from tests.harness.house import one_way, open_house
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.http.request import Request
    from tests.harness.house import House

NAME = "oauth:alice@example.com"
ALICE = Principal("oauth:" + "0a" * 16, NAME, kind="oauth", proof=b"1")
NAMESAKE = Principal("oauth:" + "0b" * 16, NAME, kind="oauth")
SESSION = b"Mcp-Session-Id: 0f3c9e8ad5b14a7c"

pytestmark = one_way


class People:
    """A verifier of made-up people, by a header field."""

    takes_url_keys = False

    def __init__(self) -> None:
        self.known = {b"alice": ALICE, b"again": replace(ALICE, proof=b"2"), b"other": NAMESAKE}

    async def verify(self, request: Request) -> Principal | Unknown | None:
        name = request.value(b"x-person")
        return None if name is None else self.known.get(name, Unknown(NAME, "people", NOT_LISTED))

    def in_force(self, principal: Principal) -> bool:
        return principal in self.known.values()


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
async def house(way: dict[str, Any], people: People) -> AsyncIterator[House]:
    settings: dict[str, Any] = {
        "auth_issuer": "https://as.example",
        "public_url": "https://gate.example",
    }
    async with open_house(others=people, **settings, **way) as house:
        yield house


async def ask(
    house: House, who: str, *fields: bytes, method: bytes = b"POST"
) -> tuple[Head, bytes]:
    person = b"X-Person: " + who.encode()
    body = b"{}" if method == b"POST" else b""
    return await house.request(b"/mcp", person, *fields, method=method, body=body, token=False)


async def test_the_upstream_is_told_name_and_kind_and_no_client_can_tell_it_others(
    house: House,
) -> None:
    forged = [b"X-Gate-%s: bob" % field for field in (b"Principal", b"KIND", b"caller")]
    head, _ = await ask(house, "alice", *forged)
    assert head.status == 200
    sent = house.upstream.heads[-1]
    assert sent.all(b"x-gate-principal") == [NAME.encode()]
    assert sent.all(b"x-gate-kind") == [b"oauth"]
    assert sent.all(b"x-gate-caller") == [], "a server elsewhere has no use for it"
    await house.request(b"/mcp", *forged, method=b"POST", body=b"{}")
    sent = house.upstream.heads[-1]
    assert sent.all(b"x-gate-principal") + sent.all(b"x-gate-kind") == [b"default", b"token"]


@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE"])
async def test_a_session_goes_on_with_the_next_token_of_a_person_and_is_unknown_to_a_namesake(
    house: House, method: bytes
) -> None:
    house.upstream.script = answer(b"{}", SESSION)
    await ask(house, "alice")
    house.upstream.script = answer()
    asked = len(house.upstream.heads)
    head, body = await ask(house, "other", SESSION, method=method)
    assert (head.status, body) == (404, refusals.SESSION_NOT_FOUND.body)
    assert len(house.upstream.heads) == asked
    head, _ = await ask(house, "again", SESSION, method=method)
    assert head.status == 200


@asynccontextmanager
async def under_way(house: House, method: bytes, body: bytes) -> AsyncIterator[Peer]:
    """A request of alice's, which has got the head of an event stream, and one event."""
    async with (await house.connect()).stream as stream:
        peer = Peer(stream)
        raw = house.raw(b"/mcp", b"X-Person: alice", method=method, body=body, token=False)
        await peer.send(raw)
        await peer.head()
        assert (await peer.chunk()).startswith(b"data: 1\n\n")
        yield peer


async def test_whoever_is_taken_off_the_list_loses_streams_within_5_s_and_no_call_in_progress(
    house: House, people: People
) -> None:
    finish = trio.Event()

    async def events(peer: Peer, head: Head) -> None:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.send(start + b"9\r\ndata: 1\n\n\r\n")
        if head.start_line.startswith(b"GET"):
            await until_gone(peer)
        await finish.wait()
        await peer.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    house.upstream.script = events
    async with under_way(house, b"GET", b"") as stream, under_way(house, b"POST", b"{}") as call:
        del people.known[b"alice"]
        with trio.fail_after(20):
            while await stream.chunk():
                pass
            finish.set()
            assert b"data: 2" in await call.chunk()
            assert await call.chunk() == b""
    head, _ = await ask(house, "alice")
    assert head.status == 403


async def test_a_stream_without_a_head_yet_is_refused_as_if_it_came_now(
    house: House, people: People
) -> None:
    async def think(peer: Peer, _: Head) -> None:
        del people.known[b"alice"]
        await until_gone(peer)

    house.upstream.script = think
    with trio.fail_after(20):
        head, body = await ask(house, "alice", method=b"GET")
    assert (head.status, body) == (403, NOT_LISTED.body)
