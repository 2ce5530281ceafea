"""Signers of tokens, and sets of their keys. Each key is made once in a process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

ISSUER = "https://as.example.com/realms/one"
AUDIENCE = "https://gate.example.com/mcp"

KINDS = {"RS": "RSA", "PS": "RSA", "Ed": "Ed25519", "ES": ""}
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@dataclass(frozen=True)
class Signer:
    """Somebody with a key of their own. Signers of the same name have the same key."""

    algorithm: str = "ES256"
    kid: str | None = "one"
    name: str = "as"

    @property
    def key(self) -> RSAKey | ECKey | OKPKey:
        """The private key."""
        return private_key(self.name, KINDS[self.algorithm[:2]] or CURVES[self.algorithm])

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as an authorization server publishes it."""
        named = {} if self.kid is None else {"kid": self.kid}
        return {**self.key.as_dict(private=False), **named, "use": "sig"}

    def sign(self, claims: object, **header: object) -> bytes:
        """A token with these claims. A member of the header that is None is left out."""
        members = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        kept = {name: value for name, value in members.items() if value is not None}
        return self.sign_bytes(json.dumps(kept).encode(), json.dumps(claims).encode())

    def sign_bytes(self, header: bytes, payload: bytes) -> bytes:
        """A token of these bytes, whatever they are, signed with the signer's algorithm."""
        content = urlsafe_b64encode(header) + b"." + urlsafe_b64encode(payload)
        name = "Ed25519" if self.algorithm == "EdDSA" else self.algorithm
        signature = JWSRegistry.algorithms[name].sign(content, self.key)
        return content + b"." + urlsafe_b64encode(signature)


@cache
def private_key(name: str, kind: str) -> RSAKey | ECKey | OKPKey:
    """The key of the signer with this name: RSA, or of a curve."""
    del name  # it only tells keys apart
    if kind == "RSA":
        return RSAKey.generate_key(2048)
    return OKPKey.generate_key() if kind == "Ed25519" else ECKey.generate_key(kind)


def jwks(*signers: Signer) -> dict[str, Any]:
    """The set of their public keys."""
    return {"keys": [signer.jwk for signer in signers]}


def claims_at(now: float, **changes: object) -> dict[str, Any]:
    """The claims of a good access token that was issued now. A claim that is None is left out."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": int(now),
        "exp": int(now) + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}
