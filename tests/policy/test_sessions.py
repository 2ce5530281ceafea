"""The ledger of sessions in one gate. State that several gates share is in test_shared_state."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gatehouse.policy.sessions import MAX_ID_BYTES, SWEEP_SECONDS, NoFarewells, Sessions

if TYPE_CHECKING:
    from collections.abc import Collection

IDLE = 100.0


async def test_a_session_belongs_to_who_opened_it_until_it_ends() -> None:
    sessions = Sessions()
    assert await sessions.owner(b"one") is None
    assert await sessions.opened(b"one", "alice")
    assert await sessions.owner(b"one") == "alice"
    await sessions.ended(b"one")
    assert await sessions.owner(b"one") is None


async def test_an_id_is_never_bound_to_a_second_name() -> None:
    sessions = Sessions()
    assert await sessions.opened(b"one", "alice")
    assert not await sessions.opened(b"one", "mallory")
    assert await sessions.owner(b"one") == "alice"
    assert await sessions.opened(b"one", "alice")


@pytest.mark.parametrize("session", [b"", b"x" * (MAX_ID_BYTES + 1)])
async def test_an_id_that_is_empty_or_too_long_is_not_kept(session: bytes) -> None:
    sessions = Sessions()
    assert not await sessions.opened(session, "alice")
    assert await sessions.owner(session) is None
    await sessions.ended(session)
    with sessions.use(session):
        pass
    assert sessions.known == 0


async def test_a_session_that_rests_too_long_is_forgotten(mock_clock: MockClock) -> None:
    sessions = Sessions(idle_seconds=IDLE)
    await sessions.opened(b"one", "alice")
    mock_clock.jump(IDLE - 1)
    with sessions.use(b"one"):
        pass
    mock_clock.jump(IDLE - 1)
    assert await sessions.owner(b"one") == "alice"
    mock_clock.jump(1)
    assert await sessions.owner(b"one") is None
    assert await sessions.opened(b"one", "bob")


async def test_asking_who_owns_a_session_does_not_keep_it_alive(mock_clock: MockClock) -> None:
    sessions = Sessions(idle_seconds=IDLE)
    await sessions.opened(b"one", "alice")
    for _ in range(4):
        mock_clock.jump(IDLE / 4)
        owner = await sessions.owner(b"one")
    assert owner is None


async def test_a_session_does_not_rest_while_an_exchange_is_open(mock_clock: MockClock) -> None:
    sessions = Sessions(idle_seconds=IDLE)
    await sessions.opened(b"one", "alice")
    with sessions.use(b"one"):
        with sessions.use(b"one"):
            mock_clock.jump(10 * IDLE)
        mock_clock.jump(10 * IDLE)
        assert await sessions.owner(b"one") == "alice"
    mock_clock.jump(IDLE - 1)
    assert await sessions.owner(b"one") == "alice"
    mock_clock.jump(1)
    assert await sessions.owner(b"one") is None


async def test_who_opens_too_many_loses_the_longest_idle_of_his_own(mock_clock: MockClock) -> None:
    sessions = Sessions(max_per_name=3)
    await sessions.opened(b"of bob", "bob")
    for session in (b"1", b"2", b"3"):
        await sessions.opened(session, "alice")
    with sessions.use(b"1"):
        await sessions.opened(b"4", "alice")  # 2 goes: 1 is in use
        await sessions.opened(b"5", "alice")
    await sessions.opened(b"6", "alice")  # 4 goes: 1 was in use a moment ago
    owners = {session: await sessions.owner(session) for session in (b"1", b"2", b"3", b"4", b"5")}
    assert owners == {b"1": "alice", b"2": None, b"3": None, b"4": None, b"5": "alice"}
    assert await sessions.owner(b"of bob") == "bob"


class Ended(NoFarewells):
    """The sessions that the upstream is told to end."""

    def __init__(self) -> None:
        self.sessions: list[tuple[bytes, str]] = []

    def end(self, session: bytes, name: str) -> None:
        self.sessions.append((session, name))


async def test_whatever_the_ledger_drops_is_ended_at_the_upstream_and_nothing_else(
    mock_clock: MockClock,
) -> None:
    sessions = Sessions(max_per_name=2, idle_seconds=IDLE)
    sessions.farewells = ended = Ended()
    for session in (b"1", b"2", b"over", b"3", b"4"):  # 1 and 2 make room
        await sessions.opened(session, "alice")
        if session == b"over":
            await sessions.ended(session)
    assert not await sessions.opened(b"4", "bob")
    assert ended.sessions == [(b"1", "alice"), (b"2", "alice")]
    await sessions.opened(b"of bob", "bob")
    sessions.forget_names(["alice"])
    assert ended.sessions[2:] == [(b"of bob", "bob")]
    mock_clock.jump(IDLE)
    assert await sessions.owner(b"3") is None
    await sessions.opened(b"5", "alice")  # which sweeps
    assert ended.sessions[3:] == [(b"3", "alice"), (b"4", "alice")]


async def test_all_sessions_of_somebody_can_be_ended_at_once_those_in_use_too() -> None:
    sessions = Sessions()
    sessions.farewells = ended = Ended()
    for session, name in ((b"1", "oauth:bob"), (b"2", "oauth:bob"), (b"3", "oauth:carol")):
        await sessions.opened(session, name)
    with sessions.use(b"1"):
        assert sessions.number_of("oauth:bob") == 2
        assert sessions.end_all("oauth:bob") == 2
        assert sessions.number_of("oauth:bob") == sessions.end_all("oauth:bob") == 0
    assert sorted(ended.sessions) == [(b"1", "oauth:bob"), (b"2", "oauth:bob")]
    assert [await sessions.owner(each) for each in (b"1", b"2")] == [None, None]
    assert await sessions.owner(b"3") == "oauth:carol"


async def test_a_session_that_is_forgotten_in_use_does_not_come_back() -> None:
    sessions = Sessions(max_per_name=1)
    await sessions.opened(b"1", "alice")
    with sessions.use(b"1"):
        await sessions.opened(b"2", "alice")
        assert await sessions.owner(b"1") is None
        assert await sessions.opened(b"1", "bob")
    assert await sessions.owner(b"1") == "bob"
    assert await sessions.owner(b"2") == "alice"
    with suppress(ZeroDivisionError), sessions.use(b"2"):
        await sessions.ended(b"2")
        raise ZeroDivisionError
    assert await sessions.owner(b"2") is None


async def test_the_sessions_of_revoked_names_are_forgotten() -> None:
    sessions = Sessions()
    for number, name in enumerate(["alice", "bob", "alice", "carol"]):
        await sessions.opened(b"%d" % number, name)
    with sessions.use(b"0"):
        sessions.forget_names(["bob", "dave"])
    assert [await sessions.owner(b"%d" % number) for number in range(4)] == [
        None,
        "bob",
        None,
        None,
    ]
    assert sessions.known == 1


async def test_people_keep_their_sessions_when_tokens_change_and_two_of_one_name_have_their_own() -> (
    None
):
    sessions = Sessions(max_per_name=1)
    one, other = (f"oauth:{digit * 32}" for digit in "ab")
    assert await sessions.opened(b"1", one)
    assert await sessions.opened(b"2", other)
    assert not await sessions.opened(b"1", other)
    sessions.forget_names(["alice"])
    assert [await sessions.owner(session) for session in (b"1", b"2")] == [one, other]


async def test_sessions_of_names_that_never_come_back_are_swept(mock_clock: MockClock) -> None:
    sessions = Sessions(idle_seconds=IDLE)
    for number in range(50):
        await sessions.opened(b"%d" % number, f"name {number}")
    mock_clock.jump(IDLE / 2)
    await sessions.opened(b"young", "name 7")
    mock_clock.jump(IDLE / 2 + SWEEP_SECONDS / 2)
    await sessions.opened(b"new", "alice")
    assert sessions.known == 2
    assert await sessions.owner(b"young") == "name 7"


# The ledger against a model that is too slow and too simple to be wrong.


@dataclass(eq=False)
class Kept:
    session: bytes
    name: str
    touched: float
    exchanges: int = 0


class Model:
    """A list, the last touched at its end."""

    def __init__(self, max_per_name: int) -> None:
        self.max_per_name = max_per_name
        self.kept: list[Kept] = []

    def find(self, session: bytes) -> Kept | None:
        limit = trio.current_time() - IDLE
        self.kept = [kept for kept in self.kept if kept.exchanges or kept.touched > limit]
        return next((kept for kept in self.kept if kept.session == session), None)

    def opened(self, session: bytes, name: str) -> bool:
        if kept := self.find(session):
            return kept.name == name
        own = [kept for kept in self.kept if kept.name == name]
        if len(own) == self.max_per_name:
            self.kept.remove(next((kept for kept in own if not kept.exchanges), own[0]))
        self.kept.append(Kept(session, name, trio.current_time()))
        return True

    def touch(self, kept: Kept, change: int) -> None:
        kept.exchanges += change
        kept.touched = trio.current_time()
        if kept in self.kept:
            self.kept.remove(kept)
            self.kept.append(kept)

    def remove(self, session: bytes) -> None:
        self.kept = [kept for kept in self.kept if kept.session != session]

    def forget_names(self, names: Collection[str]) -> None:
        self.kept = [kept for kept in self.kept if kept.name in names]


IDS = [b"%d" % number for number in range(8)]
NAMES = ["alice", "bob", "carol"]
ids, names = st.sampled_from(IDS), st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("opened"), ids, names),
    st.tuples(st.just("opened"), ids, names),
    st.tuples(st.just("begin"), ids),
    st.tuples(st.just("end"), st.integers(0, 7)),
    st.tuples(st.just("ended"), ids),
    st.tuples(st.just("pass"), st.sampled_from([1.0, IDLE / 2, IDLE, 2 * IDLE])),
    st.tuples(st.just("forget"), st.sets(names, min_size=1)),
)


class Pair:
    """The ledger and its model, which take each step side by side."""

    def __init__(self, max_per_name: int, clock: MockClock) -> None:
        self.clock = clock
        self.sessions = Sessions(max_per_name=max_per_name, idle_seconds=IDLE)
        self.model = Model(max_per_name)
        self.uses: list[tuple[AbstractContextManager[None], Kept | None]] = []

    async def step(self, kind: str, *given: object) -> None:
        await getattr(self, f"step_{kind}")(*given)
        for session in IDS:
            kept = self.model.find(session)
            assert await self.sessions.owner(session) == (kept.name if kept else None)
        assert self.sessions.known == len(self.model.kept)

    async def step_opened(self, session: bytes, name: str) -> None:
        assert await self.sessions.opened(session, name) == self.model.opened(session, name)

    async def step_begin(self, session: bytes) -> None:
        use, kept = self.sessions.use(session), self.model.find(session)
        use.__enter__()
        self.uses.append((use, kept))
        if kept:
            self.model.touch(kept, +1)

    async def step_end(self, number: int) -> None:
        if number < len(self.uses):
            use, kept = self.uses.pop(number)
            use.__exit__(None, None, None)
            if kept:
                self.model.touch(kept, -1)

    async def step_ended(self, session: bytes) -> None:
        await self.sessions.ended(session)
        self.model.remove(session)

    async def step_pass(self, seconds: float) -> None:
        self.clock.jump(seconds)

    async def step_forget(self, kept: Collection[str]) -> None:
        self.sessions.forget_names(kept)
        self.model.forget_names(kept)


@given(st.integers(1, 3), st.lists(steps, max_size=40))
def test_the_ledger_does_what_its_model_does(
    max_per_name: int, script: list[tuple[str, object]]
) -> None:
    clock = MockClock()

    async def play() -> None:
        pair = Pair(max_per_name, clock)
        for step in script:
            await pair.step(*step)

    trio.run(play, clock=clock)
