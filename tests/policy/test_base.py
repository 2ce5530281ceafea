"""A policy is asked for an objection if it has one."""

from __future__ import annotations

from gatehouse.policy.base import Policy
from gatehouse.policy.own_sessions import OwnSessions
from gatehouse.policy.rates import Rates
from gatehouse.policy.tools import Tools


def test_a_policy_that_may_object_is_known_by_that_and_so_are_its_heirs() -> None:
    class Heir(OwnSessions): ...

    asked = [each for each in (Policy, Rates, OwnSessions, Heir, Tools) if each.judges_answers]
    assert asked == [OwnSessions, Heir]
