"""The kind of a credential: static secrets and access tokens are told apart by their shape, whatever they hold."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.credentials import Credential, CredentialKind
from gatehouse.identity.kinds import is_jwt, is_static
from tests.harness.program import TOKEN
from tests.harness.records import VALUE


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


JWT = f"{part({'alg': 'RS256', 'kid': 'a'})}.{part({'iss': 'https://a.example'})}.c2lnbmF0dXJl"

NO_JWTS = [
    TOKEN,
    VALUE,
    f"{VALUE}.{JWT}",
    f"hf_{'x' * 34}",
    f"hf_oauth_{JWT}",
    "a.b.c",
    JWT + ".more.parts",
    JWT.partition(".")[2],
    JWT.replace(".", "..", 1),
    f"{part({'typ': 'JWT'})}.a.b",
    f"{part(['alg'])}.a.b",
    f"{part('alg')}.a.b",
    f"{part(b'not JSON: alg')}.a.b",
    f"{part(json.dumps({'alg': 'RS256'}).encode('utf-16'))}.a.b",
    f"{part(b'[' * 5000)}.a.b",
    f"{part({'alg': 'RS256'})}=.a.b",
    f"{part({'alg': 'RS256'})}!.a.b",
    f"{part({'alg': 'RS256'})}.a+b.c",
]


def bearer(value: str) -> Credential:
    return Credential("bearer", value.encode())


def test_a_bearer_that_is_no_signed_token_is_static_unless_a_server_is_asked() -> None:
    for value in NO_JWTS:
        ours = value.startswith(("mcpgate_", "hf_"))
        assert is_static(bearer(value), introspects=False), value
        assert is_static(bearer(value), introspects=True) is ours, value


def test_a_sealed_token_is_oauths_even_if_nothing_in_it_is_right() -> None:
    for value in (
        f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..a.b.c",
        f"{part({'alg': 1, 'enc': 2})}.a.b.c.d",
    ):
        for introspects in (True, False):
            assert not is_static(bearer(value), introspects=introspects), value
    for value in (
        f"{part({'alg': 'dir'})}..a.b.c",
        f"{part({'alg': 'dir', 'enc': 'A256GCM'})}.a.b",
    ):
        assert is_static(bearer(value), introspects=False) is (value.count(".") == 4), value


def test_a_signed_token_is_oauths_even_if_nothing_in_it_is_right() -> None:
    for value in (JWT, f"{part({'alg': 'none'})}.{part({})}.", f"{part({'alg': 1})}.e30.a"):
        for introspects in (False, True):
            assert not is_static(bearer(value), introspects=introspects), value


@pytest.mark.parametrize("kind", ["api-key", "url-key"])
def test_outside_authorization_every_credential_is_static(kind: CredentialKind) -> None:
    for value in (JWT, VALUE, TOKEN):
        assert is_static(Credential(kind, value.encode()), introspects=True)


@given(st.binary(max_size=60) | st.from_regex(rb"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_no_bytes_make_the_question_fail(value: bytes) -> None:
    assert is_jwt(value) in {True, False}
