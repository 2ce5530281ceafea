"""The callers as the upstream is told of them, and what a hosted server learns from that."""

from __future__ import annotations

from typing import Any

from gatehouse.identity.callers import (
    LOOK_SECONDS,
    MAX_CALLERS,
    MAX_GRANTS_PER_CALLER,
    Callers,
)
from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.identity.principal import Principal
from tests.harness.levels import objects_in

NAME = "oauth:alice@example.com"
LISTS = Grants(tools=("list_*",))
TOKENS = {"default": EVERYTHING, "cook": LISTS}


def person(number: int, grants: Grants = EVERYTHING) -> Principal:
    """All of them have the same name."""
    return Principal(f"oauth:{number:032x}", NAME, grants=grants, kind="oauth")


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def callers(**options: Any) -> Callers:
    given: dict[str, Any] = {"names": True, "kinds": True, "ids": True}
    return Callers(lambda: TOKENS, lambda one: one.grants, **given | options)


def told(callers: Callers, principal: Principal | None) -> dict[bytes, str]:
    return {name: value.decode() for name, value in callers.fields(principal)}


def test_a_static_token_is_told_by_its_name_and_a_kind_only_if_there_are_others() -> None:
    cook = Principal("cook", "cook", grants=LISTS)
    assert told(callers(kinds=False), cook) == {b"X-Gate-Principal": "cook"}
    assert told(callers(), cook) == {b"X-Gate-Principal": "cook", b"X-Gate-Kind": "token"}
    assert told(callers(names=False), cook) == told(callers(), None) == {}
    assert callers().fields_of("cook") == callers().fields(cook)


def test_two_people_of_one_name_and_two_tokens_of_one_person_have_references_of_their_own() -> None:
    known = callers()
    one, other, less = person(1), person(2), person(1, LISTS)
    references = [told(known, each)[b"X-Gate-Caller"] for each in (one, other, less)]
    assert len({*references}) == 3
    assert [reference.partition("/")[0] for reference in references] == [one.id, other.id, one.id]
    assert [known.grants_of(each) for each in references] == [EVERYTHING, EVERYTHING, LISTS]
    assert told(known, one) | told(known, other) | told(known, less) == {
        b"X-Gate-Principal": NAME,
        b"X-Gate-Kind": "oauth",
        b"X-Gate-Caller": references[2],
    }


def test_a_server_elsewhere_gets_the_name_and_no_id() -> None:
    known = callers(ids=False)
    assert told(known, person(1)) == {b"X-Gate-Principal": NAME, b"X-Gate-Kind": "oauth"}
    assert dict(known.fields_of(person(1).id)) == dict(known.fields(person(1)))


def test_a_reference_that_the_gate_has_not_given_is_nobodys() -> None:
    known = callers()
    reference = told(known, person(1, LISTS))[b"X-Gate-Caller"]
    everything = told(callers(), person(1))[b"X-Gate-Caller"]
    made_up = (everything, person(1).id, f"{person(2).id}/{reference[-32:]}", NAME, "guest", "")
    assert [known.grants_of(each) for each in made_up] == [None] * 6
    assert known.grants_of("cook") == LISTS


def test_whoever_is_taken_off_the_list_is_a_stranger_within_a_second_and_new_lists_count() -> None:
    clock = Clock()
    now: list[Grants | None] = [EVERYTHING]
    known = Callers(lambda: TOKENS, lambda _: now[0], names=True, kinds=True, ids=True, clock=clock)
    reference = told(known, person(1))[b"X-Gate-Caller"]
    now[0] = LISTS
    clock.now += LOOK_SECONDS
    assert known.grants_of(reference) == LISTS
    now[0] = None
    clock.now += LOOK_SECONDS
    assert known.grants_of(reference) is None


def test_no_caller_makes_the_gate_remember_without_end_and_none_pushes_out_another_by_itself() -> (
    None
):
    known = callers()
    other = told(known, person(0))[b"X-Gate-Caller"]
    for number in range(MAX_GRANTS_PER_CALLER + 5):
        last = told(known, person(1, Grants(tools=(f"tool{number}",))))[b"X-Gate-Caller"]
    assert known.grants_of(other) == EVERYTHING
    assert known.grants_of(last) is not None
    full = objects_in(known)
    for number in range(50):
        told(known, person(1, Grants(tools=(f"more{number}",))))
    assert objects_in(known) == full
    for number in range(MAX_CALLERS):
        told(known, person(2 + number))
    assert known.grants_of(other) is None
    assert not known.lives(person(0).id)
    assert known.lives(person(MAX_CALLERS).id)


def test_one_who_is_not_known_any_more_has_the_id_for_a_name() -> None:
    gone = person(1)
    assert dict(callers().fields_of(gone.id)) == {
        b"X-Gate-Principal": gone.id.encode(),
        b"X-Gate-Kind": b"oauth",
    }
