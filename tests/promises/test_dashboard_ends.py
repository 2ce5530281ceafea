"""A gate with a dashboard, at the people who come in: who they are, the end of what they hold, and its look at itself."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.doctor import checkup
from gatehouse.doctor.checkup import Checkup
from gatehouse.doctor.finding import fine
from gatehouse.identity.arrivals_file import read_arrivals
from gatehouse.pages.dashboard.check import CheckPage
from gatehouse.pages.dashboard.people import PeoplePage
from tests.harness.dashboard import Browser
from tests.harness.house import open_house
from tests.harness.identity.authorization_server import authorization_server
from tests.harness.identity.house import ask, assert_static_works, believing, until_known
from tests.harness.program import TOKEN
from tests.harness.sick_gate import SickGate
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.harness.answers import Answer
    from tests.harness.house import House

BOB: dict[str, Any] = {"sub": "bob-0001", "preferred_username": "bob", "email": None}
SESSION = "Mcp-Session-Id: 0f3c9e8ad5b14a7c"


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


@asynccontextmanager
async def standing_stream(house: House, token: str) -> AsyncIterator[Peer]:
    """A GET stream, which has had its head and a whole event."""
    async with (await house.connect()).stream as stream:
        peer = Peer(stream)
        await peer.send(house.raw(b"/mcp", f"Authorization: Bearer {token}".encode(), token=False))
        await peer.head()
        assert (await peer.chunk()).startswith(b"data: 1\n\n")
        yield peer


async def over(peer: Peer) -> None:
    """Wait for the proper end of a stream."""
    while await peer.chunk():
        pass


def people_page(house: House) -> Browser:
    """The page over the parts of a gate, and the browser of an admin before it."""
    parts = house.parts
    assert parts.identity.arrivals is not None
    page = PeoplePage(
        parts.identity.arrivals,
        parts.identity.people,
        ledger=parts.ledger,
        in_flight=parts.in_flight,
        lets_in=parts.identity.lets_in,
        is_admin=lambda _: False,
        end_browsers=None,
    )
    return Browser({b"/dashboard/people": page.show}, {b"/dashboard/people/end": page.end})


async def test_a_person_is_known_by_name_and_loses_all_at_once_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    with authorization_server() as server:
        settings = {
            "sign_in": server.issuer,
            "sign_in_client_id": "gate",
            "sign_in_client_secret": "s" * 32,
            "admins": "alice",
            "state_db": state,
        }
        async with believing(server, **settings) as house:
            alice, bob = server.token(), server.token(**BOB)
            await until_known(house, alice)
            house.upstream.script = answer(b"{}", SESSION.encode())
            assert (await ask(house, bob)).status == 200
            await end_bob(house, alice, bob)
            house.upstream.script = answer(b"{}")
            assert (await ask(house, bob, SESSION)).status == 404
            assert (await ask(house, bob)).status == 200  # they are still let in
            await assert_static_works(house)
    assert state.stat().st_mode & 0o777 == 0o600
    kept = {each.subject.username: each for each in read_arrivals(state)}
    assert kept["bob"].subject.sub == BOB["sub"]
    assert kept["bob"].subject.issuer == server.issuer
    assert 0 < time.time() - kept["bob"].came < 60
    assert "alice" in kept


async def end_bob(house: House, alice: str, bob: str) -> None:
    """End all that bob has, while both hold a stream and bob has a call in progress."""
    browser, asked = people_page(house), trio.Event()
    answers: list[Answer] = []

    async def think(peer: Peer, head: Head) -> None:
        if head.start_line.startswith(b"DELETE"):
            await answer()(peer, head)
            return
        await peer.body(head)
        asked.set()
        await until_gone(peer)

    async def call() -> None:
        answers.append(await ask(house, bob, SESSION))

    house.upstream.script = stream_events
    async with (
        standing_stream(house, alice) as stays,
        standing_stream(house, bob) as ends,
        trio.open_nursery() as nursery,
    ):
        house.upstream.script = think
        nursery.start_soon(call)
        await asked.wait()
        page = await browser.get("/dashboard/people")
        assert "1 session, 1 stream, 1 request yes" in page.words.partition(" bob ")[2]
        key = next(iter({each.id for each in house.parts.in_flight if "bob" in each.name}))
        with trio.fail_after(5):
            await browser.post("/dashboard/people/end", {"person": key.partition(":")[2]})
            await over(ends)
            while not answers:
                await trio.sleep(0.05)
        assert answers[0].status == 403
        assert b"has ended all that you had open" in answers[0].body
        with trio.move_on_after(0.5):
            await over(stays)
            raise AssertionError("alice has lost her stream")


async def test_a_look_at_a_gate_in_order_finds_nothing_while_the_gate_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkup, "IDLE_SECONDS", 0.0)
    async with open_house() as house:
        house.upstream.script = SickGate("no token is needed")
        doctor = Checkup(lambda: [fine("a machine")], f"{house.url}/mcp", hidden=[TOKEN])
        page = CheckPage(doctor)
        browser = Browser({b"/dashboard/check": page.show}, {b"/dashboard/check": page.start})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(doctor.keep)
            await browser.post("/dashboard/check", {"token": TOKEN})
            with trio.fail_after(30):
                while doctor.running:
                    assert (await house.request(b"/health"))[0].status == 200
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        shown = await browser.get("/dashboard/check")
    assert doctor.result is not None
    assert [each for each in doctor.result.address if each.level] == []
    assert len(doctor.result.address) > 10
    assert TOKEN not in shown.text
