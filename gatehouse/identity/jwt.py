"""JSON Web Tokens (RFC 7519) that another party has signed: access tokens, ID tokens, and what fronts assert.

A token is judged by the rules of RFC 8725: all that needs no key first, so that nothing is fetched for a token that is
no good anyway. joserfc verifies the signature, over the very bytes that were judged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from joserfc.util import urlsafe_b64decode

from gatehouse.identity.clock import clock as unix_time
from gatehouse.identity.jwt_uses import ACCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gatehouse.identity.jwt_uses import Use
    from gatehouse.identity.keys import KeySource
    from gatehouse.identity.public_keys import PublicKey

MAX_TOKEN_BYTES = 8192
"""As much as other servers take in one header field. Tokens have 500 bytes to 2 KiB."""

MAX_HEADER_BYTES = 2048
"""Of the token's header, decoded. Fronts put more into it than a kid, and some a chain of certificates."""

MAX_BRACKETS = 400
"""How many objects and arrays a part may have, nested or not: many roles of many clients, but no deep recursion."""

MAX_DIGITS = 40
"""Of an integer. Reading 6,000 digits takes 0.2 ms."""

MAX_AUDIENCES = 64
"""Of one token. Each resource server that it is for is one."""

MAX_TIME = 1e11
"""The largest time: the year 5138. A larger one counts milliseconds, by mistake, and would never be over."""


class Rules(NamedTuple):
    """The rules for the tokens of one issuer."""

    issuer: str
    audiences: Collection[str]
    algorithms: Collection[str]
    token_type: str = ""
    """The type that its header must say; empty for any that fits the use."""
    leeway: float = 60.0
    """Seconds by which clocks may differ."""
    use: Use = ACCESS


class Verified(NamedTuple):
    """A token that is good, and the thumbprint of the key that signed it."""

    claims: Mapping[str, Any]
    key: str


class Bad(NamedTuple):
    """A token that is no good, or whose key is out of reach: why, in one word.

    `counts` is False if that is no sign of a forger. With `retry_after` seconds, it may be good then.
    """

    reason: str
    counts: bool = True
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class _Signed:
    """A token that is good if its signature is."""

    kid: str | None
    algorithm: str
    claims: dict[str, Any]
    content: bytes
    signature: bytes

    def signer(self, keys: Collection[PublicKey]) -> PublicKey | None:
        """The one of the keys that has signed it."""
        for key in keys:
            if key.verifies(self.algorithm, self.content, self.signature):
                return key
        return None


