"""Grants of apps: each code and refresh token is used once, and no grant that has ended is in force again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatehouse.apps import grants as module
from gatehouse.apps import grants_memory
from gatehouse.apps.client import Client
from gatehouse.apps.grant import GRACE_SECONDS, MAX_GRANT_SECONDS, Grant
from gatehouse.apps.grant_ends import ENDED_GRANTS, GrantEnds
from gatehouse.apps.grants import UNUSED_SECONDS, Advance, Grants
from gatehouse.apps.grants_file import MAX_FACTS_LENGTH, read_grants
from gatehouse.identity.subject import Subject
from gatehouse.signin.ended import Ended
from gatehouse.signin.ended_file import began_at
from gatehouse.signin.sealing import MAX_AHEAD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_764_000_000.0
HUB = "https://huggingface.co"
CLIENT = Client("https://claude.ai/client.json", "Claude", ("https://claude.ai/cb",), "claude.ai")
ID = f"{int(START * 1000)}-{'x' * 22}"
FIRST, AGAIN, REUSED, ENDED = Advance.FIRST, Advance.AGAIN, Advance.REUSED, Advance.ENDED
WRONG_TIMES = (-1.0, float("inf"), "soon", None)


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state"


def person(name: str = "alice") -> Subject:
    return Subject(
        "person",
        HUB,
        f"sub of {name}",
        username=name,
        orgs=frozenset(["acme"]),
        shown=f"person:{name}",
    )


def opened(file: Path | None, time: Callable[[], float], *, before: float = 0.0) -> Grants:
    """All that a gate makes of grants at its start."""
    ended = Ended(file, ENDED_GRANTS, before=before, clock=time)
    return Grants(ended, file, lambda: None, clock=time)


def begun(grants: Grants, name: str = "alice", client: Client = CLIENT) -> Grant:
    return grants.new(
        person(name), client, to="claude.ai", scopes=("read",), resource="https://gate/mcp"
    )


def rows_in(file: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT * FROM app_grants ORDER BY began").fetchall()


def mode_of(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def kept(grants: Grants) -> None:
    """Let the gate write all that it knows."""
    await grants.end_all(f"oauth:{'0' * 32}")  # with that end go all
    async with trio.open_nursery() as nursery:
        nursery.start_soon(grants.keep)
        await trio.sleep(0.01)
        while grants_memory.THREADS.busy:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


def test_a_grant_is_the_persons_by_an_access_token_and_begins_now(time: Time) -> None:
    grant = begun(opened(None, time))
    assert grant.began == START
    assert grant.person.id == replace(person(), kind="oauth").id
    assert (grant.person.kind, grant.person.key) == ("oauth", grant.id)
    assert (grant.person.client, grant.app, grant.client) == ("Claude", "Claude", CLIENT.key)
    assert grant.person.orgs == {"acme"}
    assert grant.person.shown == "oauth:alice"


# Uses.


async def test_each_of_a_chain_is_used_once(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    for generation in range(5):
        assert await grants.advance(grant, generation) is FIRST
        time.now += 900
    assert not grants.has_ended(grant)


async def test_a_code_that_comes_twice_ends_its_grant_at_once(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    grants, ends = opened(None, time), []
    grants.on_end = lambda: ends.append(True)
    grant, other = begun(grants), begun(grants)
    assert await grants.advance(grant, 0) is FIRST
    assert await grants.advance(grant, 0) is REUSED
    assert grants.has_ended(grant)
    assert ends, "whoever remembers the grant forgets it"
    assert await grants.advance(grant, 0) is ENDED
    assert await grants.advance(grant, 1) is ENDED, "nor does it help to have got a token"
    assert not grants.has_ended(other)
    assert "oauth:alice has to let the app in again" in caplog.text
    assert grant.id not in caplog.text


async def test_the_last_refresh_token_is_good_again_for_a_moment_and_no_earlier_one(
    time: Time,
) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    await grants.advance(grant, 0)
    assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is FIRST
    time.now += GRACE_SECONDS - 1
    assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is AGAIN
    assert await grants.advance(grant, 2, grace=GRACE_SECONDS) is FIRST
    assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is REUSED
    assert grants.has_ended(grant)


async def test_the_moment_is_counted_from_the_first_use_and_does_not_grow(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is FIRST
    for _ in range(3):
        time.now += GRACE_SECONDS / 3 - 0.1
        assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is AGAIN
    time.now += 1
    assert await grants.advance(grant, 1, grace=GRACE_SECONDS) is REUSED


async def test_of_a_hundred_at_a_time_one_is_the_first(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    told: list[Advance] = []

    async def advance(generation: int, grace: float) -> None:
        told.append(await grants.advance(grant, generation, grace=grace))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(advance, 1, GRACE_SECONDS)
    assert (told.count(FIRST), told.count(AGAIN)) == (1, 99)
    told.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(advance, 2, 0)
    assert (told.count(FIRST), told.count(REUSED), told.count(ENDED)) == (1, 1, 98)


async def test_a_use_is_on_the_disk_before_it_is_told(file: Path, time: Time) -> None:
    grants = opened(file, time)
    for generation in range(3):
        grant = begun(grants)
        assert await grants.advance(grant, generation) is FIRST
        assert await opened(file, time).advance(grant, generation) is REUSED


async def test_a_reuse_is_over_for_good_also_after_a_restart(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    await grants.advance(grant, 0)
    await grants.advance(grant, 1)
    assert await opened(file, time).advance(grant, 0) is REUSED
    anew = opened(file, time)
    assert anew.has_ended(grant)
    assert await anew.advance(grant, 2) is ENDED
    assert anew.all() == []


async def test_after_a_restart_the_grace_goes_on(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    await grants.advance(grant, 1)
    time.now += GRACE_SECONDS / 2
    assert await opened(file, time).advance(grant, 1, grace=GRACE_SECONDS) is AGAIN
    time.now += GRACE_SECONDS
    assert await opened(file, time).advance(grant, 1, grace=GRACE_SECONDS) is REUSED


async def test_a_clock_that_is_set_back_makes_the_grace_no_longer(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    await grants.advance(grant, 1)
    time.now -= 3600
    assert await opened(file, time).advance(grant, 1, grace=GRACE_SECONDS) is REUSED


async def test_a_clock_that_is_set_back_by_days_loses_no_use(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    await grants.advance(grant, 1)
    time.now -= 10 * 86_400
    anew = opened(file, time)
    assert [known.used for known in anew.all()] == [time.now]
    assert await anew.advance(grant, 1) is REUSED


async def test_without_any_memory_a_grant_goes_on_from_what_comes_first(time: Time) -> None:
    grant = begun(opened(None, time))
    grants = opened(None, time)
    assert await grants.advance(grant, 7) is FIRST
    assert await grants.advance(grant, 6) is REUSED


async def test_an_access_token_shows_that_its_code_was_used(time: Time) -> None:
    grant = begun(opened(None, time))
    grants = opened(None, time)
    grants.used(grant, "192.0.2.1")
    assert await grants.advance(grant, 0) is REUSED


async def test_a_grant_is_over_after_its_time(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    await grants.advance(grant, 0)
    time.now += MAX_GRANT_SECONDS - 1
    assert not grants.has_ended(grant)
    time.now += 1
    for each in (grants, opened(None, time)):
        assert each.has_ended(grant)
        assert await each.advance(grant, 1) is ENDED
        each.used(grant, "192.0.2.1")
        assert each.all() == []


async def test_a_disk_that_hangs_or_fails_holds_nobody_up_for_long(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grants_memory, "MAX_WRITE_SECONDS", 0.02)
    grants = opened(file, time)
    grant = begun(grants)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await grants.advance(grant, 0) is FIRST
        assert await grants.advance(grant, 1) is FIRST
        assert caplog.text.count("cannot write down which codes") == 1
        other.execute("ROLLBACK")
    assert await grants.advance(grant, 1) is REUSED, "memory holds"
    caplog.clear()
    last = begun(grants)
    monkeypatch.setattr(grants_memory, "MAX_WRITE_SECONDS", 5)
    assert await grants.advance(last, 0) is FIRST
    assert await opened(file, time).advance(last, 0) is REUSED, "the disk is back"


async def test_a_caller_who_leaves_loses_no_use(file: Path, time: Time) -> None:
    grants = opened(file, time)
    grant = begun(grants)
    with trio.CancelScope() as scope:
        scope.cancel()
        await grants.advance(grant, 0)
    assert scope.cancelled_caught
    await kept(grants)
    assert await opened(file, time).advance(grant, 0) is REUSED


# Ends.


async def test_an_end_holds_at_once_and_after_a_restart(file: Path, time: Time) -> None:
    grants = opened(file, time)
    one, other, of_bob = begun(grants), begun(grants), begun(grants, "bob")
    assert await grants.end(one) is True
    for each in (grants, opened(file, time)):
        assert [each.has_ended(grant) for grant in (one, other, of_bob)] == [True, False, False]
    assert await grants.end_all(other.person.id) is True
    for each in (grants, opened(file, time)):
        assert [each.has_ended(grant) for grant in (one, other, of_bob)] == [True, True, False]
        assert not each.has_ended(begun(each)), "the person may let an app in again at once"


async def test_without_a_file_an_end_says_that_a_restart_forgets_it(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    assert await grants.end(grant) is False
    assert grants.has_ended(grant)


async def test_a_known_grant_can_be_ended(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    known = grants.of(grant.id)
    assert known is not None
    await grants.end(known)
    assert grants.has_ended(grant)
    assert grants.of(grant.id) is None


async def test_an_ended_grant_that_is_used_is_not_taken_up_again(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    await grants.end(grant)
    grants.used(grant, "192.0.2.1")
    assert (grants.all(), grants.of(grant.id)) == ([], None)


async def test_grants_from_before_a_floor_have_ended(file: Path, time: Time) -> None:
    before = begun(opened(file, time))
    time.now += 10
    grants = opened(file, time, before=START + 10)
    after = begun(grants)
    assert grants.has_ended(before)
    assert not grants.has_ended(after)
    assert await grants.advance(before, 0) is ENDED


def test_what_is_no_id_of_a_grant_is_told(time: Time) -> None:
    with pytest.raises(ValueError, match="no id"):
        opened(None, time).is_over("oauth:x", "junk")


@given(
    st.sampled_from([f"oauth:{'a' * 32}", f"person:{'a' * 32}"]) | st.text(max_size=50),
    st.sampled_from(["", ID]) | st.text(max_size=50),
    st.sampled_from([int(START * 1000), int(START * 1000) + 5000]) | st.integers(),
)
def test_an_end_from_elsewhere_makes_sense_or_is_told(who: str, grant: str, moment: int) -> None:
    time = Time()
    ended, whose = Ended(None, ENDED_GRANTS, clock=time), list[str]()
    ends = GrantEnds(ended, lambda: None, on_end=whose.append, generations=list, clock=time)
    try:
        ends.learn(who, grant, moment)
    except ValueError:
        assert not whose
    for one in whose:
        assert one == who == f"oauth:{'a' * 32}"
        assert ended.has(one, grant or ID)
        assert began_at(ended.new_id(one)) < (START + 300) * 1000


# Those that are known.


async def test_the_latest_used_come_first_with_time_and_address(file: Path, time: Time) -> None:
    grants = opened(file, time)
    one, other = begun(grants), begun(grants, "bob")
    for number, grant in enumerate((one, other)):
        await grants.advance(grant, 0, address=f"192.0.2.{number}")
    time.now += 60
    grants.used(one, "198.51.100.7")
    await kept(grants)
    for each in (grants, opened(file, time)):
        known = each.all()
        assert [(it.grant.id, it.used, it.address, it.generation) for it in known] == [
            (one.id, START + 60, "198.51.100.7", 0),
            (other.id, START, "192.0.2.1", 0),
        ]
        assert known[0].grant.person.orgs == {"acme"}
        assert each.of(one.id) == known[0]


def test_times_only_grow(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    time.now += 10
    grants.used(grant, "192.0.2.1")
    time.now -= 100
    grants.used(grant, "192.0.2.2")
    assert [known.used for known in grants.all()] == [START + 10]


def test_a_yes_that_comes_to_nothing_is_not_shown(time: Time) -> None:
    grants = opened(None, time)
    grant = begun(grants)
    assert [known.grant.id for known in grants.all()] == [grant.id]
    time.now += UNUSED_SECONDS
    assert grants.all() == []
    grants.used(grant, "192.0.2.1")  # another gate took the code
    assert [known.generation for known in grants.all()] == [0]


def test_an_app_that_comes_after_the_disk_was_lost_is_known_again(time: Time) -> None:
    grant = begun(opened(None, time))
    grants = opened(None, time)
    assert grants.all() == []
    grants.used(grant, "192.0.2.1")
    (known,) = grants.all()
    assert (known.grant.app, known.grant.person.shown) == ("Claude", "oauth:alice")


async def test_a_person_has_so_many_and_the_one_unused_for_longest_ends(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_GRANTS_PER_PERSON", 4)
    grants = opened(file, time)
    of_bob = begun(grants, "bob")
    mine = [begun(grants) for _ in range(4)]
    for grant in mine:
        await grants.advance(grant, 0)
    time.now += 1
    for grant in (*mine[2:], *mine[:2]):
        time.now += 1
        grants.used(grant, "192.0.2.1")
    new = begun(grants)
    await kept(grants)
    for each in (grants, opened(file, time)):
        ended = [each.has_ended(grant) for grant in (*mine, new, of_bob)]
        assert ended == [False, False, True, False, False, False]
        assert len(each.all()) == 5


async def test_a_yes_that_came_to_nothing_goes_first(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_GRANTS_PER_PERSON", 2)
    grants = opened(None, time)
    good = begun(grants)
    await grants.advance(good, 0)
    time.now += 1
    for pause in (0.1,) * 5 + (UNUSED_SECONDS,) * 5:
        begun(grants)
        time.now += pause
        assert not grants.has_ended(good)
    assert [known.grant.id for known in grants.all()] == [good.id]


async def test_a_page_that_opens_a_thousand_authorizations_ends_no_grant_in_use(
    file: Path, time: Time
) -> None:
    grants = opened(file, time)
    good = begun(grants)
    await grants.advance(good, 0)
    for _ in range(1000):
        time.now += 0.1
        last = begun(grants)
    await kept(grants)
    for each in (grants, opened(file, time)):
        assert not each.has_ended(good)
        assert await each.advance(last, 0, grace=GRACE_SECONDS) in {FIRST, AGAIN}
    assert len(rows_in(file)) <= module.MAX_GRANTS_PER_PERSON


async def test_an_app_whose_code_waits_is_let_in_though_many_came_after_it(time: Time) -> None:
    grants = opened(None, time)
    waiting = begun(grants)
    for _ in range(2 * module.MAX_GRANTS_PER_PERSON):
        begun(grants)
    assert await grants.advance(waiting, 0) is FIRST
    assert await grants.advance(waiting, 0) is REUSED


async def test_of_too_many_the_one_unused_for_longest_is_forgotten_and_goes_on(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants_memory, "MAX_GRANTS", 3)
    grants = opened(file, time)
    all_of_them = []
    for number in range(4):
        all_of_them.append(grant := begun(grants, f"number {number}"))
        await grants.advance(grant, 0)
        time.now += 1
    await kept(grants)
    for each in (grants, opened(file, time)):
        assert [known.grant.id for known in each.all()] == [
            grant.id for grant in reversed(all_of_them[1:])
        ]
        assert not each.has_ended(all_of_them[0])
    assert len(rows_in(file)) == 3


# The file.


async def test_the_file_is_its_owners_and_holds_no_secret_nor_what_is_over(
    file: Path, time: Time
) -> None:
    grants = opened(file, time)
    old = begun(grants)
    await grants.advance(old, 0)
    time.now += MAX_GRANT_SECONDS
    grant, ended = begun(grants), begun(grants)
    await grants.advance(grant, 3)
    await grants.end(ended)
    await kept(grants)
    (row,) = rows_in(file)
    assert row[0] == grant.id
    assert set(json.loads(row[-1])) == {*"snuogcatri", "sc"}
    assert mode_of(file) == 0o600


async def test_a_person_with_odd_facts_is_kept_all_the_same(file: Path, time: Time) -> None:
    grants = opened(file, time)
    odd = replace(person(), sub="\ud800 half", username="‮", email="a@b")
    grant = grants.new(odd, CLIENT, to="claude.ai", scopes=(), resource="https://gate/mcp")
    assert await grants.advance(grant, 0) is FIRST
    (known,) = opened(file, time).all()
    assert known.grant.person.id == grant.person.id


GOOD = {"s": "x", "n": "oauth:x", "g": "", "c": "k", "a": "Claude", "t": "h", "r": "u", "i": HUB}
WRONG: dict[str, tuple[Any, ...]] = {
    "another grant's facts": (ID, START, "", 0, START, GOOD | {"g": ID.replace("x", "y")}),
    "no facts": (ID, START, "", 0, START, {}),
    "a list": (ID, START, "", 0, START, []),
    "facts that are too long": (ID, START, "", 0, START, GOOD | {"s": "x" * MAX_FACTS_LENGTH}),
    "an issuer that is none": (ID, START, "", 0, START, GOOD | {"g": ID, "i": 5}),
    "an id that is none": ("junk", START, "", 0, START, GOOD | {"g": "junk"}),
    "a generation before all": (ID, START, "", -2, START, GOOD | {"g": ID}),
    "a generation that is a fraction": (ID, START, "", 0.5, START, GOOD | {"g": ID}),
    "a generation beyond all": (ID, START, "", 2**62, START, GOOD | {"g": ID}),
    "an address of bytes": (ID, START, b"\xff", 0, START, GOOD | {"g": ID}),
    **{f"used {time}": (ID, time, "", 0, START, GOOD | {"g": ID}) for time in WRONG_TIMES},
    **{f"advanced {time}": (ID, START, "", 0, time, GOOD | {"g": ID}) for time in WRONG_TIMES},
}


def put(file: Path, *rows: tuple[Any, ...]) -> None:
    """Rows that somebody else has written."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE app_grants (id TEXT PRIMARY KEY, began, used, address, generation, advanced, facts)"
        )
        for grant_id, used, address, generation, advanced, facts in rows:
            row = grant_id, START * 1000, used, address, generation, advanced, json.dumps(facts)
            database.execute("INSERT INTO app_grants VALUES (?, ?, ?, ?, ?, ?, ?)", row)


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
def test_a_row_that_cannot_be_right_is_left_out(
    file: Path, time: Time, row: tuple[Any, ...]
) -> None:
    other = ID.replace("x", "z")
    put(file, row, (other, START, "", 4, START, GOOD | {"g": other}))
    (known,) = opened(file, time).all()
    assert (known.grant.id, known.generation) == (other, 4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from([*GOOD, "sc", "e", "u", "o"]), JSON)
