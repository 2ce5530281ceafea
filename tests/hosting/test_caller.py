"""The caller that the hosted server is told: one, or nobody."""

from __future__ import annotations

import pytest

from gatehouse.hosting.caller import token_of, told_in

ID = "oauth:" + "0a" * 16
NAME = (b"x-gate-principal", b"oauth:alice@example.com")
KIND = (b"x-gate-kind", b"oauth")
CALLER = (b"x-gate-caller", f"{ID}/0b0c".encode())


def test_libraries_keep_people_apart_by_the_id_and_find_the_name_beside_it() -> None:
    told = told_in({"headers": [(b"host", b"gate"), NAME, KIND, CALLER]})
    assert told is not None
    token = token_of(told)
    assert (token.client_id, token.subject, token.token) == (ID, ID, f"gate-principal:{ID}")
    assert token.scopes == []
    assert token.claims == {"sub": ID, "name": "oauth:alice@example.com", "kind": "oauth"}


@pytest.mark.parametrize("kind", [[], [(b"x-gate-kind", b"token")]])
def test_a_static_token_is_known_by_its_name_alone(kind: list[tuple[bytes, bytes]]) -> None:
    told = told_in({"headers": [(b"x-gate-principal", b"alice"), *kind]})
    assert told is not None
    token = token_of(told)
    assert (token.client_id, token.subject, token.claims) == ("alice", "alice", {"sub": "alice"})


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [KIND],
        [CALLER],
        [KIND, CALLER],
        *([NAME, KIND, CALLER, one] for one in (NAME, KIND, CALLER)),
    ],
)
def test_a_request_that_tells_no_caller_or_one_twice_has_none(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert told_in({"headers": headers}) is None
