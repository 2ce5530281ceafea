"""Ended sessions: they never come back to life, whatever happens to clock, memory and disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gatehouse.signin import ended as module
from gatehouse.signin.ended import Ended
from gatehouse.signin.ended_file import (
    MAX_PEOPLE,
    SESSIONS,
    Kind,
    began_at,
    read_ended,
    write_ended,
)
from gatehouse.signin.sealing import MAX_AHEAD_SECONDS, MAX_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

ALICE, BOB = "person:" + "a" * 32, "person:" + "b" * 32
START = 1_764_000_000.0


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


def rows_in(file: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT * FROM ended_sessions ORDER BY person, session").fetchall()


def mode_of(file: Path) -> int:
    return file.stat().st_mode & 0o777


def put(file: Path, *rows: tuple[Any, ...]) -> None:
    """Rows that somebody else has written."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS ended_sessions (person TEXT NOT NULL, session TEXT NOT NULL, "
            "moment INTEGER NOT NULL, PRIMARY KEY (person, session)) WITHOUT ROWID"
        )
        database.executemany("INSERT INTO ended_sessions VALUES (?, ?, ?)", rows)


async def test_a_session_is_ended_at_once_and_no_other(time: Time) -> None:
    ended = Ended(None, clock=time)
    one, other, of_bob = (ended.new_id(person) for person in (ALICE, ALICE, BOB))
    assert began_at(one) == began_at(other) == int(START * 1000)
    assert not ended.has(ALICE, one)
    assert await ended.end(ALICE, one) is False, "it is on no disk"
    assert ended.has(ALICE, one)
    assert not ended.has(ALICE, other)
    assert not ended.has(BOB, of_bob)


async def test_all_sessions_of_a_person_are_ended_that_began_before_and_none_after(
    time: Time,
) -> None:
    ended = Ended(None, clock=time)
    before, of_bob = [ended.new_id(ALICE) for _ in range(3)], ended.new_id(BOB)
    await ended.end_all(ALICE)
    after = ended.new_id(ALICE)
    assert all(ended.has(ALICE, each) for each in before)
    assert not ended.has(BOB, of_bob)
    assert not ended.has(ALICE, after), "in the same moment they may sign in again"
    await ended.end_all(ALICE)
    assert ended.has(ALICE, after)


async def test_ends_outlast_a_restart(file: Path, time: Time) -> None:
    ended = Ended(file, clock=time)
    one, other, of_bob = (ended.new_id(person) for person in (ALICE, ALICE, BOB))
    assert await ended.end(ALICE, one) is True
    assert await ended.end_all(BOB) is True
    anew = Ended(file, clock=time)
    assert anew.has(ALICE, one)
    assert not anew.has(ALICE, other)
    assert anew.has(BOB, of_bob)
    assert not anew.has(BOB, anew.new_id(BOB))
    assert await anew.end(ALICE, one) is True, "twice is the same as once"


async def test_the_file_holds_no_more_than_is_needed(file: Path, time: Time) -> None:
    ended = Ended(file, clock=time)
    sessions = [ended.new_id(ALICE) for _ in range(3)]
    for session in sessions:
        await ended.end(ALICE, session)
    assert len(rows_in(file)) == 4
    await ended.end_all(ALICE)
    assert [row[:2] for row in rows_in(file)] == [("", ""), (ALICE, "")]
    assert mode_of(file) == 0o600


async def test_with_too_many_ends_of_one_person_older_sessions_of_theirs_end(
    file: Path, time: Time
) -> None:
    ended = Ended(file, SESSIONS, clock=time)
    old, of_bob = ended.new_id(ALICE), ended.new_id(BOB)
    sessions = []
    for _ in range(3 * SESSIONS.per_person):
        time.now += 1
        sessions.append(ended.new_id(ALICE))
        await ended.end(ALICE, sessions[-1])
    time.now += 1
    for each in (ended, Ended(file, clock=time)):
        assert all(each.has(ALICE, session) for session in sessions)
        assert each.has(ALICE, old)
        assert not each.has(BOB, of_bob)
        assert not each.has(ALICE, each.new_id(ALICE))
    assert len(rows_in(file)) <= SESSIONS.per_person + 2


