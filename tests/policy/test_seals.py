"""Seals on what gates share: made with the tokens in force."""

from __future__ import annotations

from gatehouse.policy.seals import OVERLAP_SECONDS, Seals


def test_a_seal_of_earlier_tokens_is_good_for_a_while() -> None:
    now = 0.0
    seals = Seals([b"1"], clock=lambda: now)
    first = seals.sealed("key", "alice")
    assert not seals.renew([b"1"])
    assert seals.renew([b"1", b"2"])
    both = seals.sealed("key", "alice")
    now = OVERLAP_SECONDS - 1
    assert seals.opened("key", first) == "alice"
    assert Seals([b"1"]).opened("key", both) == "alice"
    assert Seals([b"2", b"1"]).opened("key", both) == "alice"
    now = OVERLAP_SECONDS
    assert seals.opened("key", first) is None
    assert seals.opened("key", both) == "alice"
    assert seals.renew([b"1"])  # back again
    assert seals.opened("key", first) == "alice"
    for number in range(20):
        seals.renew([b"%d" % number])
    assert len(seals.sealed("key", "alice")) < 150


def test_without_any_token_nobody_else_can_make_a_seal() -> None:
    assert Seals([]).opened("key", Seals([]).sealed("key", "alice")) is None