class Jwts:
    """Judges the tokens of one issuer."""

    def __init__(
        self, rules: Rules, keys: KeySource, *, clock: Callable[[], float] = unix_time
    ) -> None:
        self._rules = rules
        self._audiences = frozenset(rules.audiences)
        self._algorithms = frozenset(rules.algorithms)
        self._type = _type_of(rules.token_type)
        self._keys = keys
        self._clock = clock
        self._header = lru_cache(64)(self._judged_header)  # all tokens of one key begin alike

    async def verify(self, token: bytes) -> Verified | Bad:
        """Judge a token. Only one whose key is not here waits, and not for long."""
        signed = self._read(token)
        if isinstance(signed, Bad):
            return signed
        keys = self._keys.fitting(signed.kid, signed.algorithm)
        now = self._clock()
        if now >= signed.claims["exp"] + self._rules.leeway:
            return self._expired(signed, keys)
        if not keys:
            if self._keys.has_kid(signed.kid):
                return Bad("algorithm")
            keys = await self._keys.look_for(signed.kid, signed.algorithm)
            if not keys:
                return self._without_key(signed, now)
        key = signed.signer(keys)
        return Bad("bad-signature") if key is None else Verified(signed.claims, key.thumbprint)

    def _expired(self, signed: _Signed, keys: Collection[PublicKey]) -> Bad:
        """Every client shows an expired token at each renewal: one whose signature is good is no sign of a forger."""
        if keys and signed.signer(keys) is None:
            return Bad("bad-signature")
        return Bad("expired", counts=not keys and self._keys.are_good)

    def _without_key(self, signed: _Signed, came: float) -> Bad:
        seconds = self._keys.retry_after(signed.kid, came, signed.claims.get("iat"))
        if seconds is None:
            return Bad("key-unknown")
        return Bad("keys-unavailable", counts=False, retry_after=seconds)

    def _read(self, token: bytes) -> _Signed | Bad:
        """Judge all of a token but its signature and whether it has expired."""
        if len(token) > MAX_TOKEN_BYTES:
            return Bad("too-large")
        parts = token.split(b".", 3)
        if len(parts) != 3:
            return Bad("malformed")
        try:
            header = self._header(parts[0])
            if isinstance(header, Bad):
                return header
            claims = _object_in(parts[1], MAX_TOKEN_BYTES)
            signature = urlsafe_b64decode(parts[2])
        except _TooLargeError:
            return Bad("too-large")
        except (ValueError, RecursionError):
            return Bad("malformed")
        if reason := self._fault_of_claims(claims):
            return Bad(reason)
        content = token[: len(token) - len(parts[2]) - 1]
        return _Signed(*header, claims, content, signature)

    def _judged_header(self, part: bytes) -> tuple[str | None, str] | Bad:
        """The kid and the algorithm that a header tells. Raises ValueError or RecursionError."""
        header = _object_in(part, MAX_HEADER_BYTES)
        if reason := self._fault_of_header(header):
            return Bad(reason)
        return header.get("kid"), header["alg"]

    def _fault_of_header(self, header: dict[str, Any]) -> str:
        """Why the header is no good, or nothing. Keys that a token brings, or points to, are never looked at."""
        algorithm, kind = header.get("alg"), header.get("typ", "")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return "algorithm"
        if "crit" in header or "b64" in header:  # RFC 7515 section 4.1.11, RFC 7797
            return "critical"
        if not isinstance(kind, str) or not isinstance(header.get("kid", ""), str):
            return "malformed"
        return "" if self._takes_type(_type_of(kind)) else "type"

    def _takes_type(self, kind: str) -> bool:
        """True for the type that the rules say; else for any that fits the use."""
        return kind == self._type if self._type else self._rules.use.takes_type(kind)

    def _fault_of_claims(self, claims: dict[str, Any]) -> str:
        if claims.get("iss") != self._rules.issuer:
            return "issuer"
        audiences = _audiences(claims.get("aud"))
        if self._audiences.isdisjoint(audiences):
            return "audience"
        return (
            self._fault_of_times(claims)
            or self._fault_of_subject(claims.get("sub"))
            or self._rules.use.fault_in(claims, audiences, self._audiences)
        )

    def _fault_of_times(self, claims: dict[str, Any]) -> str:
        """An expired one has no fault here: whether it counts is found out by its signature."""
        if not _is_time(claims.get("exp")):
            return "malformed"
        latest = self._clock() + self._rules.leeway
        for name in ("nbf", "iat"):
            if name in claims:
                if not _is_time(claims[name]):
                    return "malformed"
                if claims[name] > latest:
                    return "not-yet"
        return ""

    def _fault_of_subject(self, subject: object) -> str:
        if not self._rules.use.needs_subject and (subject is None or subject == ""):
            return ""
        return "" if isinstance(subject, str) and subject else "subject"


def _audiences(aud: object) -> frozenset[str]:
    """The audiences of a token: one, or a list (RFC 7519 section 4.1.3). None of them, if anything else is among them."""
    listed = aud if isinstance(aud, list) else [aud]
    if len(listed) > MAX_AUDIENCES or not all(isinstance(each, str) for each in listed):
        return frozenset()
    return frozenset(listed)


def _type_of(text: str) -> str:
    """A media type as `typ` has it, without what may be left out (RFC 7515 section 4.1.9)."""
    return text.lower().removeprefix("application/")


def _is_time(value: Any) -> bool:
    """True for a NumericDate (RFC 7519 section 2) that makes sense. NaN is not less than anything."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= MAX_TIME


class _TooLargeError(ValueError):
    """A part of a token is too large."""


def _object_in(part: bytes, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a part of a token. Raises ValueError, or RecursionError if it is nested too deep."""
    data = urlsafe_b64decode(part)
    if len(data) > max_bytes:
        raise _TooLargeError
    if data.count(b"{") + data.count(b"[") > MAX_BRACKETS:
        raise ValueError
    members = _DECODER.decode(data.decode())
    if not isinstance(members, dict):
        raise ValueError
    if b"\\u" in data:
        json.dumps(
            members, ensure_ascii=False
        ).encode()  # halves of characters cannot be logged, or hashed
    return members


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Two members of one name could be read in two ways (RFC 8725 section 2.4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _integer(digits: str) -> int:
    """An integer that is not made to take long."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(digits)
    return int(digits)


def _no_number(text: str) -> None:
    """NaN and the infinities are no JSON."""
    raise ValueError(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_int=_integer, parse_constant=_no_number
)