async def test_with_ends_of_too_many_people_the_oldest_sessions_of_all_end(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PEOPLE", 20)
    ended = Ended(file, clock=time)
    first = ended.new_id(BOB)
    sessions = {}
    for number in range(30):
        time.now += 1
        person = f"person:{number:032x}"
        sessions[person] = ended.new_id(person)
        await ended.end(person, sessions[person])
    last = ended.new_id(BOB)
    for each in (ended, Ended(file, clock=time)):
        assert all(each.has(person, session) for person, session in sessions.items())
        assert each.has(BOB, first), "it began before the oldest end that is remembered"
        assert not each.has(BOB, last)
    assert len(rows_in(file)) == 21


async def test_ends_that_are_over_give_way_first_and_cost_nobody_a_session(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PEOPLE", 2)
    ended = Ended(None, clock=time)
    over = ended.new_id(ALICE)
    await ended.end(ALICE, over)
    time.now += MAX_SECONDS
    alive = ended.new_id("person:c")
    time.now += 1
    for person in (BOB, "person:d"):
        await ended.end(person, ended.new_id(person))
    assert not ended.has("person:c", alive)
    assert ended.has(ALICE, over), "the clock may be set back at the next start"


async def test_a_clock_that_is_set_back_revives_nothing_and_locks_nobody_out(
    file: Path, time: Time
) -> None:
    ended = Ended(file, clock=time)
    one = ended.new_id(ALICE)
    await ended.end(ALICE, one)
    await ended.end_all(BOB)
    time.now -= 86_400
    anew = Ended(file, clock=time)
    of_bob = anew.new_id(BOB)
    assert anew.has(ALICE, one)
    assert not anew.has(BOB, of_bob)
    await anew.end_all(BOB)
    assert anew.has(BOB, of_bob)


async def test_sessions_that_began_by_a_clock_a_little_ahead_are_ended_too(time: Time) -> None:
    ended = Ended(None, clock=time)
    time.now += 50
    one = ended.new_id(ALICE)
    time.now -= 50
    await ended.end_all(ALICE)
    assert ended.has(ALICE, one)


WRONG = {
    "a moment that is a text": ("person:x", "", "soon"),
    "a moment that is a fraction": ("person:x", "", 0.5),
    "a moment before all time": ("person:x", "", -1),
    "a session that is none": ("person:x", "junk", 5),
    "a session with another moment": (ALICE, "1764000000000-" + "x" * 22, 5),
    "a long name": ("p" * 1000, "", 5),
    "bytes": (b"\xff", "", 5),
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
async def test_wrong_content_of_the_file_opens_nothing(
    file: Path, time: Time, caplog: pytest.LogCaptureFixture, row: tuple[Any, ...]
) -> None:
    ended = Ended(file, clock=time)
    one, other = ended.new_id(ALICE), ended.new_id(BOB)
    await ended.end(ALICE, one)
    put(file, row)
    anew = Ended(file, clock=time)
    assert "make no sense" in caplog.text
    assert anew.has(ALICE, one)
    assert anew.has(BOB, other), "it might be among those that cannot be read"
    after = anew.new_id(BOB)
    assert not anew.has(BOB, after)
    assert await anew.end(ALICE, one) is True
    caplog.clear()
    again = Ended(file, clock=time)
    assert caplog.text == "", "the file is sound again"
    assert again.has(BOB, other)
    assert not again.has(BOB, after)


async def test_a_file_that_cannot_be_read_or_written_ends_all_and_is_told_once(
    file: Path, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    await trio.Path(file).write_bytes(b"no database at all" * 100)
    one = Ended(None, clock=time).new_id(ALICE)
    ended = Ended(file, clock=time)
    assert "cannot be read" in caplog.text
    assert ended.has(ALICE, one)
    caplog.clear()
    after = ended.new_id(ALICE)
    assert not ended.has(ALICE, after)
    for _ in range(3):
        assert await ended.end(ALICE, after) is False
    assert ended.has(ALICE, after), "memory goes on"
    assert caplog.text.count("cannot write down") == 1
    assert after not in caplog.text
    await trio.Path(file).unlink()
    assert await ended.end(ALICE, after) is True, "the disk is back"
    assert Ended(file, clock=time).has(ALICE, after)


async def test_a_file_with_too_many_ends_ends_all(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.signin.ended_file.MAX_PEOPLE", 0)
    one = Ended(None, clock=time).new_id(BOB)
    put(file, (ALICE, "", 5), ("", "", 6))
    assert read_ended(file, SESSIONS).fault
    assert Ended(file, clock=time).has(BOB, one)


def test_a_file_of_others_without_our_table_has_no_ends(file: Path, time: Time) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE last_use (digest BLOB)")
    one = Ended(None, clock=time).new_id(BOB)
    assert not Ended(file, clock=time).has(BOB, one)


def test_two_writers_of_one_file_keep_the_later_moment(file: Path) -> None:
    write_ended(file, SESSIONS, {(ALICE, ""): 9})
    write_ended(file, SESSIONS, {(ALICE, ""): 5, (BOB, ""): 7})
    assert read_ended(file, SESSIONS).rows == {(ALICE, ""): 9, (BOB, ""): 7}


async def test_a_disk_that_hangs_holds_nobody_up_and_is_caught_up_with(
    file: Path, time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_WRITE_SECONDS", 0.02)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    ended = Ended(file, clock=time)
    one = ended.new_id(ALICE)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await ended.end(ALICE, one) is False
        assert ended.has(ALICE, one)
        assert "takes too long" in caplog.text
        other.execute("ROLLBACK")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ended.keep)
        with trio.fail_after(5):
            while not read_ended(file, SESSIONS).rows:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert Ended(file, clock=time).has(ALICE, one)


async def test_at_the_end_of_the_program_the_disk_is_tried_once_more(
    file: Path, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    await trio.Path(file).mkdir()
    ended = Ended(file, clock=time)
    one = ended.new_id(ALICE)
    ended.hold(ALICE, one, began_at(one))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ended.keep)
        with trio.fail_after(5):
            while "cannot write down" not in caplog.text:
                await trio.sleep(0.01)
        await trio.Path(file).rmdir()
        nursery.cancel_scope.cancel()
    assert Ended(file, clock=time).has(ALICE, one)


@given(st.text(max_size=50))
def test_what_is_no_id_of_a_session_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        Ended(None).has(ALICE, text)


def test_the_memory_of_all_ends_has_a_bound() -> None:
    assert MAX_PEOPLE * (SESSIONS.per_person + 1) < 100_000


# Another kind, and a floor.

VISITS = Kind("ended_visits", "visits", "they visit again", 10 * MAX_SECONDS, 3)


async def test_each_kind_has_its_own_ends_in_one_file(file: Path, time: Time) -> None:
    ended, visits = Ended(file, clock=time), Ended(file, VISITS, clock=time)
    one, other = ended.new_id(ALICE), visits.new_id(ALICE)
    await ended.end(ALICE, one)
    await visits.end_all(ALICE)
    await visits.end(ALICE, later := visits.new_id(ALICE))
    ended, visits = Ended(file, clock=time), Ended(file, VISITS, clock=time)
    assert [*ended.known()] == [(ALICE, one, began_at(one))]
    assert [*visits.known()] == [
        (ALICE, "", visits.moment_of(ALICE)),
        (ALICE, later, began_at(later)),
    ]
    assert visits.has(ALICE, other)
    assert not ended.has(ALICE, ended.new_id(ALICE))


async def test_a_kind_that_lasts_longer_is_remembered_longer(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PEOPLE", 1)
    visits = Ended(None, VISITS, clock=time)
    await visits.end(ALICE, visits.new_id(ALICE))
    time.now += 2 * MAX_SECONDS
    alive = visits.new_id("person:c")
    time.now += 1
    await visits.end(BOB, visits.new_id(BOB))
    assert not visits.has("person:c", alive)


def test_the_log_names_the_kind(file: Path, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    file.write_bytes(b"no database at all" * 100)
    Ended(file, VISITS, clock=time)
    assert "so all visits are ended that began before now; they visit again" in caplog.text


async def test_all_that_began_before_a_floor_is_ended_for_good(file: Path, time: Time) -> None:
    ended = Ended(file, clock=time)
    before = ended.new_id(ALICE)
    time.now += 10
    at, of_bob = ended.new_id(ALICE), ended.new_id(BOB)
    time.now += 10
    ended = Ended(file, before=START + 10, clock=time)
    for each in (ended, Ended(None, before=START + 10, clock=time)):
        assert each.has(ALICE, before)
        assert not each.has(ALICE, at)
        assert not each.has(BOB, of_bob)
        assert not each.has(BOB, each.new_id(BOB))
    assert await ended.written()
    assert Ended(file, clock=time).has(ALICE, before), "also once the setting is gone"


@pytest.mark.parametrize("ahead", [1, 3600, 1e9, float("inf")])
async def test_a_floor_in_the_future_ends_what_began_before_now_and_nothing_new(
    time: Time, ahead: float
) -> None:
    before = Ended(None, clock=time).new_id(ALICE)
    time.now += 1
    ended = Ended(None, before=time.now + ahead, clock=time)
    after = ended.new_id(ALICE)
    assert ended.has(ALICE, before)
    assert not ended.has(ALICE, after)
    assert began_at(after) == int(time.now * 1000), "it begins now, and not in the future"


async def test_ending_all_again_and_again_moves_nobody_into_the_future(time: Time) -> None:
    ended = Ended(None, clock=time)
    for _ in range(100):
        await ended.end_all(ALICE)
    assert began_at(ended.new_id(ALICE)) <= (time.now + MAX_AHEAD_SECONDS) * 1000 + 100


class Sessions(RuleBasedStateMachine):
    """People sign in and out while the clock jumps and the memory is tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.ended = Ended(None, SESSIONS._replace(per_person=2), clock=self.time)
        self.gone: list[tuple[str, str]] = []
        self.begun: list[tuple[str, str]] = []

    @initialize()
    def tiny(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "MAX_PEOPLE", 2)

    def teardown(self) -> None:
        self.patch.undo()

    @rule(person=st.sampled_from("abcd"))
    def begin(self, person: str) -> None:
        session = self.ended.new_id(person)
        assert not self.ended.has(person, session)
        self.begun.append((person, session))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.begun:
            person, session = data.draw(st.sampled_from(self.begun))
            trio.run(self.ended.end, person, session)
            self.gone.append((person, session))

    @rule(person=st.sampled_from("abcd"))
    def end_all(self, person: str) -> None:
        trio.run(self.ended.end_all, person)
        self.gone += [each for each in self.begun if each[0] == person]

    @rule(seconds=st.sampled_from([0.001, 1, 3600, MAX_SECONDS, -1, -3600]))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds
        if (
            seconds < 0
        ):  # the clock goes back at a restart only, and sessions from the future have no good seal
            now = int((self.time.now + MAX_AHEAD_SECONDS) * 1000)
            self.begun = [each for each in self.begun if began_at(each[1]) <= now]

    @invariant()
    def nothing_comes_back(self) -> None:
        assert all(self.ended.has(*each) for each in self.gone)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=15, stateful_step_count=30)
