"""The keys of a JWK Set (RFC 7517 section 5) that the gate verifies signatures with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_KEYS = 64
"""How many keys of a document are looked at. Authorization servers have two to ten; a key takes up to 0.3 ms to read."""

MAX_TRIED = 4
"""How many keys of one kid are tried for a token. A kid names one key, mostly (RFC 7517 section 4.5)."""

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""Shorter keys can be broken (RFC 7518 section 3.3); longer ones take more than 1 ms for each signature."""

MAX_RSA_EXPONENT_BITS = 32
"""The public exponent is 65537, mostly. With one as long as the key, a signature would take a hundred times as long."""

ALGORITHMS = {
    name: JWSRegistry.algorithms[name]
    for kind, sizes in (("RS", (256, 384, 512)), ("PS", (256, 384, 512)), ("ES", (256, 384, 512)))
    for name in (f"{kind}{size}" for size in sizes)
} | dict.fromkeys(("EdDSA", "Ed25519"), JWSRegistry.algorithms["Ed25519"])
"""The algorithms of signatures, by the name in `alg`. EdDSA is an older name of Ed25519 (RFC 9864 section 2.2)."""

_KINDS: dict[str, tuple[type[RSAKey | ECKey | OKPKey], tuple[str, ...]]] = {
    "RSA": (RSAKey, ("kty", "n", "e")),
    "EC": (ECKey, ("kty", "crv", "x", "y")),
    "OKP": (OKPKey, ("kty", "crv", "x")),
}
"""The class and the public members of a key, by its type. Other members are not handed on."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, and the algorithms that a signature of it may have."""

    kid: str | None
    algorithms: frozenset[str]
    thumbprint: str
    """Of the key itself, whatever it is called (RFC 7638)."""
    key: RSAKey | ECKey | OKPKey = field(repr=False, compare=False)

    def verifies(self, algorithm: str, content: bytes, signature: bytes) -> bool:
        """True if this key has signed the content. The algorithm must be one of the key's."""
        return ALGORITHMS[algorithm].verify(content, signature, self.key)


class PublicKeys:
    """Keys of one owner, found by kid and algorithm."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self.all = frozenset(keys)
        self._kids = {key.kid for key in self.all}
        self._thumbprints = {key.thumbprint for key in self.all}
        self._fitting: dict[tuple[str | None, str], tuple[PublicKey, ...]] = {}
        for algorithm in ALGORITHMS:
            fitting = [key for key in self.all if algorithm in key.algorithms]
            for kid in {key.kid for key in fitting if key.kid is not None}:
                named = tuple(key for key in fitting if key.kid == kid)
                self._fitting[kid, algorithm] = named[:MAX_TRIED]
            if len({key.thumbprint for key in fitting}) == 1:
                self._fitting[None, algorithm] = (fitting[0],)

    def __len__(self) -> int:
        return len(self.all)

    def fitting(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed a token with this kid and algorithm; without a kid, the only one that fits."""
        return self._fitting.get((kid, algorithm), ())

    def has_kid(self, kid: str | None) -> bool:
        """True if a key has this kid, whatever its algorithm."""
        return kid is not None and kid in self._kids

    def holds(self, thumbprint: str) -> bool:
        """True if the key with this thumbprint is among them."""
        return thumbprint in self._thumbprints


class UnusableKeyError(ValueError):
    """The gate cannot, or must not, verify with a key. The text completes «2 that are ...», without a word of the key."""


def read_keys(document: Mapping[str, Any]) -> tuple[PublicKeys, Counter[str]]:
    """The usable keys of a JWK Set, and how many others there are, by the reason. Raises nothing, whatever it is."""
    listed = document.get("keys")
    listed = listed if isinstance(listed, list) else []
    keys: list[PublicKey] = []
    unusable: Counter[str] = Counter()
    for each in islice(listed, MAX_KEYS):
        try:
            keys.append(read_key(each))
        except UnusableKeyError as error:
            unusable[str(error)] += 1
        except Exception:  # noqa: BLE001 - joserfc and cryptography raise a dozen kinds, and the next key may be good
            unusable["malformed"] += 1
    if len(listed) > MAX_KEYS:
        unusable[f"beyond the first {MAX_KEYS}"] = len(listed) - MAX_KEYS
    return PublicKeys(keys), unusable


def read_key(jwk: Mapping[str, Any]) -> PublicKey:
    """The key that a JWK says. Raises UnusableKeyError, or whatever joserfc raises for one that is malformed."""
    _check_purpose(jwk)
    kid, kind, own = jwk.get("kid"), jwk["kty"], jwk.get("alg")
    if not isinstance(kid, str | None) or not isinstance(own, str | None):
        raise UnusableKeyError("malformed")
    if kind not in _KINDS:
        raise UnusableKeyError("of an unknown type")
    if kind == "RSA":
        _check_size(jwk)
    of_kind, members = _KINDS[kind]
    key = of_kind.import_key({name: jwk[name] for name in members})
    algorithms = frozenset(name for name in ALGORITHMS if _fits(name, key))
    if not algorithms:
        raise UnusableKeyError("on an unknown curve")
    if own is not None:
        algorithms = frozenset(n for n in algorithms if ALGORITHMS[n] is ALGORITHMS.get(own))
    if not algorithms:
        raise UnusableKeyError("for another algorithm")
    return PublicKey(kid, algorithms, key.thumbprint(), key)


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    """Refuse keys that are not published, and those that are not meant for signatures (RFC 7517 sections 4.2, 4.3)."""
    if jwk.get("kty") == "oct" or "k" in jwk:
        raise UnusableKeyError("symmetric")
    if "d" in jwk:
        raise UnusableKeyError("private")
    if jwk.get("use") == "enc":
        raise UnusableKeyError("for encryption")
    if "key_ops" in jwk and "verify" not in jwk["key_ops"]:
        raise UnusableKeyError("not for verifying")


def _check_size(jwk: Mapping[str, Any]) -> None:
    """Refuse RSA keys that are too short, or that would take long."""
    for name, least, most in (
        ("n", MIN_RSA_BITS, MAX_RSA_BITS),
        ("e", 2, MAX_RSA_EXPONENT_BITS),
    ):
        text = jwk[name]
        if (
            len(text) > MAX_RSA_BITS // 6 + 4
            or not least <= base64_to_int(text).bit_length() <= most
        ):
            raise UnusableKeyError(
                f"RSA keys of fewer than {MIN_RSA_BITS} or more than {MAX_RSA_BITS} bits, or with a long exponent"
            )


def _fits(algorithm: str, key: RSAKey | ECKey | OKPKey) -> bool:
    """True if the algorithm takes keys of this type and curve."""
    try:
        ALGORITHMS[algorithm].check_key(key)
    except JoseError:
        return False
    return True
