"""Keys of the tests' own, and tokens signed with them: right ones, and any that are wrong.

This signs with `cryptography` by hand, for a library that makes tokens refuses to make most of the wrong ones.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

HASHES: dict[str, HashAlgorithm] = {
    "RS256": SHA256(),
    "PS256": SHA256(),
    "ES256": SHA256(),
    "ES384": SHA384(),
}
CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
}


def part(content: bytes | Mapping[str, Any]) -> bytes:
    """A part of a token: base64url without padding (RFC 7515 section 2)."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).rstrip(b"=")


def _number(number: int, length: int) -> str:
    return part(number.to_bytes(length, "big")).decode()


@dataclass(frozen=True, eq=False)
class SigningKey:
    """A key that signs, by its id."""

    kid: str
    alg: str
    private: Private

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half, as a server lists it (RFC 7517)."""
        more = {"kid": self.kid, "alg": self.alg, "use": "sig"}
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            length = (self.private.key_size + 7) // 8
            return {
                "kty": "RSA",
                "n": _number(numbers.n, length),
                "e": _number(numbers.e, 3),
                **more,
            }
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            name = "P-384" if self.alg == "ES384" else "P-256"
            size = CURVES[name][1]
            place = {"x": _number(point.x, size), "y": _number(point.y, size)}
            return {"kty": "EC", "crv": name, **place, **more}
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": part(raw).decode(), **more}

    @property
    def private_jwk(self) -> dict[str, Any]:
        """An RSA key with its secret half, which no server should list."""
        assert isinstance(self.private, rsa.RSAPrivateKey)
        secret = self.private.private_numbers()
        length = (self.private.key_size + 7) // 8
        names = {"d": secret.d, "p": secret.p, "q": secret.q, "dp": secret.dmp1, "dq": secret.dmq1}
        halves = {name: _number(number, length) for name, number in names.items()}
        return {**self.jwk, **halves, "qi": _number(secret.iqmp, length)}

    @property
    def pem(self) -> bytes:
        """Its public half as text: the secret that a confused verifier would take for HS256."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """The signature over these bytes (RFC 7518 section 3, RFC 8037)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = CURVES["P-384" if self.alg == "ES384" else "P-256"][1]
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(HASHES[self.alg])))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.alg == "PS256":
            salted = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
            return self.private.sign(data, salted, SHA256())
        return self.private.sign(data, padding.PKCS1v15(), SHA256())

    def token(self, claims: Mapping[str, Any] | bytes, **header: Any) -> str:
        """A token with these claims; `header` adds to its header, and a None takes out."""
        whole = {"alg": self.alg, "kid": self.kid, "typ": "JWT", **header}
        given = {name: value for name, value in whole.items() if value is not None}
        data = part(given) + b"." + part(claims)
        return (data + b"." + part(self.sign(data))).decode()


@cache
def key(kid: str = "k1", alg: str = "RS256", bits: int = 2048) -> SigningKey:
    """The key of that name, made when it is first asked for."""
    if alg in {"RS256", "PS256"}:
        return SigningKey(kid, alg, rsa.generate_private_key(65537, bits))
    if alg in {"ES256", "ES384"}:
        name = "P-384" if alg == "ES384" else "P-256"
        return SigningKey(kid, alg, ec.generate_private_key(CURVES[name][0]))
    return SigningKey(kid, alg, ed25519.Ed25519PrivateKey.generate())
