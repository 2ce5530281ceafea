"""Tokens that others have signed: what is good, what is refused and why, and what each may cost."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import jwt as pyjwt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode
from trio.testing import MockClock, wait_all_tasks_blocked

from gatehouse.http.asked import AskError
from gatehouse.identity.jwt import (
    MAX_AUDIENCES,
    MAX_BRACKETS,
    MAX_HEADER_BYTES,
    MAX_TOKEN_BYTES,
    Bad,
    Jwts,
    Rules,
    Verified,
)
from gatehouse.identity.jwt_uses import ASSERTION
from gatehouse.identity.keys import ASK_SECONDS, REFRESH_SECONDS, FetchedKeys, Keys
from gatehouse.identity.public_keys import ALGORITHMS
from tests.harness.jwts import AUDIENCE, ISSUER, Signer, claims_at, jwks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOON = 1_700_000_000.0
"""The Unix time at which each test begins."""

STALE_SECONDS = 86_400.0

RULES = Rules(
    ISSUER,
    (AUDIENCE, f"{AUDIENCE}/"),
    ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"),
)

GOOD = Signer()
MALLORY = Signer(name="mallory")


class Judge:
    """Tokens judged with the keys of an authorization server that can be changed, and how often it was asked."""

    def __init__(self, *signers: Signer, rules: Rules = RULES) -> None:
        self.answer: object = jwks(*signers or (GOOD,))
        self.fetches = 0
        self.keys = Keys(
            self.fetch,
            stale_seconds=STALE_SECONDS,
            on_change=lambda: None,
            name="the server",
            clock=self.clock,
        )
        self._jwts = Jwts(rules, self.keys, clock=self.clock)

    def clock(self) -> float:
        return NOON + trio.current_time()

    async def fetch(self) -> FetchedKeys:
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return FetchedKeys(self.answer)  # type: ignore[arg-type]

    async def of(self, token: bytes) -> Verified | Bad:
        return await self._jwts.verify(token)

    def claims(self, **changes: object) -> dict[str, Any]:
        return claims_at(self.clock(), **changes)

    async def reason(self, token: bytes) -> str:
        """Why the token is refused at once; empty if it is good."""
        began = trio.current_time()
        verdict = await self.of(token)
        assert trio.current_time() == began
        return verdict.reason if isinstance(verdict, Bad) else ""

    async def reason_of(self, signer: Signer, **changes: object) -> str:
        """The same for a token of this signer with some other claims."""
        return await self.reason(signer.sign(self.claims(**changes)))


@asynccontextmanager
async def judge(*signers: Signer, rules: Rules = RULES) -> AsyncIterator[Judge]:
    """A judge with these signers' keys in store."""
    one = Judge(*signers, rules=rules)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keys.keep)
        await wait_all_tasks_blocked()
        yield one
        nursery.cancel_scope.cancel()


def encoded(part: object) -> bytes:
    return urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode())


@pytest.mark.parametrize("algorithm", RULES.algorithms)
async def test_a_good_token_is_verified_and_its_key_named(
    algorithm: str, autojump_clock: MockClock
) -> None:
    signer = Signer(algorithm)
    async with judge(signer) as the:
        claims = the.claims(scope="mcp:read")
        verdict = await the.of(signer.sign(claims))
        assert verdict == Verified(claims, signer.key.thumbprint())
        assert the.keys.holds(signer.key.thumbprint())


@pytest.mark.parametrize(
    "aud", [AUDIENCE, f"{AUDIENCE}/", [AUDIENCE], ["other", AUDIENCE], ["x"] * 63 + [AUDIENCE]]
)
async def test_an_audience_of_ours_may_stand_alone_or_among_others(
    aud: object, autojump_clock: MockClock
) -> None:
    async with judge() as the:
        assert await the.reason_of(GOOD, aud=aud) == ""


def with_each(reason: str, name: str, *values: object) -> list[tuple[str, dict[str, object]]]:
    """One case for each value of the member with this name."""
    return [(reason, {name: value}) for value in values]


