"""ID tokens and access tokens: neither does for the other. PyJWT gives a second opinion on ID tokens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt as pyjwt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.identity.jwt import MAX_TOKEN_BYTES, Bad, Jwts, Rules
from gatehouse.identity.jwt_uses import ACCESS, ID
from gatehouse.identity.public_keys import ALGORITHMS, read_keys
from tests.harness.jwts import AUDIENCE, ISSUER, Signer, claims_at, jwks

if TYPE_CHECKING:
    from gatehouse.identity.public_keys import PublicKey, PublicKeys

CLIENT = "the gate: a client"
SIGNER = Signer()
NOW = time.time()


@dataclass
class Held:
    """Keys that are there, and no others."""

    keys: PublicKeys
    are_good = True

    def has_kid(self, kid: str | None) -> bool:
        return self.keys.has_kid(kid)

    def fitting(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        return self.keys.fitting(kid, algorithm)

    async def look_for(self, *_: object) -> tuple[PublicKey, ...]:
        return ()

    def retry_after(self, *_: object) -> None:
        return None


def rules(**changes: Any) -> Rules:
    return Rules(ISSUER, (CLIENT,), tuple(ALGORITHMS), use=ID)._replace(**changes)


def reason(token: bytes, of: Rules, *signers: Signer) -> str:
    """Why the token is no good by these rules; empty if it is."""
    held = Held(read_keys(jwks(*signers or (SIGNER,)))[0])
    verdict = trio.run(Jwts(of, held, clock=lambda: NOW).verify, token)
    return verdict.reason if isinstance(verdict, Bad) else ""


def claims(**changes: Any) -> dict[str, Any]:
    """Those of an ID token."""
    return claims_at(NOW, aud=CLIENT, nonce="n", **changes)


def pyjwt_takes(signer: Signer, token: bytes) -> bool:
    """True if PyJWT takes it as an ID token of ours."""
    public: Any = signer.key.public_key
    try:
        pyjwt.decode(
            token,
            public,
            algorithms=["RS256", "PS256", "ES256", "ES384", "EdDSA"],
            audience=CLIENT,
            issuer=ISSUER,
            leeway=60 + time.time() - NOW,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except pyjwt.PyJWTError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"])
@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", None, ""])
def test_a_good_id_token(algorithm: str, typ: str | None) -> None:
    signer = Signer(algorithm)
    assert reason(signer.sign(claims(), typ=typ), rules(), signer) == ""


def test_pyjwt_takes_the_same_one_and_the_gate_takes_one_that_pyjwt_has_made() -> None:
    assert pyjwt_takes(SIGNER, SIGNER.sign(claims()))
    private: Any = SIGNER.key.private_key
    token = pyjwt.encode(claims(), private, algorithm="ES256", headers={"kid": "one"})
    assert reason(token.encode(), rules()) == ""


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "logout+jwt", "id+jwt", "JOSE", 7])
def test_a_type_that_is_no_id_tokens(typ: object) -> None:
    assert reason(SIGNER.sign(claims(), typ=typ), rules()) in {"type", "malformed"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"aud": AUDIENCE}, "audience"),
    ({"aud": []}, "audience"),
    ({"aud": None}, "audience"),
    ({"aud": CLIENT + " "}, "audience"),
    ({"aud": [CLIENT, 7]}, "audience"),
    ({"aud": [CLIENT, "another"]}, "audience"),
    ({"aud": [CLIENT, "another"], "azp": "another"}, "audience"),
    ({"azp": "another"}, "audience"),
    ({"azp": ""}, "audience"),
    ({"azp": [CLIENT]}, "audience"),
    ({"azp": {"a": 1}}, "audience"),
    ({"iss": "https://as.example.com"}, "issuer"),
    ({"exp": None}, "malformed"),
    ({"exp": True}, "malformed"),
    ({"exp": str(int(NOW) + 300)}, "malformed"),
    ({"exp": int(NOW) - 61}, "expired"),
    ({"iat": None}, "malformed"),
    ({"iat": "now"}, "malformed"),
    ({"iat": int(NOW) + 62}, "not-yet"),
    ({"nbf": int(NOW) + 62}, "not-yet"),
    ({"sub": None}, "subject"),
    ({"sub": ""}, "subject"),
    ({"sub": 7}, "subject"),
    ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "type"),
    ({"token_use": "access"}, "type"),
    ({"typ": "Bearer"}, "type"),
    ({"typ": "Refresh"}, "type"),
    ({"token_type": "access_token"}, "type"),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG)
def test_claims_of_an_id_token_that_is_no_good(changes: dict[str, Any], expected: str) -> None:
    changed = {**claims(), **changes}
    token = SIGNER.sign({name: value for name, value in changed.items() if value is not None})
    assert reason(token, rules()) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT]},
        {"azp": CLIENT},
        {"aud": [CLIENT, "another"], "azp": CLIENT},
        {"token_use": "id"},
        {"typ": "ID"},
        {"at_hash": "x", "c_hash": "y", "auth_time": 1, "amr": ["pwd"], "cnf": {"jkt": "x"}},
    ],
)
def test_claims_of_an_id_token_that_is_good(changes: dict[str, Any]) -> None:
    token = SIGNER.sign({**claims(), **changes})
    assert reason(token, rules()) == ""
    assert pyjwt_takes(SIGNER, token)


def test_clocks_may_differ_by_a_minute() -> None:
    for changes in ({"exp": int(NOW) - 58}, {"iat": int(NOW) + 58}, {"nbf": int(NOW) + 58}):
        assert reason(SIGNER.sign({**claims(), **changes}), rules()) == ""


def test_what_holds_for_all_tokens_holds_for_id_tokens() -> None:
    assert reason(SIGNER.sign(claims(x="x" * MAX_TOKEN_BYTES)), rules()) == "too-large"
    assert reason(SIGNER.sign(claims(), crit=["exp"]), rules()) == "critical"
    assert reason(SIGNER.sign(claims(), alg="none"), rules()) == "algorithm"
    assert reason(SIGNER.sign(claims(), alg="HS256"), rules()) == "algorithm"
    twice = b'{"aud": "%b", "aud": "%b"}' % (CLIENT.encode(), CLIENT.encode())
    assert (
        reason(SIGNER.sign_bytes(b'{"alg": "ES256", "kid": "one"}', twice), rules()) == "malformed"
    )
    mallory = Signer(name="mallory")
    bait = {"jwk": mallory.jwk, "jku": "https://evil.example/"}
    assert reason(mallory.sign(claims(), **bait), rules()) == "bad-signature"


def test_neither_token_does_for_the_other_even_for_one_audience() -> None:
    for_access = rules(use=ACCESS)
    assert reason(SIGNER.sign(claims()), for_access) == "id-token"
    plain = claims()
    del plain["nonce"]
    assert reason(SIGNER.sign(plain, typ="at+jwt"), for_access) == ""
    assert reason(SIGNER.sign(plain, typ="at+jwt"), rules()) == "type"


words = st.sampled_from(
    [CLIENT, "another", "", "ID", "access", None, 7, True, int(NOW) + 99, int(NOW) - 99]
)
names = st.sampled_from(
    ["aud", "azp", "exp", "iat", "nbf", "sub", "iss", "typ", "nonce", "token_use"]
)


@given(st.dictionaries(names, words | st.lists(words, max_size=3), max_size=4))
def test_whatever_is_taken_pyjwt_takes_too(changes: dict[str, Any]) -> None:
    token = SIGNER.sign({**claims(), **changes})
    if reason(token, rules()) == "":
        assert pyjwt_takes(SIGNER, token)
        party = changes.get("azp", CLIENT)
        assert party == CLIENT
