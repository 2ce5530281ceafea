"""The end of exchanges whose credential is no longer good: which at once, and which may finish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.downstream.exchange import Exchange
from gatehouse.downstream.in_flight import InFlight
from gatehouse.identity.principal import Principal
from tests.harness.request_of import LIMITS, request_of

if TYPE_CHECKING:
    from trio.testing import MockClock

PEOPLE = [
    Principal(f"{kind}:" + "0a" * 16, f"{kind}:alice", kind=kind) for kind in ("oauth", "front")
]
TOKEN = Principal("alice", "alice")
LISTEN = [(b"MCP-Protocol-Version", b"2026-07-28"), (b"Mcp-Method", b"subscriptions/listen")]


async def nothing(*_: Any) -> Any:
    """The client sends nothing more, and takes all."""
    await trio.sleep_forever()


class Watched:
    """An exchange in flight, which is in force until `over` is set."""

    def __init__(self, principal: Principal, method: str, fields: Any = ()) -> None:
        self.exchange = Exchange(request_of(fields, method=method), nothing, nothing, LIMITS, {})
        self.exchange.principal = principal
        self.exchange.is_from(principal.id, principal.name, "header")
        self.good = True
        self.flight = InFlight(lambda _: self.good, upstream="up:1", grace_seconds=9)
        self.flight.add(self.exchange)

    async def when_revoked(self, clock: MockClock) -> tuple[float, float]:
        """How long after the end of the credential the exchange is to end at a border, and is cut."""
        clock.autojump_threshold = 0
        self.exchange.expect_events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.flight.end_overdue)
            await trio.sleep(5.5)
            assert not self.exchange.ending
            self.good = False
            began = trio.current_time()
            while not self.exchange.ending:
                await trio.sleep(0.1)
            ended = trio.current_time() - began
            while not self.exchange.leaving.cancel_called:
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert self.exchange.outcome == "revoked"
        return ended, trio.current_time() - began


@pytest.mark.parametrize(("method", "fields"), [("GET", []), ("POST", LISTEN)])
@pytest.mark.parametrize("who", [TOKEN, *PEOPLE])
async def test_a_standing_stream_ends_within_5_s(
    mock_clock: MockClock, who: Principal, method: str, fields: list[tuple[bytes, bytes]]
) -> None:
    ended, cut = await Watched(who, method, fields).when_revoked(mock_clock)
    assert ended < 2
    assert cut < 5


async def test_a_call_of_a_revoked_token_ends_within_5_s(mock_clock: MockClock) -> None:
    ended, cut = await Watched(TOKEN, "POST").when_revoked(mock_clock)
    assert ended < 2
    assert cut < 5


@pytest.mark.parametrize("who", PEOPLE)
async def test_a_call_of_somebody_who_is_no_longer_let_in_may_finish_but_not_go_on_for_ever(
    mock_clock: MockClock, who: Principal
) -> None:
    ended, cut = await Watched(who, "POST").when_revoked(mock_clock)
    assert LIMITS.upstream_seconds <= ended < LIMITS.upstream_seconds + 2
    assert cut < LIMITS.upstream_seconds + 5


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("is_stream", [True, False])
async def test_all_that_somebody_has_can_be_ended_within_5_s_though_they_are_let_in(
    mock_clock: MockClock, who: Principal, is_stream: bool
) -> None:
    mock_clock.autojump_threshold = 0
    watched = Watched(who, "POST")
    if is_stream:
        watched.exchange.expect_events()
    assert watched.flight.end_all("oauth:somebody else") == 0
    assert not watched.flight.has_ended(watched.exchange)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.flight.end_overdue)
        assert watched.flight.end_all(who.id) == 1
        assert watched.exchange.ending  # at once, if no event is under way
        assert watched.exchange.leaving.cancel_called is not is_stream
        assert watched.flight.has_ended(watched.exchange)
        with trio.fail_after(5):
            while not watched.exchange.leaving.cancel_called:
                await trio.sleep(0.1)
        assert watched.exchange.outcome == "revoked"
        await watched.flight.remove(watched.exchange)
        assert not watched.flight.has_ended(watched.exchange)
        nursery.cancel_scope.cancel()
