"""Keys of a JWK Set: which ones the gate verifies with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey
from joserfc.util import urlsafe_b64decode

from gatehouse.identity.public_keys import (
    ALGORITHMS,
    MAX_KEYS,
    MAX_TRIED,
    read_keys,
)
from gatehouse.settings import identity_kinds
from tests.harness.jwts import Signer, jwks

if TYPE_CHECKING:
    from collections.abc import Callable

RSA, EC, ED = Signer("RS256"), Signer("ES256"), Signer("Ed25519")


def without(jwk: dict[str, Any], name: str) -> dict[str, Any]:
    return {member: value for member, value in jwk.items() if member != name}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_verifies_what_its_owner_signed_and_nothing_else(algorithm: str) -> None:
    signer = Signer(algorithm)
    token = signer.sign({"iss": "x"})
    content, _, encoded = token.rpartition(b".")
    keys, unusable = read_keys(jwks(signer))
    assert not unusable
    (key,) = keys.fitting("one", algorithm)
    assert key.thumbprint == signer.key.thumbprint()
    signature = urlsafe_b64decode(encoded)
    assert key.verifies(algorithm, content, signature)
    assert not key.verifies(algorithm, content + b"x", signature)
    for other in (b"", bytes(len(signature)), signature[:-1], signature + b"x", signature[::-1]):
        assert not key.verifies(algorithm, content, other)


@pytest.mark.parametrize(
    ("signer", "algorithms"),
    [
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (EC, {"ES256"}),
        (Signer("ES384"), {"ES384"}),
        (Signer("ES512"), {"ES512"}),
        (ED, {"EdDSA", "Ed25519"}),
    ],
)
def test_a_key_fits_the_algorithms_of_its_type_and_curve(
    signer: Signer, algorithms: set[str]
) -> None:
    keys, _ = read_keys(jwks(signer))
    assert {name for name in ALGORITHMS if keys.fitting("one", name)} == algorithms


@pytest.mark.parametrize(
    ("own", "algorithms"),
    [("RS256", {"RS256"}), ("PS512", {"PS512"}), ("EdDSA", {"EdDSA", "Ed25519"})],
)
def test_a_key_with_an_algorithm_of_its_own_fits_no_other(own: str, algorithms: set[str]) -> None:
    jwk = {**(ED if own == "EdDSA" else RSA).jwk, "alg": own}
    keys, _ = read_keys({"keys": [jwk]})
    assert {name for name in ALGORITHMS if keys.fitting("one", name)} == algorithms


def test_the_settings_take_the_algorithms_that_can_be_verified() -> None:
    assert {*identity_kinds.ALGORITHMS} == {*ALGORITHMS}


UNUSABLE: dict[str, Callable[[], list[Any]]] = {
    "for encryption": lambda: [{**RSA.jwk, "use": "enc"}],
    "not for verifying": lambda: [{**EC.jwk, "key_ops": ["sign"]}, {**EC.jwk, "key_ops": []}],
    "for another algorithm": lambda: [
        {**RSA.jwk, "alg": "RSA-OAEP"},
        {**RSA.jwk, "alg": "ES256"},
        {**RSA.jwk, "alg": "HS256"},
        {**RSA.jwk, "alg": "none"},
        {**ED.jwk, "alg": "RS256"},
    ],
    "symmetric": lambda: [
        {**OctKey.generate_key(256).as_dict(private=True), "kid": "one"},
        {"kty": "oct"},
        {**RSA.jwk, "k": "c2VjcmV0"},
    ],
    "private": lambda: [{**EC.key.as_dict(private=True), "kid": "one"}],
    "of an unknown type": lambda: [{"kty": "AKP", "kid": "one"}, {**EC.jwk, "kty": "ec"}],
    "on an unknown curve": lambda: [
        OKPKey.generate_key("X25519").as_dict(private=False),
        OKPKey.generate_key("Ed448").as_dict(private=False),
        ECKey.generate_key("secp256k1").as_dict(private=False),
    ],
    "RSA": lambda: [
        {**RSA.jwk, "n": RSA.jwk["n"][:200]},
        {**RSA.jwk, "n": RSA.jwk["n"] * 5},
        {**RSA.jwk, "n": "w" * 200_000},
        {**RSA.jwk, "e": RSA.jwk["n"]},
        {**RSA.jwk, "e": "AQ"},
    ],
    "malformed": lambda: [
        {**EC.jwk, "y": EC.jwk["x"]},
        {**EC.jwk, "crv": "P-999"},
        {**EC.jwk, "crv": 256},
        {**EC.jwk, "x": ""},
        {**EC.jwk, "kid": 1},
        {**EC.jwk, "alg": ["ES256"]},
        {**EC.jwk, "key_ops": None},
        {**EC.jwk, "kty": ["EC"]},
        without(EC.jwk, "kty"),
        without(EC.jwk, "x"),
        without(RSA.jwk, "n"),
        {**RSA.jwk, "n": "!"},
        {**RSA.jwk, "n": "\ud800"},
        {**ED.jwk, "x": ED.jwk["x"][:-2]},
        {},
        [],
        None,
        "key",
    ],
}
"""By the beginning of the words. They are made when a test wants them: RSA keys take a while."""


@pytest.mark.parametrize("words", UNUSABLE)
def test_unusable_keys_are_left_out_and_told_by_kind_while_the_others_serve(words: str) -> None:
    for jwk in UNUSABLE[words]():
        keys, unusable = read_keys({"keys": [jwk, Signer("ES256", "good").jwk]})
        (kind,) = unusable
        assert kind.startswith(words), jwk
        assert len(keys) == 1
        assert keys.fitting("good", "ES256")


def test_certificates_and_members_that_nobody_knows_spoil_no_key() -> None:
    more = {"x5c": ["!"], "x5u": 7, "x5t": None, "issuer": "x", "key_ops": ["verify"], "ext": True}
    keys, unusable = read_keys({"keys": [{**RSA.jwk, **more}]})
    assert keys.fitting("one", "RS256")
    assert not unusable


def test_a_token_without_a_kid_has_a_key_only_if_exactly_one_fits() -> None:
    two = Signer("ES256", "two", name="other")
    keys, _ = read_keys(jwks(RSA, EC))
    assert [key.kid for key in keys.fitting(None, "ES256")] == ["one"]
    keys, _ = read_keys(jwks(RSA, EC, two))
    assert keys.fitting(None, "ES256") == ()
    assert keys.fitting(None, "RS256")
    keys, _ = read_keys(jwks(Signer(kid=None)))
    assert keys.fitting(None, "ES256")
    assert keys.fitting("one", "ES256") == ()


def test_keys_of_one_kid_are_tried_up_to_a_bound() -> None:
    some = [ECKey.generate_key().as_dict(private=False, kid="one") for _ in range(MAX_TRIED + 2)]
    keys, _ = read_keys({"keys": [*some, RSA.jwk]})
    assert len(keys.fitting("one", "ES256")) == MAX_TRIED
    assert len(keys.fitting("one", "RS256")) == 1


def test_a_document_with_too_many_keys_is_not_read_to_its_end() -> None:
    keys, unusable = read_keys({"keys": [*[{"kty": "x"}] * MAX_KEYS, EC.jwk]})
    assert len(keys) == 0
    assert unusable == {"of an unknown type": MAX_KEYS, f"beyond the first {MAX_KEYS}": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MEMBERS = ("kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "d", "k")
SPOILT = st.tuples(
    st.sampled_from([RSA, EC, ED]), st.dictionaries(st.sampled_from(MEMBERS), JSON)
).map(lambda pair: {**pair[0].jwk, **pair[1]})


@given(st.lists(SPOILT | JSON, max_size=4) | JSON, JSON)
def test_no_document_raises_anything(keys: object, other: object) -> None:
    found, unusable = read_keys({"keys": keys, "other": other})
    listed = len(keys) if isinstance(keys, list) else 0
    assert len(found) <= listed
    assert unusable.total() <= listed