TOO_MANY = [AUDIENCE, *["x"] * MAX_AUDIENCES]
LOGOUT: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        *with_each("issuer", "iss", f"{ISSUER}/", ISSUER.upper(), None, [ISSUER], "", 1),
        *with_each("audience", "aud", None, "", "other", [], {AUDIENCE: 1}, TOO_MANY, True, "*"),
        *with_each("audience", "aud", [AUDIENCE, 1], [[AUDIENCE]], AUDIENCE[:-1], "client"),
        *with_each("audience", "aud", f"{AUDIENCE}//", AUDIENCE.upper()),
        *with_each("subject", "sub", None, "", 1, ["alice"], True, {}),
        *with_each("malformed", "exp", None, True, False, "1e9", "", [], {}, 1e12, -1, 10**30),
        *with_each("malformed", "exp", math.inf, -math.inf, math.nan, 10**50),
        *with_each("malformed", "nbf", "0", True, [0], math.nan, -1),
        *with_each("malformed", "iat", "0", False, {}, math.inf, 1e12),
        *with_each("not-yet", "nbf", NOON + 61),
        *with_each("not-yet", "iat", NOON + 61),
        *with_each("id-token", "nonce", "x", "", 0, [], False),
        *with_each("id-token", "at_hash", "x"),
        *with_each("id-token", "c_hash", "x"),
        *with_each("id-token", "azp", AUDIENCE),
        *with_each("id-token", "client_id", AUDIENCE),
        *with_each("id-token", "token_use", "id", "ID", "refresh"),
        *with_each("id-token", "typ", "ID", "Refresh", "Offline", "Logout"),
        ("id-token", {"aud": [AUDIENCE], "azp": AUDIENCE}),
        ("type", {"events": LOGOUT}),
        ("type", {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
    ],
)
async def test_claims_that_are_refused_though_they_are_well_signed(
    reason: str, changes: dict[str, object], autojump_clock: MockClock
) -> None:
    async with judge() as the:
        assert await the.reason_of(GOOD, **changes) == reason
        unknown = Signer(kid="unknown", name="mallory")
        assert await the.reason_of(unknown, **changes) == reason
        assert the.fetches == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"nbf": NOON + 59},
        {"iat": NOON + 59.5},
        {"iat": None},
        {"exp": NOON - 59},
        {"exp": NOON + 0.5},
        {"exp": 0xFFFF_FFFF},
        {"azp": "client", "client_id": "client", "token_use": "access", "typ": "Bearer"},
        {"aud": [AUDIENCE, "client"], "azp": "client"},
        {"azp": ["x"], "client_id": {"x": 1}},
        {"realm_access": {"roles": ["a"] * 50}, "name": "Zoë ✓ \U0001f600"},
        {f"client {number}": {"roles": []} for number in range(MAX_BRACKETS // 2 - 1)},
    ],
)
async def test_claims_that_are_good(changes: dict[str, object], autojump_clock: MockClock) -> None:
    async with judge() as the:
        assert await the.reason_of(GOOD, **changes) == ""


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        *with_each("algorithm", "alg", "none", "None", "HS256", "RS384", "es256", "", "ES256 "),
        *with_each("algorithm", "alg", None, ["ES256"], {"ES256": 1}, 256, "RS256", "EdDSA"),
        *with_each("critical", "crit", ["x"], [], ["exp"], "exp", ["b64"]),
        *with_each("critical", "b64", False, True),
        ("critical", {"crit": ["b64"], "b64": False}),
        *with_each("type", "typ", "logout+jwt", "secevent+jwt", "dpop+jwt", "x+jwt", "dc+sd-jwt"),
        *with_each("type", "typ", "application/logout+jwt", "LOGOUT+JWT"),
        *with_each("malformed", "typ", 1, ["JWT"], {}),
        *with_each("malformed", "kid", 1, ["one"], {}, True),
        *with_each("too-large", "pad", "x" * MAX_HEADER_BYTES, "x" * MAX_TOKEN_BYTES),
    ],
)
async def test_headers_that_are_refused_though_they_are_well_signed(
    reason: str, header: dict[str, object], autojump_clock: MockClock
) -> None:
    async with judge() as the:
        assert await the.reason(GOOD.sign(the.claims(), **header)) == reason
        assert the.fetches == 1


