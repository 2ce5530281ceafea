"""Connections to the upstream that are used again: no request is lost with one that the upstream ends meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.upstream.wire import Wire
from tests.harness.house import House, open_house
from tests.harness.idle_race import race
from tests.harness.wire import Head, Peer, answer

if TYPE_CHECKING:
    from pathlib import Path


def test_of_calls_that_race_with_the_end_of_resting_connections_none_is_lost(
    tmp_path: Path,
) -> None:
    outcome = race(tmp_path, calls=1000, seconds=0.2, clients=100)
    assert outcome.statuses[200] == 1000 - outcome.swallowed
    assert outcome.connections < 1000  # some were used again


async def status_of(house: House) -> int:
    head, _ = await house.request(method=b"POST", body=b"{}")
    return head.status


@pytest.mark.parametrize(("seconds", "connections"), [(60, 1), (0.05, 2), (0, 2)])
async def test_a_connection_is_used_again_only_within_its_time(
    seconds: float, connections: int
) -> None:
    async with open_house(keep_alive=seconds) as house:
        assert await status_of(house) == 200
        await trio.sleep(0.2)
        assert await status_of(house) == 200
        assert house.upstream.connections == connections


async def test_an_upstream_that_ends_the_connection_while_the_body_is_awaited_gets_it_on_another() -> (
    None
):
    async def answer_once(peer: Peer, head: Head) -> None:
        await answer()(peer, head)
        await trio.sleep(0.1)
        await peer.stream.aclose()

    async with open_house() as house:
        house.upstream.script = answer_once
        assert await status_of(house) == 200
        client = await house.connect()
        async with client.stream:
            raw = house.raw(method=b"POST", body=b"{}")
            await client.send(raw[:-2])
            await trio.sleep(0.3)
            await client.send(raw[-2:])
            assert (await client.head()).status == 200
        assert [head.get(b"Content-Length") for head in house.upstream.heads] == [b"2", b"2"]
        assert house.upstream.connections == 2


@pytest.fixture
def unseen_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's look comes a moment before the upstream ends the connection."""
    monkeypatch.setattr(Wire, "is_spent", False)


async def test_a_request_that_crosses_the_upstreams_end_is_sent_on_another_connection(
    unseen_ends: None,
) -> None:
    over = trio.Event()

    async def script(peer: Peer, head: Head) -> None:
        await answer()(peer, head)
        if house.upstream.connections == 1:
            await peer.stream.aclose()
            over.set()

    async with open_house() as house:
        house.upstream.script = script
        assert await status_of(house) == 200
        await over.wait()
        assert await status_of(house) == 200
        assert house.upstream.connections == 2
        assert len(house.upstream.heads) == 2


async def test_a_request_that_the_upstream_may_have_read_is_never_sent_again(
    unseen_ends: None,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        if len(house.upstream.heads) == 1:
            await answer()(peer, head)
        else:
            await peer.body(head)
            await peer.stream.aclose()

    async with open_house() as house:
        house.upstream.script = script
        assert await status_of(house) == 200
        assert await status_of(house) == 502
        assert len(house.upstream.heads) == 2
        assert house.upstream.connections == 1
