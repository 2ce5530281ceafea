"""Grants of apps at several gates with one Redis: used once among them all, and ended at all of them."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.apps.client import Client
from gatehouse.apps.grant import GRACE_SECONDS
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import MAX_GRANTS_PER_PERSON, Advance, Grants
from gatehouse.identity.rate import parse_rate
from gatehouse.identity.subject import Subject
from gatehouse.policy import shared_grants
from gatehouse.policy.budgets import Budgets
from gatehouse.policy.redis_trouble import COMMANDS
from gatehouse.policy.sessions import Sessions, shared_key
from gatehouse.policy.shared_grants import SETTLING_SECONDS
from gatehouse.signin.ended import Ended
from tests.harness.redis_server import SOON, RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gatehouse.apps.grant import Grant
    from gatehouse.policy.shared_state import SharedState
    from tests.harness.redis_server import Share

FIRST, AGAIN, REUSED, ENDED = Advance.FIRST, Advance.AGAIN, Advance.REUSED, Advance.ENDED
UNAVAILABLE = Advance.UNAVAILABLE
CLIENT = Client("https://claude.ai/client.json", "Claude", ("https://claude.ai/cb",), "claude.ai")
ENDS, MARK = "mcp-gate:ended-grants", "mcp-gate:mark"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def gate(shared: SharedState | None, file: Path | None = None) -> Grants:
    return Grants(Ended(file, ENDED_GRANTS), file, lambda: shared)


def begun(grants: Grants, name: str = "alice") -> Grant:
    person = Subject("person", "https://huggingface.co", name, shown=f"person:{name}")
    return grants.new(person, CLIENT, to="claude.ai", scopes=(), resource="https://gate/mcp")


@asynccontextmanager
async def two_gates(server: RedisServer, share: Share) -> AsyncIterator[tuple[Grants, Grants]]:
    """Two gates that are up, and look for news."""
    shared = [share(server.url), share(server.url)]
    ours, theirs = map(gate, shared)
    async with trio.open_nursery() as nursery:
        for task in (*(each.keep for each in shared), ours.keep, theirs.keep):
            nursery.start_soon(task)
        yield ours, theirs
        nursery.cancel_scope.cancel()


async def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    with trio.fail_after(seconds):
        while not holds():
            await trio.sleep(0.02)


async def told(grants: Grants, grant: Grant, generation: int, *but: Advance) -> Advance:
    """The outcome once it is another one than these."""
    with trio.fail_after(20):
        while (outcome := await grants.advance(grant, generation)) in but:
            await trio.sleep(0.05)
    return outcome


# Uses.


async def test_a_code_that_one_gate_took_is_taken_at_all(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await theirs.advance(grant, 0) is FIRST, "not the gate that gave it"
        assert await ours.advance(grant, 0) is REUSED
        assert ours.has_ended(grant)
        await within(2, lambda: theirs.has_ended(grant))


async def test_of_many_at_a_time_at_both_gates_one_is_the_first(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as gates:
        for round_ in range(5):
            grant = begun(gates[0])
            outcomes: Counter[Advance] = Counter()

            async def advance(grants: Grants, grant: Grant, outcomes: Counter[Advance]) -> None:
                outcomes[await grants.advance(grant, 1, grace=GRACE_SECONDS)] += 1

            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(advance, gates[number % 2], grant, outcomes)
            assert outcomes == {FIRST: 1, AGAIN: 39}, round_


async def test_a_grant_that_another_gate_uses_stays_though_its_person_begins_many_here(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await theirs.advance(grant, 0) is FIRST
        for _ in range(MAX_GRANTS_PER_PERSON + 1):
            begun(ours)
        await trio.sleep(1.5)  # an end would be known there by now
        assert not theirs.has_ended(grant)
        assert await ours.advance(grant, 1) is FIRST
        assert await theirs.advance(grant, 1) is REUSED


async def test_the_grace_is_one_for_all_gates(redis_server: RedisServer, share: Share) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await ours.advance(grant, 1) is FIRST
        await trio.sleep(0.3)
        assert await theirs.advance(grant, 1, grace=GRACE_SECONDS) is AGAIN
        assert await theirs.advance(grant, 2) is FIRST
        assert await ours.advance(grant, 1, grace=GRACE_SECONDS) is REUSED, "it is not the last"


async def test_a_grace_that_is_over_at_one_gate_is_over_at_the_other(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await ours.advance(grant, 1) is FIRST
        await trio.sleep(0.3)
        assert await theirs.advance(grant, 1, grace=0.2) is REUSED


async def test_the_user_at_redis_needs_no_more_than_the_log_says(
    redis_server: RedisServer, share: Share
) -> None:
    with redis_server.client() as client:
        allowed = [f"+{command}" for command in COMMANDS.split(", ")]
        client.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", "gate", "on", ">secret", "~mcp-gate:*", "-@all", *allowed
        )
    shared = share(f"redis://gate:secret@127.0.0.1:{redis_server.port}/0")
    ours = gate(shared)
    grant = begun(ours)
    assert await ours.advance(grant, 0) is FIRST
    await ours.end(grant)
    later = gate(share(redis_server.url))
    assert await told(later, grant, 1, UNAVAILABLE) is ENDED
    assert await Budgets(shared).retry_after("alice", parse_rate("1/min")) is None
    assert await Sessions(shared).opened(b"session", "alice")
    assert await shared.read("alice", shared_key(b"session")) == "alice"
    await shared.delete("alice", shared_key(b"session"))
    assert await shared.read("alice", shared_key(b"session")) is None


# A Redis that is away, hangs, or has lost its keys.


async def test_while_redis_is_away_nobody_can_tell_and_nothing_is_used_up(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant, other = begun(ours), begun(ours)
        assert await ours.advance(grant, 0) is FIRST
        redis_server.kill()
        assert await theirs.advance(grant, 1) is UNAVAILABLE
        assert await ours.advance(grant, 1) is UNAVAILABLE
        assert await ours.advance(grant, 1) is UNAVAILABLE
        assert await ours.advance(grant, 0) is REUSED, "our own memory proves that"
        redis_server.start()
        assert await told(theirs, other, 0, UNAVAILABLE) is FIRST
        assert await told(ours, other, 0, UNAVAILABLE) is REUSED
        await within(2 + 2 * SOON, lambda: theirs.has_ended(grant))


async def test_a_code_of_which_a_hanging_redis_heard_is_not_lost(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await ours.advance(begun(ours), 0) is FIRST, "the connection is there"
        redis_server.send(signal.SIGSTOP)
        assert await ours.advance(grant, 0) is UNAVAILABLE
        redis_server.send(signal.SIGCONT)
        with redis_server.client() as client:
            await within(2, lambda: bool(client.exists(f"mcp-gate:grant:{grant.id}")))
        assert await told(ours, grant, 0, UNAVAILABLE) is FIRST
        assert await told(theirs, grant, 0, UNAVAILABLE) is REUSED


async def test_a_caller_who_left_before_the_answer_may_come_again(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        assert await ours.advance(begun(ours), 0) is FIRST
        redis_server.send(signal.SIGSTOP)
        with trio.move_on_after(0.05):
            await ours.advance(grant, 0)
        redis_server.send(signal.SIGCONT)
        assert await told(ours, grant, 0, UNAVAILABLE) is FIRST
        assert await told(theirs, grant, 0, UNAVAILABLE) is REUSED


async def test_a_redis_that_has_lost_its_keys_is_told_again_before_anything_is_taken(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant, ended = begun(ours), begun(ours)
        for generation in range(3):
            assert await ours.advance(grant, generation) is FIRST
        await ours.end(ended)
        with redis_server.client() as client:
            client.flushall()
            assert await theirs.advance(begun(theirs), 0) is UNAVAILABLE
            began = trio.current_time()
            outcome = await told(theirs, grant, 2, UNAVAILABLE)
            assert outcome is REUSED, "only the other gate knew of it"
            assert trio.current_time() - began < SETTLING_SECONDS + 2
            await within(2, lambda: client.exists(ENDS) == 1)
        later = gate(share(redis_server.url))
        assert await told(later, grant, 5, UNAVAILABLE, FIRST) is ENDED
        assert later.has_ended(ended)


# Ends.


async def test_an_end_reaches_the_other_gates_within_two_seconds(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        one, other, of_bob = begun(ours), begun(ours), begun(ours, "bob")
        ends: list[bool] = []
        theirs.on_end = lambda: ends.append(True)
        for grant in (one, other, of_bob):
            theirs.used(grant, "192.0.2.1")
        await ours.end(one)
        await within(2, lambda: theirs.has_ended(one))
        assert ends
        assert not theirs.has_ended(other)
        await theirs.end_all(other.person.id)
        await within(2, lambda: ours.has_ended(other))
        assert not theirs.has_ended(of_bob)
        assert not theirs.has_ended(begun(theirs))
        assert not theirs.has_ended(begun(ours)), "a new one begins after all ends"
        assert [known.grant.id for known in theirs.all() if known.grant.person == of_bob.person]


async def test_ends_are_owed_to_a_redis_that_is_away(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant, other = begun(ours), begun(ours, "bob")
        redis_server.kill()
        await ours.end(grant)
        await ours.end_all(other.person.id)
        assert ours.has_ended(grant)
        assert not theirs.has_ended(grant)
        redis_server.start()
        await within(5, lambda: theirs.has_ended(grant) and theirs.has_ended(other))


async def test_a_gate_that_starts_hears_of_all_ends_and_writes_them_down(
    redis_server: RedisServer, share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.signin.ended.RETRY_SECONDS", 0.05)
    monkeypatch.setattr(shared_grants, "MAX_READ", 3)
    ours, file = gate(share(redis_server.url)), tmp_path / "state"
    grants = [begun(ours, f"number {number}") for number in range(10)]
    for grant in grants:
        await ours.end(grant)
    async with trio.open_nursery() as nursery:
        later = gate(share(redis_server.url), file)
        nursery.start_soon(later.keep)
        await within(2, lambda: all(map(later.has_ended, grants)))
        await within(2, lambda: all(map(gate(None, file).has_ended, grants)))
        nursery.cancel_scope.cancel()


async def test_ends_that_make_no_sense_are_ignored_with_one_line(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant, other = begun(ours), begun(ours, "bob")
        who = grant.person.id
        with redis_server.client() as client:
            for text in (
                "junk",
                "",
                "\xff\xfe",
                f"{who} {grant.id} 5",
                f"{who} {grant.id}",
                f"{who} x 5",
                f"person:{'a' * 32}  1764000000000",
                f"{who}  {'9' * 17}",
                f"{who}  -1",
                f"{who}  ١٢٣",
            ):
                client.xadd(ENDS, {"end": text})
            client.xadd(ENDS, {"other": "field"})
            # Somebody else's grant by another's name, and one from before all grants.
            client.xadd(ENDS, {"end": f"{other.person.id} {grant.id} {int(grant.began * 1000)}"})
            client.xadd(ENDS, {"end": f"{who}  5"})
        await theirs.end(other)
        await within(2, lambda: ours.has_ended(other))
        assert not ours.has_ended(grant)
        assert not theirs.has_ended(grant)
        assert log.text.count("make no sense") == 2, "one for each gate"
        assert "junk" not in log.text


async def test_whoever_writes_to_redis_ends_grants_but_moves_nobody_into_the_future(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, _):
        grant = begun(ours)
        with redis_server.client() as client:
            client.xadd(ENDS, {"end": f"{grant.person.id}  {10**15}"})
        await within(2, lambda: ours.has_ended(grant))
        new = begun(ours)
        assert not ours.has_ended(new)
        assert new.began < grant.began + 300


async def test_whoever_writes_to_redis_revives_nothing(
    redis_server: RedisServer, share: Share
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        ended, used = begun(ours), begun(ours)
        await ours.end(ended)
        assert await ours.advance(used, 3) is FIRST
        await within(2, lambda: theirs.has_ended(ended))
        with redis_server.client() as client:
            client.delete(ENDS, f"mcp-gate:grant:{used.id}")
            client.set(f"mcp-gate:grant:{ended.id}", "0 0 ")
        assert await ours.advance(ended, 1) is ENDED
        assert await theirs.advance(ended, 1) is ENDED
        assert await ours.advance(used, 3) is REUSED


@pytest.mark.parametrize("entry", ["", "junk", "-1 0 ", "1 2 3 4", "1e9 0 ", "9" * 12 + " 0 "])
async def test_an_entry_that_no_gate_wrote_lets_nobody_in(
    redis_server: RedisServer, share: Share, entry: str
) -> None:
    async with two_gates(redis_server, share) as (ours, theirs):
        grant = begun(ours)
        with redis_server.client() as client:
            client.set(f"mcp-gate:grant:{grant.id}", entry)
        assert await theirs.advance(grant, 0) is UNAVAILABLE
        assert await theirs.advance(begun(ours), 0) is FIRST


async def test_what_redis_keeps_has_bounds_and_is_kept_for_the_life_of_a_grant(
    redis_server: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_grants, "MAX_ENDS", 100)  # Redis cuts whole blocks of a hundred
    async with two_gates(redis_server, share) as (ours, _):
        grant = begun(ours)
        await ours.advance(grant, 0)
        for number in range(150):
            await ours.end(begun(ours, f"number {number}"))
        with redis_server.client() as client:
            assert client.execute_command("XLEN", ENDS) < 250  # type: ignore[no-untyped-call]
            for key in (ENDS, f"mcp-gate:grant:{grant.id}"):
                assert client.ttl(key) in range(89 * 86_400, 90 * 86_400 + 1)
            assert {key.decode().split(":")[1] for key in client.scan_iter("*")} == {
                "mark",
                "grant",
                "ended-grants",
            }
