"""Shared state, when one name asks too much of it, and when Redis does not know."""

from __future__ import annotations

import logging
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
import trio.testing

from gatehouse.identity.rate import parse_rate
from gatehouse.policy.budgets import Budgets
from gatehouse.policy.sessions import Sessions
from gatehouse.policy.shared_state import BUSY, UNAVAILABLE, NoAnswer
from gatehouse.scheduling import fair_threads
from gatehouse.scheduling.fair_threads import BusyError
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import open_house
from tests.harness.redis_server import SOON, RedisServer
from tests.harness.wire import answer

if TYPE_CHECKING:
    from tests.harness.house import House
    from tests.harness.redis_server import Share

RATE = parse_rate("1000/s")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in log.records if record.name == "gate.shared"]


# One name that asks too much.


async def slow(port: int, seconds: float, *, task_status: trio.TaskStatus[int]) -> None:
    """A way to a Redis that delays each answer by this many seconds."""

    async def carry(source: trio.SocketStream, sink: trio.SocketStream, delay: float) -> None:
        async for piece in source:
            await trio.sleep(delay)
            await sink.send_all(piece)
        await sink.aclose()

    async def talk(client: trio.SocketStream) -> None:
        try:
            async with client, await trio.open_tcp_stream("127.0.0.1", port) as redis:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(carry, client, redis, 0)
                    nursery.start_soon(carry, redis, client, seconds)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(talk, [listener])


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_a_thousand_questions_of_one_name_hold_up_no_other_and_are_no_failure_of_redis(
    redis_server: RedisServer,
    share: Share,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    delay: float,
) -> None:
    # A busy machine is slow to answer, too; waiting in a queue is limited by something else.
    monkeypatch.setattr("gatehouse.policy.shared_state.SOCKET_SECONDS", 5)
    monkeypatch.setattr("gatehouse.policy.shared_state.CALL_SECONDS", 5)
    answers: list[str | NoAnswer | None] = []
    async with trio.open_nursery() as nursery:
        port = await nursery.start(slow, redis_server.port, delay)
        shared = share(redis_server.url.replace(str(redis_server.port), str(port)))

        async def ask(number: int) -> None:
            answers.append(await shared.read("alice", f"{number}"))

        async with trio.open_nursery() as many:
            for number in range(1200):
                many.start_soon(ask, number)
            await trio.sleep(0.05)
            for number in range(4):
                began = trio.current_time()
                assert await shared.read("bob", f"{number}") is None
                assert trio.current_time() - began < 1  # mostly 0.1
        assert await shared.read("alice", "later") is None
        nursery.cancel_scope.cancel()
    assert lines(log) == []
    assert UNAVAILABLE not in answers
    # Fewer, or none, where some are answered before the last have asked.
    assert answers.count(BUSY) <= 200 if not delay else answers.count(None) >= 20
    assert len(answers) == 1200


