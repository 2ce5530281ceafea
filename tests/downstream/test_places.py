"""Places for connections: who goes first, who stays, and that every place comes back."""

from __future__ import annotations

from typing import Any

import pytest

from gatehouse.downstream.places import Places
from tests.harness.levels import objects_in


class Guest:
    """A connection that only notes that it was given up."""

    def __init__(self) -> None:
        self.gone = False

    def give_up(self) -> None:
        self.gone = True


def rested(places: Places, address: str, name: str = "") -> Guest:
    guest = Guest()
    assert places.enter(guest, address)
    if not name:
        places.unprove(guest, address)
    elif not places.prove(guest, name):
        raise OverflowError
    places.rests(guest)
    return guest


def work(places: Places, name: str) -> None:
    for _ in range(places.max_places):
        places.begins(rested(places, "", name))


def test_who_rests_longest_without_a_good_token_goes_first_and_whoever_works_with_one_stays() -> (
    None
):
    places = Places(8, by_name=False)
    working, resting_well = rested(places, "192.0.2.1", "a"), rested(places, "192.0.2.1", "a")
    places.begins(working)
    slow_head = Guest()
    assert places.enter(slow_head, "192.0.2.2")
    resting = [rested(places, "192.0.2.3") for _ in range(4)]
    late = Guest()
    assert places.enter(late, "192.0.2.4")
    order = [*resting, slow_head, resting_well, late]  # some room is left to newcomers
    for number in range(len(order)):
        newcomer = Guest()
        assert places.enter(newcomer, "")
        assert places.prove(newcomer, "a")
        assert [one.gone for one in order] == [one <= number for one in range(len(order))]
    assert not places.enter(Guest(), "192.0.2.9")
    assert not working.gone
    assert places.held == 8


def test_an_address_holds_half_and_a_flood_from_it_ends_its_own_first() -> None:
    places = Places(20, by_name=False)
    guests = [rested(places, f"2001:db8::{number}") for number in range(15)]
    assert sum(guest.gone for guest in guests) == 5
    others = [rested(places, f"192.0.2.{number}") for number in range(10)]
    for _ in range(100):
        assert places.enter(Guest(), "2001:db8::ffff")
    assert not any(guest.gone for guest in others)
    assert places.held == 20


def test_where_fewer_find_room_than_there_are_places_strangers_go_first_as_well() -> None:
    places = Places(1000, by_name=False)
    good = rested(places, "192.0.2.1", "a")
    strangers = [rested(places, "192.0.2.2") for _ in range(20)]
    for _ in range(16):
        assert places.make_room()
    assert not good.gone
    assert sum(stranger.gone for stranger in strangers) == 16


def test_no_names_hold_all_places_and_each_finds_some() -> None:
    places = Places(200, by_name=True)
    for number in range(5):
        with pytest.raises(OverflowError):
            work(places, f"name{number}")
    assert not rested(places, "", "one more").gone


@pytest.mark.parametrize("case", range(3))
def test_whatever_comes_and_goes_every_place_comes_back(case: int) -> None:
    import random

    dice = random.Random(case)  # noqa: S311 - to be the same each time
    places = Places(12, by_name=case > 0)
    inside: set[Guest] = set()
    for _ in range(5000):
        guest = dice.choice([*inside]) if inside and dice.random() < 0.8 else Guest()
        address, name = f"192.0.2.{dice.randrange(4)}", f"name{dice.randrange(3)}"
        if guest not in inside:
            if places.enter(guest, address):
                inside.add(guest)
        else:
            act: Any = dice.choice(
                [places.rests, places.begins, places.leave]
                + [lambda one: places.prove(one, name)] * 2  # noqa: B023 - called at once
                + [lambda one: places.unprove(one, address)] * 2  # noqa: B023
            )
            act(guest)
            if act == places.leave:
                inside.discard(guest)
        inside = {one for one in inside if not one.gone}
        assert places.held == len(inside) <= 12
    for guest in inside:
        places.leave(guest)
    assert places.held == 0
    assert objects_in(places) == objects_in(Places(12, by_name=case > 0))