@pytest.mark.parametrize(
    "header",
    [
        *[
            {"typ": typ}
            for typ in (None, "JWT", "jwt", "at+jwt", "application/at+JWT", "Bearer", "")
        ],
        {"cty": "x", "iat": 1, "x": {"y": [1]}, "alg": "ES256"},
        {"pad": "x" * (MAX_HEADER_BYTES - 100)},
        {"jwk": 7, "jku": 7, "x5u": [], "x5c": "!", "x5t": None},
    ],
)
async def test_headers_that_are_good(header: dict[str, object], autojump_clock: MockClock) -> None:
    async with judge() as the:
        assert await the.reason(GOOD.sign(the.claims(), **header)) == ""


async def test_a_type_may_be_insisted_on(autojump_clock: MockClock) -> None:
    async with judge(rules=RULES._replace(token_type="application/AT+jwt")) as the:
        for typ in ("at+jwt", "application/at+jwt", "At+Jwt"):
            assert await the.reason(GOOD.sign(the.claims(), typ=typ)) == ""
        for other in (None, "JWT", "", "at+jwt ", "id+jwt"):
            assert await the.reason(GOOD.sign(the.claims(), typ=other)) == "type"


async def test_a_front_may_name_nobody_and_tells_who_signed_in(autojump_clock: MockClock) -> None:
    told: tuple[dict[str, object], ...] = (
        {"sub": ""},
        {"sub": None},
        {"nonce": "x"},
        {"typ": "ID", "azp": AUDIENCE},
    )
    async with judge(rules=RULES._replace(use=ASSERTION)) as the:
        for changes in told:
            assert await the.reason_of(GOOD, **changes) == ""
        for _, changes in with_each("subject", "sub", 1, ["alice"], True, {}):
            assert await the.reason_of(GOOD, **changes) == "subject"
        assert await the.reason_of(GOOD, exp=None) == "malformed"


async def test_keys_that_a_token_brings_along_or_points_to_are_not_looked_at(
    autojump_clock: MockClock,
) -> None:
    async with judge() as the:
        bait = {"jwk": MALLORY.jwk, "jku": "https://evil.example/", "x5u": "https://evil.example/"}
        token = MALLORY.sign(the.claims(), **bait, x5c=["MII"])
        assert await the.reason(token) == "bad-signature"
        assert the.fetches == 1


async def test_no_shared_secret_is_made_of_a_public_key(autojump_clock: MockClock) -> None:
    signer = Signer("RS256")
    async with judge(signer, rules=RULES._replace(algorithms=("RS256", "HS256", "none"))) as the:
        content = encoded({"alg": "HS256", "kid": "one"}) + b"." + encoded(the.claims())
        digest = sha256(content).digest()
        for token in (content + b"." + encoded(digest), content + b"."):
            assert isinstance(await the.of(token), Bad)
        content = encoded({"alg": "none"}) + b"." + encoded(the.claims())
        assert isinstance(await the.of(content + b"."), Bad)


async def test_the_key_of_a_kid_must_be_of_the_right_type(autojump_clock: MockClock) -> None:
    async with judge(GOOD, Signer("RS256", "rsa"), Signer("ES384", "large")) as the:
        for algorithm, kid in (
            ("ES256", "rsa"),
            ("RS256", "one"),
            ("ES384", "one"),
            ("EdDSA", "one"),
        ):
            token = Signer(algorithm, kid).sign(the.claims())
            assert await the.reason(token) == "algorithm"
        assert the.fetches == 1


