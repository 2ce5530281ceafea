"""People: whom a list lets in, and that nobody gets in by a name that means somebody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.identity.matches import key_of
from gatehouse.identity.people import People, Person
from gatehouse.identity.scopes import Scope, Scopes
from gatehouse.identity.subject import Subject

if TYPE_CHECKING:
    from gatehouse.identity.matches import Key

ALICE = Subject(
    "oauth",
    "https://as.example",
    "auth0|17",
    client="claude",
    email="Alice@Example.com",
    username="alice",
    orgs=frozenset({"acme", "Example Ltd"}),
)
MACHINE = Subject("oauth", "https://as.example", "robot", client="robot", is_machine=True)
NARROW = Grants(tools=("get_*",))


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("*", True),
        ("alice", True),
        ("Alice", False),
        ("alice@example.com", True),
        ("ALICE@EXAMPLE.COM", True),
        ("*@example.COM", True),
        ("*@com", False),
        ("*@ample.com", False),
        ("*@mail.example.com", False),
        ("sub:auth0|17", True),
        ("sub:AUTH0|17", False),
        ("sub:alice", False),
        ("org:acme", True),
        ("org:Example Ltd", True),
        ("org:ACME", False),
        ("client:claude", False),
        ("client:robot", False),
        ("robot", False),
    ],
)
def test_a_match_means_a_fact_about_a_person_as_it_stands_but_for_the_case_of_addresses(
    match: str, fits: bool
) -> None:
    assert (People([match]).find(ALICE) is not None) is fits


@pytest.mark.parametrize(
    ("match", "fits"), [("client:robot", True), ("sub:robot", True), ("*", True), ("robot", False)]
)
def test_a_machine_is_known_by_its_client_and_no_person_by_the_app_that_they_use(
    match: str, fits: bool
) -> None:
    assert (People([match]).find(replace(MACHINE, username="robot")) is not None) is fits


@pytest.mark.parametrize(
    "claims",
    [
        {"username": "alice@example.com"},
        {"username": "*@example.com"},
        {"username": "*"},
        {"username": "sub:1"},
        {"username": "org:acme"},
        {"username": "client:robot"},
        {"email": "eve@evil.org@example.com"},
        {"email": '"eve@evil.org"@example.com'},
        {"email": "@example.com"},
        {"email": "eve @example.com"},
        {"email": "eve@example.com "},
        {"email": "sub:1"},
        {"email": "alice"},
        {"email": "\N{KELVIN SIGN}@o.example"},
        {"email": "eve@\N{KELVIN SIGN}.example"},
        {"orgs": frozenset({"*", "sub:1", "alice"})},
        {"client": "robot"},
        {"sub": ""},
    ],
)
def test_no_claim_that_somebody_chooses_reads_as_a_match_of_another_kind(
    claims: dict[str, str | frozenset[str]],
) -> None:
    eve = Subject("oauth", "https://as.example", "eve")
    listed = [
        "alice@example.com",
        "*@example.com",
        "alice",
        "sub:1",
        "org:acme",
        "client:robot",
        "k@o.example",
        "*@k.example",
    ]
    assert People(listed).find(replace(eve, **claims)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "match",
    ["", " a", "a ", "a b", "a\n", "a@", "@b.c", "a@b@c", "a*", "*@*", "*@", "*@*.b.c", "sub:", "sub: a", "org:", "Sub:a",
     "email:a@b.c", "mailto:a@b.c", ":", "a,b", "x" * 401, "a@.b", "\x1b[2J"],
)  # fmt: skip
def test_what_means_nobody_is_refused_in_words_that_do_not_repeat_it(match: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be|has 400|nothing after|before a colon"
    ) as refusal:
        key_of(match)
    assert len(match.strip()) < 3 or match not in str(refusal.value)


def test_the_first_entry_that_fits_decides_those_of_the_file_before_people() -> None:
    people = People(["alice", "*"], [Person("*@example.com", NARROW), Person("sub:auth0|17")])
    found = people.find(ALICE)
    assert found is not None
    assert found.grants == NARROW
    other = people.find(MACHINE)
    assert other is not None
    assert other.grants == EVERYTHING


def test_an_entry_that_has_expired_still_decides_and_lets_nobody_in() -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    people = People(["*"], [Person("alice", expires=now - hour)])
    assert people.find(ALICE) is None
    assert people.find(MACHINE) is not None
    people.replace([Person("alice", expires=now + hour)])
    assert people.find(ALICE) is not None


def test_a_list_of_many_is_asked_at_once() -> None:
    people = People([], [Person(f"sub:{number}") for number in range(30_000)])
    looked = [0]

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            looked[0] += 1
            return str(self) == other

        __hash__ = str.__hash__

    assert people.find(replace(ALICE, sub=Counted("29999"))) is not None
    assert looked[0] < 10


def test_no_list_means_everybody_and_one_that_has_lost_its_last_entry_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    people = People()
    assert people.is_open
    assert people.find(ALICE) is not None
    people.replace([])
    assert people.find(ALICE) is not None
    assert not caplog.text
    people.replace([Person("bob")])
    assert people.find(ALICE) is None
    people.replace([])
    people.replace([])
    assert people.find(ALICE) is None
    assert not people.is_open
    (told,) = caplog.messages
    assert "nobody may come in" in told
    assert "PEOPLE=*" in told
    people.replace([Person("alice")])
    assert people.find(ALICE) is not None


def test_people_of_the_settings_stay_when_those_of_the_file_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    people = People(["alice"], [Person("bob")])
    people.replace([])
    assert people.find(ALICE) is not None
    assert people.find(replace(ALICE, username="bob")) is None
    assert not caplog.text


def test_scopes_give_what_any_of_them_does_and_nothing_once_the_last_one_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scopes = Scopes()
    assert scopes.grants_of(["read"]) == EVERYTHING
    scopes.replace([Scope("read", NARROW), Scope("write", Grants(tools=("put",))), Scope("all")])
    both = scopes.grants_of(["read", "write", "unknown"])
    assert [both.allow("tools", name) for name in ("get_1", "put", "list")] == [True, True, False]
    assert scopes.grants_of(["all", "read"]) == EVERYTHING
    assert not scopes.grants_of(["unknown"]).allow("tools", "get_1")
    scopes.replace([])
    scopes.replace([])
    assert not scopes.grants_of(["all"]).allow("tools", "get_1")
    (told,) = caplog.messages
    assert "access tokens may do nothing" in told


def test_matches_that_mean_the_same_people_have_one_key() -> None:
    keys: set[Key] = {key_of(match) for match in ("A@b.C", "a@B.c")}
    assert len(keys) == 1
    assert key_of("*@b.c") != key_of("sub:*@b.c")