async def test_a_full_line_lets_nobody_past_the_rate_that_gates_share(
    redis_server: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_threads, "MAX_IN_LINE_PER_NAME", 5)
    limits = Budgets(share(redis_server.url))
    counts = {"in": 0, "busy": 0}

    async def ask() -> None:
        try:
            assert await limits.retry_after("alice by query", RATE, "alice") is None
            counts["in"] += 1
        except BusyError:
            counts["busy"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await trio.lowlevel.checkpoint()
        assert await limits.retry_after("bob", RATE) is None
    assert counts == {"in": 5, "busy": 45}


# A Redis that does not know.

ALICE = make_value()
TOKENS = (Token("alice", (TokenValue(digest_of(ALICE)),)),)


async def ask(house: House, session: bytes) -> tuple[int, bytes | None]:
    """A request in a session: its status, and when to come back."""
    bearer = f"Authorization: Bearer {ALICE}".encode()
    head, _ = await house.request(
        b"/mcp", bearer, b"Mcp-Session-Id: " + session, method=b"POST", body=b"{}", token=False
    )
    return head.status, head.get(b"retry-after")


async def opened(house: House, session: bytes) -> None:
    house.upstream.script = answer(b"{}", b"Mcp-Session-Id: " + session)
    bearer = f"Authorization: Bearer {ALICE}".encode()
    head, _ = await house.request(b"/mcp", bearer, method=b"POST", body=b"{}", token=False)
    assert head.get(b"mcp-session-id") == session
    house.upstream.script = answer()


@pytest.mark.parametrize("loses_its_keys", [False, True])
async def test_while_redis_is_away_a_session_of_another_gate_is_503_and_then_200(
    redis_server: RedisServer, share: Share, *, loses_its_keys: bool
) -> None:
    async with AsyncExitStack() as stack:
        shared = [share(redis_server.url, retry_seconds=0.4) for _ in range(2)]
        ours, theirs = [
            await stack.enter_async_context(open_house(tokens=TOKENS, shared=one)) for one in shared
        ]
        nursery = await stack.enter_async_context(trio.open_nursery())
        for one in shared:
            nursery.start_soon(one.keep)
        await opened(ours, b"before")
        assert await ask(theirs, b"unknown") == (404, None)
        if loses_its_keys:
            redis_server.kill()
        else:
            redis_server.send(signal.SIGSTOP)
        assert await ask(theirs, b"before") == (503, b"5")
        assert await ask(ours, b"before") == (200, None)
        await opened(ours, b"during")
        assert await ask(theirs, b"during") == (503, b"5")
        if loses_its_keys:
            redis_server.start()
        else:
            redis_server.send(signal.SIGCONT)
        for session, status in [(b"before", 200), (b"during", 200), (b"unknown", 404)]:
            with trio.fail_after(4):
                while (found := await ask(theirs, session)) == (503, b"5"):
                    await trio.sleep(0.02)
            assert found == (status, None)
        nursery.cancel_scope.cancel()


async def test_a_session_that_ended_while_redis_was_away_stays_over(
    redis_server: RedisServer, share: Share
) -> None:
    shared = share(redis_server.url)
    sessions, others = Sessions(shared, max_per_name=2), Sessions(share(redis_server.url))
    for session in (b"one", b"two"):
        assert await sessions.opened(session, "alice")
    redis_server.send(signal.SIGSTOP)
    await sessions.ended(b"one", "alice")
    assert await sessions.owner(b"one") is None
    assert await sessions.owner(b"never") is UNAVAILABLE
    for session in (b"three", b"four"):
        assert await sessions.opened(session, "alice")
    assert await sessions.owner(b"two") is None, "it had to make room"
    redis_server.send(signal.SIGCONT)
    await trio.sleep(SOON)
    await shared.catch_up()
    for session, owner in [(b"one", None), (b"two", None), (b"three", "alice"), (b"four", "alice")]:
        assert await others.owner(session) == owner
    assert await sessions.owner(b"one") is None


async def test_a_redis_that_was_emptied_is_told_again_and_until_then_nobody_knows(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    ours, theirs = share(redis_server.url, 0.75), share(redis_server.url, 0.75)
    sessions, others = Sessions(ours), Sessions(theirs)
    for shared in (ours, theirs):
        await shared.catch_up()
    for number in range(250):
        assert await sessions.opened(b"%d" % number, "alice")
    assert await others.owner(b"unknown") is None
    with redis_server.client() as client:
        client.flushall()
    assert await others.owner(b"7") is UNAVAILABLE
    assert await others.owner(b"unknown") is UNAVAILABLE
    await ours.catch_up()
    assert {await others.owner(b"%d" % number) for number in range(250)} == {"alice"}
    with trio.fail_after(4):
        while await others.owner(b"unknown") is UNAVAILABLE:
            await trio.sleep(0.05)
    assert await others.owner(b"unknown") is None
    assert len(lines(log)) == 2
    assert all("has lost its keys" in line for line in lines(log))
