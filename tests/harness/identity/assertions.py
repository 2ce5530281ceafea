"""Assertions that signed fronts add to each request, in the shapes of their own documents, with keys of the tests' own."""

from __future__ import annotations

import time
from typing import Any

from tests.harness.identity.signing import SigningKey, key

TEAM = "kitchen"
CLOUDFLARE_AUD = "32eafc7626e737acf0d1d4b5c9f0e1ab6d5c3f2e1a0b9c8d7e6f504132435465"
SERVICE_TOKEN = "88bf3b6d86161464f6509f7219099e57.access"
IAP_AUD = "/projects/123456789/global/backendServices/987654321"
ROUTE = "gate.example"
"""Pomerium's audience and issuer: the domain of its route."""

CLOUDFLARE_HEADER = "Cf-Access-Jwt-Assertion"
IAP_HEADER = "X-Goog-IAP-JWT-Assertion"
POMERIUM_HEADER = "X-Pomerium-Jwt-Assertion"


def _signed(by: SigningKey, claims: dict[str, Any], changes: dict[str, Any], **header: Any) -> str:
    whole = {**claims, **changes}
    return by.token({name: value for name, value in whole.items() if value is not None}, **header)


def cloudflare(*, by: SigningKey | None = None, **changes: Any) -> str:
    """A person behind Cloudflare Access."""
    now = int(time.time())
    claims = {
        "aud": [CLOUDFLARE_AUD],
        "email": "alice@example.com",
        "exp": now + 3600,
        "iat": now,
        "nbf": now,
        "iss": f"https://{TEAM}.cloudflareaccess.com",
        "type": "app",
        "identity_nonce": "6ei69kawdKzMIAPF",
        "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
        "country": "GB",
    }
    return _signed(by or key("cloudflare"), claims, changes, typ=None)


def cloudflare_service(**changes: Any) -> str:
    """A machine behind Cloudflare Access, with a service token: it has no subject, and no e-mail."""
    machine = {"common_name": SERVICE_TOKEN, "sub": "", "email": None, "nbf": None}
    return cloudflare(**{**machine, "identity_nonce": None, "country": None, **changes})


def iap(*, by: SigningKey | None = None, **changes: Any) -> str:
    """A person behind Google's Identity-Aware Proxy."""
    now = int(time.time())
    claims = {
        "aud": IAP_AUD,
        "azp": IAP_AUD,
        "email": "alice@example.com",
        "exp": now + 600,
        "iat": now,
        "hd": "example.com",
        "google": {"access_levels": ["accessPolicies/1/accessLevels/staff"]},
        "iss": "https://cloud.google.com/iap",
        "sub": "accounts.google.com:104893021",
    }
    return _signed(by or key("iap", "ES256"), claims, changes)


def pomerium(*, by: SigningKey | None = None, **changes: Any) -> str:
    """A person behind Pomerium."""
    now = int(time.time())
    claims = {
        "aud": ROUTE,
        "iss": ROUTE,
        "exp": now + 300,
        "iat": now,
        "jti": "0d4c7f5b-6f6c-4a3e-9c6d-2f1d3f1f2a10",
        "sid": "7e1c1d0c-02c4-4b6a-b5a3-8a9e57fd2b41",
        "sub": "alice-at-the-provider",
        "user": "alice-at-the-provider",
        "email": "alice@example.com",
        "name": "Alice",
        "groups": ["cooks"],
    }
    return _signed(by or key("pomerium", "ES256"), claims, changes)


def own(issuer: str, audience: str, *, by: SigningKey | None = None, **changes: Any) -> str:
    """A person behind any other front that signs."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": issuer,
        "sub": "alice-0001",
        "email": "alice@example.com",
        "iat": now,
        "exp": now + 300,
    }
    return _signed(by or key("own", "EdDSA"), claims, changes)
