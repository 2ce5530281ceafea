"""Codes and tokens of apps: short enough for a header field, and nothing else than what the gate has made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.client import Client
from gatehouse.apps.grant import REFRESH_SECONDS
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.apps.tokens import ACCESS_SECONDS, MAX_GENERATION, Tokens
from gatehouse.identity.subject import Subject
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer

if TYPE_CHECKING:
    from gatehouse.apps.grant import Grant

SECRET = b"a secret of the tests, long enough"
ISSUER = "https://issuer.example"
RESOURCE = "https://somebody-some-gate.hf.space/mcp"
ALICE = Subject("person", ISSUER, "alice-1", shown="person:alice", username="alice")
WIDE = "\U0001f600" * 255
ORGS = frozenset(f"{number:0100}" for number in range(100))
WANTED = f"{99:0100}"
NOW = 1_800_000_000.0

MAX_TOKEN_LENGTH = 2560
"""How long a token may be, for its person: programs on the way take 4 or 8 KiB for a field."""


def now() -> float:
    return NOW


def sealer_of(purpose: str, seconds: float) -> Sealer:
    return Sealer(SECRET, purpose, max_seconds=seconds, clock=now)


TOKENS = Tokens(sealer_of, ISSUER, orgs=lambda: [WANTED], clock=now)
GRANTS = Grants(Ended(None, ENDED_GRANTS, clock=now), None, lambda: None, clock=now)


def grant_of(person: Subject) -> Grant:
    client = Client("client", "Claude Code", ())
    return GRANTS.new(person, client, to="this computer", scopes=("read",), resource=RESOURCE)


GRANT = grant_of(ALICE)
READERS = {
    "code": (TOKENS.code(GRANT, redirect_uri="cursor://x/", challenge="c" * 43), TOKENS.read_code),
    "refresh": (TOKENS.refresh(GRANT, 1), TOKENS.read_refresh),
    "access": (TOKENS.access(GRANT)[0], TOKENS.read_access),
}


@pytest.mark.parametrize(
    "person",
    [
        replace(ALICE, sub="s" * 255, email="e" * 255, orgs=ORGS),
        replace(ALICE, orgs=ORGS | {f"org-{number}" for number in range(99)}),
        replace(ALICE, sub=WIDE, email=WIDE, username=WIDE, orgs=frozenset([WIDE])),
    ],
)
def test_whatever_is_known_of_a_person_their_tokens_are_short_enough(person: Subject) -> None:
    grant = grant_of(person)
    access, seconds = TOKENS.access(grant)
    assert seconds == ACCESS_SECONDS
    assert len(access) <= MAX_TOKEN_LENGTH
    assert len(TOKENS.refresh(grant, MAX_GENERATION)) <= MAX_TOKEN_LENGTH
    found = TOKENS.read_access(access)
    assert found is not None
    assert (found.grant.person.id, found.grant.id) == (grant.person.id, grant.id)
    assert found.grant.person.orgs <= person.orgs, "without one, they are on fewer lists"
    assert (WANTED in found.grant.person.orgs) is (WANTED in person.orgs), "a list names it"


@pytest.mark.parametrize("purpose", READERS)
def test_each_opens_for_its_own_purpose_alone(purpose: str) -> None:
    text = READERS[purpose][0]
    assert [name for name, (_, read) in READERS.items() if read(text)] == [purpose]


@pytest.mark.parametrize("purpose", READERS)
def test_none_opens_that_is_cut_or_changed_in_one_bit(purpose: str) -> None:
    text = READERS[purpose][0]
    for at, character in enumerate(text):
        changed = [chr(ord(character) ^ 1 << bit) for bit in range(7)]
        for middle in ("", *changed):
            wrong = text[:at] + middle + text[at + 1 :]
            assert not any(read(wrong) for _, read in READERS.values())
        assert not any(read(text[:at]) for _, read in READERS.values())


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=40)
    | st.lists(st.text(), max_size=3)
)
MEMBERS = ["s", "n", "e", "u", "o", "g", "c", "a", "t", "r", "sc", "ru", "ch", "ge"]


@given(st.sampled_from([*READERS]), st.dictionaries(st.sampled_from(MEMBERS), JSON))
def test_what_a_gate_of_another_release_has_sealed_is_read_or_is_none(
    purpose: str, changes: dict[str, object]
) -> None:
    text, read = READERS[purpose]
    sealer = sealer_of(purpose, REFRESH_SECONDS)
    sealed = sealer.open(text)
    assert sealed is not None
    found = read(sealer.seal(sealed | changes, NOW + 1))
    assert found is None or isinstance(found.grant.person.sub, str)


@pytest.mark.parametrize("generation", [0, -1, True, 1.0, "1", None, MAX_GENERATION + 1])
def test_only_a_refresh_token_of_a_grants_chain_is_one(generation: object) -> None:
    sealer = sealer_of("refresh", REFRESH_SECONDS)
    sealed = sealer.open(READERS["refresh"][0])
    assert sealed is not None
    assert TOKENS.read_refresh(sealer.seal(sealed | {"ge": generation}, NOW + 1)) is None
