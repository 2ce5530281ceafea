"""The tokens in force: who is let in by which value and lane, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.credentials import LANES, Credential, CredentialKind
from gatehouse.identity.grants import Grants
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.rate import parse_rate
from gatehouse.identity.verifiers import Verifiers
from gatehouse.policy.failures import Failures
from gatehouse.tokens.keyring import Keyring
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.program import TOKEN
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.credentials import Lane

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
OLD, NEW, OTHER = make_value(), make_value(), make_value()


def value(text: str, **times: datetime) -> TokenValue:
    return TokenValue(digest_of(text), **times)


KIND: dict[Lane, CredentialKind] = {"header": "bearer", "query": "url-key"}


def judged(keyring: Keyring, *texts: str | bytes, lane: Lane = "header") -> Principal | Unknown:
    """The verdict on these values together, as the gate gets it."""
    values = [text.encode() if isinstance(text, str) else text for text in texts]
    verifiers = Verifiers([keyring], Failures(None).retry_after)
    credentials = tuple(Credential(KIND[lane], value) for value in values)
    return trio.run(verifiers.identify, request_of()._replace(credentials=credentials))


def admitted(keyring: Keyring, *texts: str | bytes, lane: Lane = "header") -> Principal | None:
    who = judged(keyring, *texts, lane=lane)
    return who if isinstance(who, Principal) else None


def name_of(principal: Principal | None) -> str | None:
    return principal.name if principal else None


def test_every_value_of_a_token_stands_for_its_name_and_the_shared_one_for_default() -> None:
    keyring = Keyring([Token("alice", (value(OLD), value(NEW)))], shared=TOKEN)
    assert name_of(admitted(keyring, OLD)) == name_of(admitted(keyring, NEW)) == "alice"
    assert name_of(admitted(keyring, TOKEN)) == "default"
    assert admitted(keyring, OTHER) is None


@pytest.mark.parametrize(
    ("times", "good"),
    [
        ({}, True),
        ({"expires": NOW + HOUR}, True),
        ({"expires": NOW - HOUR}, False),
        ({"not_before": NOW - HOUR}, True),
        ({"not_before": NOW + HOUR}, False),
        ({"not_before": NOW - 2 * HOUR, "expires": NOW - HOUR}, False),
    ],
)
def test_a_value_is_good_in_its_time_only(times: dict[str, datetime], good: bool) -> None:
    keyring = Keyring([Token("alice", (value(OLD, **times), value(NEW)))])
    assert (admitted(keyring, OLD) is not None) is good
    assert admitted(keyring, NEW) is not None


@pytest.mark.parametrize("lanes", [{"header"}, {"query"}, LANES])
@pytest.mark.parametrize("query_keys", [True, False])
def test_a_value_is_good_in_its_lanes_only_and_url_keys_can_be_switched_off(
    lanes: frozenset[Lane], query_keys: bool
) -> None:
    token = Token("alice", (value(OLD),), lanes=frozenset(lanes))
    keyring = Keyring([token], shared=TOKEN, query_keys=query_keys)
    assert (admitted(keyring, OLD) is not None) is ("header" in lanes)
    assert (admitted(keyring, OLD, lane="query") is not None) is ("query" in lanes and query_keys)
    assert admitted(keyring, TOKEN) is not None
    assert (admitted(keyring, TOKEN, lane="query") is not None) is query_keys
    assert keyring.takes_url_keys is query_keys


def test_a_principal_has_what_its_token_says() -> None:
    grants = Grants(tools=("list_*",))
    keyring = Keyring(
        [Token("guest", (value(OLD),), grants=grants, rate=parse_rate("60/min, burst 20"))]
    )
    principal = admitted(keyring, OTHER, OLD)
    assert principal is not None
    assert principal.grants == keyring.grants["guest"] == grants
    assert str(principal.rate) == "60/min, burst 20"
    assert principal.proof == digest_of(OLD)
    assert principal.proof.hex() not in repr(principal)


def test_the_first_good_credential_tells_who_it_is() -> None:
    keyring = Keyring([Token("alice", (value(OLD),)), Token("bob", (value(NEW),))])
    assert name_of(admitted(keyring, NEW, OLD)) == "bob"
    assert name_of(admitted(keyring, OTHER, OLD, NEW)) == "alice"


def test_what_let_somebody_in_is_in_force_until_it_is_replaced() -> None:
    alice = Token("alice", (value(OLD),))
    keyring = Keyring([alice], shared=TOKEN)
    principal, shared = admitted(keyring, OLD), admitted(keyring, TOKEN)
    assert principal is not None
    assert shared is not None
    for others, good in [
        ([alice], True),
        ([Token("alice", (value(OLD), value(NEW)))], True),
        ([Token("alice", (value(NEW),))], False),
        ([Token("mallory", (value(OLD),))], False),
        ([Token("alice", (value(OLD, expires=NOW - HOUR),))], False),
        ([Token("alice", (value(OLD),), lanes=frozenset({"query"}))], False),
        ([], False),
    ]:
        keyring.replace(others)
        assert keyring.in_force(principal) is good
        assert keyring.in_force(shared)


def test_the_last_use_of_each_value_is_known_and_refused_ones_leave_nothing() -> None:
    keyring = Keyring([Token("alice", (value(OLD), value(NEW, expires=NOW - HOUR)))])
    admitted(keyring, OLD)
    admitted(keyring, NEW)
    admitted(keyring, OTHER)
    assert keyring.used.keys() == {digest_of(OLD)}
    assert abs(keyring.used[digest_of(OLD)] - datetime.now(UTC).timestamp()) < 5


def test_why_credentials_are_no_good_is_told_for_the_record() -> None:
    values = (value(OLD, expires=NOW - HOUR), value(NEW))
    keyring = Keyring([Token("alice", values)], shared=TOKEN)
    cases: list[tuple[Lane, str, tuple[str, str]]] = [
        ("header", OLD, ("alice", "token-not-in-time")),
        ("query", NEW, ("alice", "token-lane")),
        ("header", OTHER, ("", "token")),
    ]
    for lane, text, wanted in cases:
        assert judged(keyring, text, lane=lane) == Unknown(*wanted)
    assert judged(keyring) == Unknown("", "no-token", counts=False)
    assert judged(keyring, OTHER, OLD) == Unknown("alice", "token-not-in-time")


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_nothing_but_a_value_is_ever_admitted(guesses: list[bytes]) -> None:
    keyring = Keyring([Token("alice", (value(OLD),))], shared=TOKEN)
    assert (admitted(keyring, *guesses) is None) == (
        not {OLD.encode(), TOKEN.encode()} & set(guesses)
    )
