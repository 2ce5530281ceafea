"""Those who came in: names, issuers and times, within bounds, and over a restart."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.http.challenges import Challenges
from gatehouse.identity import arrivals, arrivals_file
from gatehouse.identity.admission import Admission
from gatehouse.identity.arrivals import KEEP_SECONDS, Arrival, Arrivals, kept
from gatehouse.identity.arrivals_file import keep_arrivals, read_arrivals, write_arrivals
from gatehouse.identity.clock import clock
from gatehouse.identity.people import People
from gatehouse.identity.principal import Principal
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.subject import Subject, subject_of

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "https://as.example"
ODD = '<script>alert("x")</script>\ud800\x1b[2J'


def person(name: str = "alice", **more: object) -> Subject:
    claims = {"sub": f"{name}-1", "preferred_username": name, **more}
    return subject_of("oauth", claims, issuer=ISSUER, expires=clock() + 60)


def arrival(name: str, came: float) -> Arrival:
    subject = kept(person(name))
    return Arrival(subject.id, subject, came=came)


def test_whoever_is_let_in_is_known_by_name_and_whoever_is_not_is_not() -> None:
    seen = Arrivals()
    admission = Admission(People(["alice"]), Scopes(), Challenges(), uses=seen)
    assert isinstance(admission.admit(person(), b"first"), Principal)
    admission.admit(person("bob"), b"second")
    (known,) = seen.all()
    assert (known.id, known.subject.shown, known.subject.issuer) == (
        person().id,
        "oauth:alice",
        ISSUER,
    )
    assert (known.subject.sub, known.subject.scopes, known.subject.expires) == ("alice-1", (), 0.0)


def test_a_call_with_a_remembered_token_counts_as_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Arrivals()
    admission = Admission(People(), Scopes(), Challenges(), uses=seen)
    admission.admit(replace(person(), expires=clock() + 1000), b"token")
    before = seen.all()[0].came
    monkeypatch.setattr("gatehouse.identity.admission.clock", lambda: before + 100)
    assert admission.recall(b"token")
    assert seen.all()[0].came == before + 100
    assert seen.of(person().id) == seen.all()[0]


def test_signing_in_at_the_dashboard_is_no_coming_in_to_the_server() -> None:
    seen = Arrivals()
    visitor = replace(person(), kind="person")
    seen.signed_in(visitor)
    (known,) = seen.all()
    assert known.came == 0.0
    assert known.last == known.signed_in > 0
    assert seen.times() == {}  # the line of `tokens list` counts those who came in


def test_the_number_is_bounded_and_the_latest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_ARRIVALS", 3)
    seen = Arrivals()
    for name in ("alice", "bob", "carol", "alice", "dave"):
        seen.signed_in(person(name))
    assert {each.subject.username for each in seen.all()} == {"alice", "carol", "dave"}


def test_facts_too_long_for_any_list_are_not_kept_and_all_others_are() -> None:
    orgs = [f"org-{number:04}-{'x' * 90}" for number in range(100)]
    long = kept(person("n" * 401, email="e" * 9999, email_verified=True, orgs=orgs))
    assert (long.username, long.email) == ("", "")
    assert 0 < sum(map(len, long.orgs)) <= arrivals.MAX_ORGS_LENGTH
    short = person("n" * 398, email="e@x.example", email_verified=True, orgs=["acme"])
    assert kept(short) == replace(short, expires=0.0)


def test_whoever_has_not_come_for_90_days_is_gone(tmp_path: Path) -> None:
    file, now = tmp_path / "state", clock()
    old, new = arrival("old", now - KEEP_SECONDS - 1), arrival("new", now - KEEP_SECONDS + 60)
    seen = Arrivals()
    seen.restore([old, new])
    assert [each.id for each in seen.all()] == [new.id]
    write_arrivals(file, [old, new, arrival("ahead", now + 200_000)])
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT id FROM arrivals").fetchall() == [(new.id,)]


def test_the_file_gives_back_what_was_written_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "state"
    odd = person(ODD, email=ODD, email_verified=True, orgs=["acme", ODD], client_id="app")
    one = Arrival(odd.id, kept(odd), came=clock() - 5, signed_in=clock() - 9)
    before = os.umask(0)
    try:
        write_arrivals(file, [one])
    finally:
        os.umask(before)
    assert read_arrivals(file) == [one]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    write_arrivals(file, [replace(one, came=1.0, signed_in=one.signed_in + 1)])
    assert read_arrivals(file) == [replace(one, signed_in=one.signed_in + 1)]


def test_the_file_keeps_no_more_than_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals_file, "MAX_ARRIVALS", 3)
    many = [arrival(f"p{number}", clock() - number) for number in range(5)]
    write_arrivals(tmp_path / "state", many)
    assert {each.id for each in read_arrivals(tmp_path / "state")} == {each.id for each in many[:3]}
    with closing(sqlite3.connect(tmp_path / "state")) as database:
        assert database.execute("SELECT count(*) FROM arrivals").fetchone() == (3,)


@pytest.mark.parametrize(
    "row",
    [
        ("token", 1.0, 0.0, "{}"),
        ("oauth:1", "never", 0.0, "{}"),
        ("oauth:1", float("inf"), 0.0, "{}"),
        ("oauth:1", 1.0, 0.0, b"\xff"),
        ("oauth:1", 1.0, 0.0, "nonsense"),
        ("oauth:1", 1.0, 0.0, "[" * 60_000),
        ("oauth:1", 1.0, 0.0, "[]"),
        ("oauth:1", 1.0, 0.0, '{"issuer": 1}'),
        ("oauth:1", 1.0, 0.0, f'"{"x" * arrivals_file.MAX_FACTS_LENGTH}"'),
        (b"oauth:1", 1.0, 0.0, "{}"),
    ],
)
def test_a_row_that_cannot_be_right_counts_as_none(row: tuple[object, ...]) -> None:
    assert arrivals_file.arrival_of(*row) is None


def test_without_a_file_or_a_table_nobody_came(tmp_path: Path) -> None:
    assert read_arrivals(tmp_path / "state") == []
    assert not (tmp_path / "state").exists()
    with closing(sqlite3.connect(tmp_path / "state")) as database:
        database.execute("CREATE TABLE other (x)")
    assert read_arrivals(tmp_path / "state") == []


async def test_after_a_restart_those_before_and_those_since_are_known(tmp_path: Path) -> None:
    file, first, second = tmp_path / "state", Arrivals(), Arrivals()
    first.signed_in(person("alice"))
    first.signed_in(person("bob"))
    with trio.move_on_after(0):
        await keep_arrivals(file, first)  # cancelled, it writes once more
    second.signed_in(person("carol"))
    second.signed_in(person("bob"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_arrivals, file, second)
        with trio.fail_after(5):
            while len(second.all()) < 3 or len(read_arrivals(file)) < 3:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [each.subject.username for each in second.all()] == ["bob", "carol", "alice"]
    assert {each.id: each for each in read_arrivals(file)} == {
        each.id: each for each in second.all()
    }


async def test_a_file_that_cannot_be_used_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Arrivals()
    record = arrivals_file.Writer(tmp_path, seen)  # a folder
    for name in ("alice", "bob"):
        seen.signed_in(person(name))
        await record.write()
    record = arrivals_file.Writer(tmp_path / "state", seen)
    await record.write()
    assert len(read_arrivals(tmp_path / "state")) == 2