def test_no_facts_in_the_file_raise_anything(name: str, value: Any) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "state")
        put(file, (ID, START, "", 0, START, GOOD | {"g": ID, name: value}))
        for known in read_grants(file, START):
            assert known.grant.person.id.startswith("oauth:")


def test_a_file_that_cannot_be_read_is_told(
    file: Path, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    grant = begun(opened(None, time))
    file.write_bytes(b"no database at all" * 100)
    grants = opened(file, time)
    assert "it is forgotten which codes and refresh tokens were used" in caplog.text
    assert grants.has_ended(grant), "since ends cannot be read, either"
    assert not grants.has_ended(begun(grants))


class Chains(RuleBasedStateMachine):
    """Apps and thieves use codes and tokens, grants end, the gate starts again or loses its memory, the clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.folder = TemporaryDirectory()
        self.file = Path(self.folder.name, "state")
        self.grants = opened(self.file, self.time)
        self.begun: list[Grant] = []
        self.gone: set[str] = set()
        self.taken: set[tuple[str, int]] = set()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "MAX_GRANTS_PER_PERSON", 3)

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def any_of_them(self, data: st.DataObject) -> Grant:
        return data.draw(st.sampled_from(self.begun))

    @rule(name=st.sampled_from("ab"))
    def begin(self, name: str) -> None:
        grant = begun(self.grants, name)
        assert not self.grants.has_ended(grant)
        self.begun.append(grant)

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), generation=st.integers(0, 4), grace=st.sampled_from([0, GRACE_SECONDS]))
    def use(self, data: st.DataObject, generation: int, grace: float) -> None:
        grant = self.any_of_them(data)
        told = [*trio.run(self.three, grant, generation, grace)]
        assert told.count(FIRST) <= 1
        if FIRST in told:
            assert (grant.id, generation) not in self.taken
            assert grant.id not in self.gone
            self.taken.add((grant.id, generation))
        if REUSED in told:
            self.gone.add(grant.id)

    async def three(self, grant: Grant, generation: int, grace: float) -> list[Advance]:
        """Three at the same time."""
        told: list[Advance] = []

        async def one() -> None:
            told.append(await self.grants.advance(grant, generation, grace=grace))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        return told

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def let_in(self, data: st.DataObject) -> None:
        self.grants.used(self.any_of_them(data), "192.0.2.1")

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        grant = self.any_of_them(data)
        assert trio.run(self.grants.end, grant)
        self.gone.add(grant.id)

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def end_all(self, data: st.DataObject) -> None:
        who = self.any_of_them(data).person.id
        assert trio.run(self.grants.end_all, who)
        self.gone |= {grant.id for grant in self.begun if grant.person.id == who}

    @rule()
    def start_again(self) -> None:
        trio.run(kept, self.grants)
        self.grants = opened(self.file, self.time)

    @rule(seconds=st.sampled_from([0.001, 1, GRACE_SECONDS, 3600, 30 * 86_400]))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds

    @rule(seconds=st.sampled_from([1, 59, 3600]))
    def set_the_clock_back(self, seconds: float) -> None:
        self.start_again()
        self.time.now -= seconds
        self.grants = opened(self.file, self.time)
        # Seals from further ahead are no good.
        latest = self.time.now + MAX_AHEAD_SECONDS
        self.begun = [grant for grant in self.begun if grant.began <= latest]

    @invariant()
    def nothing_comes_back(self) -> None:
        for grant in self.begun:
            if grant.id in self.gone:
                assert self.grants.has_ended(grant)
                assert self.grants.of(grant.id) is None
        assert not {known.grant.id for known in self.grants.all()} & self.gone


TestChains = Chains.TestCase
TestChains.settings = settings(max_examples=15, stateful_step_count=20)
