"""The texts of a restless tokens file, and all that they agree on: nobody may do more by half of a file, and nobody stays for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.identity.grants import Grants
from gatehouse.identity.people import Person
from gatehouse.identity.scopes import Scope
from gatehouse.tokens.agreement import OVER, agreed, taken_apart
from gatehouse.tokens.contents import Contents

NARROW = Grants(tools=("get_*",))
ALICE, WIDE_ALICE = Person("alice", NARROW), Person("alice")
BOB, ALL = Person("bob"), Person("*")


def people_of(
    *texts: tuple[Person, ...], before: tuple[Person, ...], trusted: bool = True
) -> tuple[Person, ...]:
    parts = [taken_apart(Contents(people=text)) for text in texts]
    return agreed(Contents(people=before), parts, trusted).people


def over(person: Person) -> Person:
    return replace(person, expires=OVER)


@pytest.mark.parametrize(
    ("before", "texts", "trusted", "then"),
    [
        # All texts have another list, and are trusted.
        ((ALICE,), [(WIDE_ALICE,)] * 2, True, (WIDE_ALICE,)),
        ((ALICE, ALL), [(ALL,)] * 2, True, (ALL,)),
        ((ALICE,), [()] * 2, True, ()),
        ((), [(ALICE,)] * 2, True, (ALICE,)),
        # Some text still has the old one.
        ((ALICE, ALL), [(ALL,), (ALICE, ALL)], True, (ALICE, ALL)),
        # Half of a file: its tools are still to come, a narrow entry is gone, or all are.
        ((ALICE,), [(WIDE_ALICE,)], False, (over(ALICE),)),
        ((ALICE,), [(WIDE_ALICE,), (BOB,)], True, (over(ALICE),)),
        ((ALICE, ALL), [(ALL,)], False, (over(ALICE), ALL)),
        ((ALICE, ALL), [(ALL,), (ALL, BOB)], True, (over(ALICE), ALL)),
        ((ALICE,), [()], False, (over(ALICE),)),
        ((), [(ALICE,)], False, ()),
        # Whoever is in no text is out; whoever stands where he stood stays, whatever follows.
        ((BOB, ALICE), [(ALICE,)], False, (over(BOB), ALICE)),
        ((BOB, ALICE), [(BOB, Person("carol"))], False, (BOB, over(ALICE))),
        # Somebody new comes first: the wide entry no longer means whom it meant.
        ((ALL,), [(ALICE, ALL)], False, (over(ALL),)),
        ((BOB, ALICE), [(ALICE, BOB)], False, (over(BOB), ALICE)),
        # An entry that is over does not come back.
        ((over(ALICE), ALL), [(ALICE, ALL), (ALL,)], True, (over(ALICE), ALL)),
    ],
)
def test_people_of_texts_that_disagree_do_no_more_than_before(
    before: tuple[Person, ...],
    texts: list[tuple[Person, ...]],
    trusted: bool,
    then: tuple[Person, ...],
) -> None:
    assert people_of(*texts, before=before, trusted=trusted) == then


def test_a_note_is_no_change() -> None:
    before = Contents(people=(replace(ALICE, note="here"),))
    assert agreed(before, [taken_apart(Contents(people=(ALICE,)))], False) is before


persons = st.builds(
    Person,
    st.sampled_from(["alice", "*@b.org", "sub:1", "*"]),
    st.sampled_from([NARROW, Grants()]),
)
lists = st.lists(persons, unique_by=lambda person: person.match, max_size=4).map(tuple)
subjects = st.lists(st.sampled_from(["alice", "*@b.org", "sub:1"]), unique=True).map(set)


def first(people: tuple[Person, ...], subject: set[str]) -> Person | None:
    """The entry that lets somebody in for whom these matches are good."""
    found = next((each for each in people if each.match in {*subject, "*"}), None)
    return None if found is None or found.expires else found


@given(lists, st.lists(lists, min_size=1, max_size=3), subjects, st.booleans())
def test_whatever_the_texts_say_nobody_gets_more_than_all_of_them_give_or_some_one_had(
    before: tuple[Person, ...], texts: list[tuple[Person, ...]], subject: set[str], trusted: bool
) -> None:
    now = first(people_of(*texts, before=before, trusted=trusted), subject)
    said = [first(text, subject) for text in texts]
    was = first(before, subject)
    assert now is None or (now == was and was in said) or (trusted and {now} == {*said})


def test_a_scope_that_changes_grants_nothing_until_its_texts_agree() -> None:
    narrow, wide, other = Scope("write", NARROW), Scope("write"), Scope("read", NARROW)

    def said(*texts: tuple[Scope, ...], trusted: bool) -> tuple[Scope, ...]:
        parts = [taken_apart(Contents(scopes=text)) for text in texts]
        return agreed(Contents(scopes=(narrow, other)), parts, trusted).scopes

    assert said((wide, other), trusted=False) == (other,)
    assert said((wide, other), (other,), trusted=True) == (other,)
    assert said((wide, other), (narrow, other), trusted=True) == (narrow, other)
    assert said((wide,), trusted=True) == (wide,)
    assert said((), trusted=False) == ()