async def test_an_algorithm_that_is_not_in_the_rules_is_refused_though_a_key_fits(
    autojump_clock: MockClock,
) -> None:
    async with judge(Signer("RS256"), rules=RULES._replace(algorithms=("PS256",))) as the:
        assert await the.reason_of(Signer("RS256")) == "algorithm"
        assert await the.reason_of(Signer("PS256")) == ""


async def test_a_token_without_a_kid_is_good_if_exactly_one_key_fits(
    autojump_clock: MockClock,
) -> None:
    nameless = Signer(kid=None)
    async with judge(GOOD, Signer("RS256", "rsa")) as the:
        assert await the.reason_of(nameless) == ""
        assert await the.reason_of(Signer(kid="")) != ""
    async with judge(GOOD, Signer(kid="two", name="other")) as the:
        assert isinstance(await the.of(nameless.sign(the.claims())), Bad)


async def test_each_of_the_keys_with_one_kid_is_tried(autojump_clock: MockClock) -> None:
    other, rsa = Signer(name="other"), Signer("RS256")
    async with judge(other, rsa, GOOD) as the:
        for signer in (GOOD, other, rsa):
            verdict = await the.of(signer.sign(the.claims()))
            assert isinstance(verdict, Verified)
            assert verdict.key == signer.key.thumbprint()
        assert await the.reason_of(MALLORY) == "bad-signature"


async def test_expired_tokens_count_as_failures_only_if_they_are_forged(
    autojump_clock: MockClock,
) -> None:
    async with judge() as the:
        old = the.claims(exp=NOON - 61)
        assert await the.of(GOOD.sign(old)) == Bad("expired", counts=False)
        assert await the.of(MALLORY.sign(old)) == Bad("bad-signature")
        assert await the.of(Signer(kid="unknown").sign(old)) == Bad("expired")
        assert await the.of(GOOD.sign({**old, "aud": "other"})) == Bad("audience")
        assert the.fetches == 1
        assert await the.reason_of(GOOD, exp=NOON - 60) == "expired"
        assert await the.reason_of(GOOD, exp=NOON - 59) == ""
        await trio.sleep(1)
        assert await the.reason_of(GOOD, exp=NOON - 59) == "expired"
    down = Judge()
    assert await down.of(GOOD.sign(old)) == Bad("expired", counts=False)
    assert down.fetches == 0


MALFORMED: tuple[bytes, ...] = (
    b"",
    b".",
    b"..",
    b"...",
    b"a.b.c",
    b"mcpgate_0123456789",
    b"\xff.\xff.\xff",
    b"x" * MAX_TOKEN_BYTES,
    *(
        encoded(header) + b".e30."
        for header in (b"[]", b"1", b'"alg"', b"null", b"", b"{", b"{}x", b"\xef\xbb\xbf{}")
    ),
    encoded(b'{"alg":"ES256","alg":"ES256"}') + b".e30.",
    encoded(b'{"alg":"ES256","\\u0061lg":"none"}') + b".e30.",
    encoded(b"[" * 2000) + b".e30.",
    b"eyJhbGciOiJFUzI1NiJ9=.e30.",
)

PAYLOADS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b'"x"',
    b"null",
    b'{"sub":"alice"}{}',
    b'{"iss":1,"iss":1}',
    b'{"a":{"b":1,"b":2}}',
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b'{"a":' + b"[" * 5000 + b"}",
    b'{"a":[' + b"[]," * MAX_BRACKETS + b"1]}",
    b'{"exp":NaN}',
    b'{"exp":Infinity}',
    b'{"exp":-Infinity}',
    b'{"exp":' + b"9" * 5000 + b"}",
    b'{"number":-' + b"9" * 4000 + b"}",
    b'{"sub":"\\ud800"}',
    b'{"\\udfff":1}',
    b'{"sub":"\xff"}',
    b'{"sub":"a\nb"}',
    '{"sub":"alice"}'.encode("utf-16"),
)


