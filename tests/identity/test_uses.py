"""When people and apps were last let in."""

from __future__ import annotations

from gatehouse.http.challenges import Challenges
from gatehouse.identity import uses
from gatehouse.identity.admission import Admission
from gatehouse.identity.clock import clock
from gatehouse.identity.people import People
from gatehouse.identity.principal import Principal
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.subject import Subject


def test_each_call_counts_for_the_person_whatever_the_token_and_no_refused_one_does() -> None:
    seen = uses.Uses()
    admission = Admission(People(["alice"]), Scopes(), Challenges(), uses=seen)
    alice, bob = (
        Subject("oauth", "https://as.example", name, username=name, expires=clock() + 60)
        for name in ("alice", "bob")
    )
    for digest in (b"first", b"second"):
        assert isinstance(admission.admit(alice, digest), Principal)
        began = clock()
        assert admission.recall(digest)
        assert seen.times().keys() == {alice.id.encode()}
        assert began <= seen.times()[alice.id.encode()] <= clock()
    admission.admit(bob, b"third")
    assert len(seen.times()) == 1


def test_whoever_has_not_come_for_longest_gives_way() -> None:
    seen = uses.Uses()
    for number in range(uses.MAX_USES):
        seen.note(f"oauth:{number}", float(number))
    seen.note("oauth:0", 1e9)
    seen.note("oauth:new", 1e9)
    assert len(seen.times()) == uses.MAX_USES
    assert b"oauth:0" in seen.times()
    assert b"oauth:1" not in seen.times()
