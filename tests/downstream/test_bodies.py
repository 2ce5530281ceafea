"""Places for bodies under way: a bound for each name, and one for all."""

from __future__ import annotations

import pytest

from gatehouse.downstream.bodies import Bodies, BodiesFullError


def test_a_name_may_have_as_much_as_it_leaves_free() -> None:
    bodies = Bodies(120, by_name=True)
    bodies.take("alice", 60)
    with pytest.raises(BodiesFullError):
        bodies.take("alice", 1)
    bodies.take("bob", 30)
    bodies.take("carol", 15)
    with pytest.raises(BodiesFullError):
        bodies.take("bob", 1)
    bodies.give_back("alice", 60)
    bodies.take("bob", 22)
    assert bodies.under_way == 67
    for name, size in (("bob", 52), ("carol", 15)):
        bodies.give_back(name, size)
    assert bodies.under_way == 0


def test_the_only_token_may_have_all() -> None:
    bodies = Bodies(120, by_name=False)
    bodies.take("default", 120)
    with pytest.raises(BodiesFullError):
        bodies.take("default", 1)