async def test_texts_that_are_no_tokens_are_malformed(autojump_clock: MockClock) -> None:
    async with judge() as the:
        for token in MALFORMED:
            assert await the.reason(token) == "malformed", token
        header = json.dumps({"alg": "ES256", "kid": "one"}).encode()
        for payload in PAYLOADS:
            assert await the.reason(GOOD.sign_bytes(header, payload)) == "malformed", payload
        good = GOOD.sign(the.claims())
        header_part, payload_part, signature = good.split(b".")
        spoilt = [
            *(good + more for more in (b".", b"=", b"\n", b" ", b"!", b"\x00", b".x.y")),
            *(more + good for more in (b" ", b"\n", b".", b"Bearer ")),
            b".".join((header_part, payload_part)),
            b".".join((header_part, payload_part, signature.replace(signature[:1], b"+", 1))),
        ]
        for token in spoilt:
            assert await the.reason(token) == "malformed", token
        assert await the.reason(good + b"A" * MAX_TOKEN_BYTES) == "too-large"
        assert the.fetches == 1


@pytest.mark.parametrize("algorithm", RULES.algorithms)
async def test_signatures_of_another_or_of_no_form_are_refused(
    algorithm: str, autojump_clock: MockClock
) -> None:
    signer = Signer(algorithm)
    async with judge(signer) as the:
        content, _, signature = signer.sign(the.claims()).rpartition(b".")
        size = len(urlsafe_b64decode(signature))
        ones = b"\xff" * size
        for other in (b"", b"x", bytes(size), ones, bytes(size - 1), bytes(size + 1), bytes(600)):
            assert await the.reason(content + b"." + encoded(other)) == "bad-signature"
        forged = Signer(algorithm, name="mallory").sign(the.claims())
        assert await the.reason(forged) == "bad-signature"


async def test_a_key_that_is_taken_out_is_out_and_a_new_one_is_fetched_once(
    autojump_clock: MockClock,
) -> None:
    new = Signer(kid="two", name="new")
    async with judge() as the:
        await trio.sleep(5)
        old = GOOD.sign(the.claims())
        the.answer = jwks(GOOD, new)
        await trio.sleep(1)
        assert isinstance(await the.of(new.sign(the.claims())), Verified)
        assert await the.reason(old) == ""
        assert the.fetches == 2
        the.answer = jwks(new)
        await trio.sleep(ASK_SECONDS)
        assert await the.of(Signer(kid="other").sign(the.claims(iat=int(NOON)))) == Bad(
            "key-unknown"
        )
        assert await the.of(old) == Bad("key-unknown")
        assert await the.reason_of(new) == ""


async def test_a_flood_of_unknown_kids_is_answered_at_once_and_asks_for_one_fetch(
    autojump_clock: MockClock,
) -> None:
    async with judge() as the:
        await trio.sleep(5)
        good = GOOD.sign(the.claims())
        for number in range(500):
            token = MALLORY.sign(the.claims(iat=None), kid=f"{number}")
            # The first one was here before the fetch; the others may have a newer key, for all that is known.
            reason = "keys-unavailable" if number else "key-unknown"
            assert await the.reason(token) == reason
            assert await the.reason(good) == ""
            await trio.sleep(0.01)
        assert the.fetches == 2


async def test_keys_out_of_reach_are_no_fault_of_the_token(autojump_clock: MockClock) -> None:
    async with judge() as the:
        await trio.sleep(100)
        the.answer = AskError("down")
        unknown = Signer(kid="two", name="new")
        assert await the.reason_of(GOOD) == ""
        before = unknown.sign(the.claims(iat=int(NOON) - 1))
        assert await the.of(before) == Bad("key-unknown")
        after = await the.of(unknown.sign(the.claims(iat=int(NOON) + 1)))
        assert after == Bad("keys-unavailable", counts=False, retry_after=ASK_SECONDS)
        await trio.sleep(10)
        nobody_knows = await the.of(unknown.sign(the.claims(iat=None)))
        assert nobody_knows == Bad("keys-unavailable", counts=False, retry_after=ASK_SECONDS - 10)
        await trio.sleep(STALE_SECONDS + REFRESH_SECONDS)
        stale = await the.of(GOOD.sign(the.claims()))
        assert isinstance(stale, Bad)
        assert (stale.reason, stale.counts) == ("keys-unavailable", False)
        assert stale.retry_after
        the.answer = jwks(GOOD)
        await trio.sleep(29)
        assert await the.reason_of(GOOD) == ""


@pytest.mark.parametrize("algorithm", RULES.algorithms)
async def test_another_library_agrees(algorithm: str, autojump_clock: MockClock) -> None:
    signer = Signer(algorithm)
    theirs = "EdDSA" if algorithm == "Ed25519" else algorithm  # PyJWT knows the older name only
    async with judge(signer) as the:
        claims = the.claims()
        private: Any = signer.key.private_key
        token = pyjwt.encode(claims, private, algorithm=theirs, headers={"kid": signer.kid})
        assert await the.reason(token.encode()) == ""
        if theirs == algorithm:
            assert second_opinion(signer, signer.sign(claims)) == claims


def second_opinion(signer: Signer, token: bytes) -> dict[str, Any] | None:
    """The claims, if PyJWT verifies the token; all but the time, which is another one here."""
    options: Any = dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf"), False)
    options["require"] = ["exp", "iss", "aud", "sub"]
    public: Any = signer.key.public_key
    try:
        return pyjwt.decode(
            token,
            public,
            algorithms=[name for name in RULES.algorithms if name != "Ed25519"],
            audience=list(RULES.audiences),
            issuer=ISSUER,
            options=options,
        )
    except pyjwt.PyJWTError:
        return None


def judged(token: bytes, *signers: Signer) -> Verified | Bad:
    """The verdict in a loop of its own, with the keys in store."""
    verdicts = []

    async def check() -> None:
        async with judge(*signers) as the:
            verdicts.append(await the.of(token))

    trio.run(check, clock=MockClock(autojump_threshold=0))
    return verdicts[0]


MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3), st.integers(0, 3)),
    min_size=1,
    max_size=3,
)


@given(st.sampled_from(["RS256", "ES256", "Ed25519"]), MUTATIONS)
def test_no_mutation_of_a_good_token_is_good(
    algorithm: str, mutations: list[tuple[float, bytes, int]]
) -> None:
    signer = Signer(algorithm)
    good = signer.sign(claims_at(NOON))
    token = good
    for place, inserted, removed in mutations:
        at = int(place * len(token))
        token = token[:at] + inserted + token[at + removed :]
    verdict = judged(token, signer)
    assert isinstance(verdict, Verified) == (token == good)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "nonce", "typ", "azp"]),
    VALUES | st.sampled_from([ISSUER, AUDIENCE, [AUDIENCE], NOON, NOON + 99, NOON - 99]),
)
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c"]),
    VALUES | st.sampled_from([*ALGORITHMS, "none", "HS256", "one", "JWT", "at+jwt"]),
)


@given(CLAIMS, HEADERS)
def test_no_claims_and_no_header_raise_anything_and_what_is_good_is_good_for_another_library(
    claims: dict[str, Any], header: dict[str, Any]
) -> None:
    token = GOOD.sign({**claims_at(NOON), **claims}, **header)
    verdict = judged(token, GOOD)
    if isinstance(verdict, Verified):
        assert second_opinion(GOOD, token) == verdict.claims


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=99))
def test_no_bytes_raise_anything(header: bytes, payload: bytes, signature: bytes) -> None:
    assert isinstance(judged(b".".join(map(encoded, (header, payload, signature)))), Bad)
    assert isinstance(judged(b".".join((header, payload, signature))), Bad)
    own = encoded({"alg": "ES256", "kid": "one"}) + b"." + encoded(claims_at(NOON))
    assert isinstance(judged(own + b"." + encoded(signature)), Bad)
