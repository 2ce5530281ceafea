"""The verifier of access tokens: the gate as a resource server of OAuth 2.1 (RFC 6750, RFC 9068, RFC 7662).

Only `Authorization: Bearer` may hold one (MCP, authorization, «Access Token Usage»). A signed token is checked here,
and an opaque one is asked about at the authorization server, if the settings say how.
"""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from gatehouse.http.challenges import unavailable
from gatehouse.identity.jwt import Bad
from gatehouse.identity.kinds import is_jwt, is_static
from gatehouse.identity.principal import Unknown
from gatehouse.identity.subject import subject_of

if TYPE_CHECKING:
    from gatehouse.http.challenges import Challenges
    from gatehouse.http.request import Request
    from gatehouse.identity.admission import Admission
    from gatehouse.identity.introspection import Introspection
    from gatehouse.identity.jwt import Jwts, Verified
    from gatehouse.identity.keys import Keys
    from gatehouse.identity.principal import Principal


class AccessTokens:
    """Judges access tokens of one issuer.

    `introspection` is None if there are no opaque ones. `name_claim` is the claim that names a person in logs.
    """

    takes_url_keys = False

    def __init__(
        self,
        jwts: Jwts,
        keys: Keys,
        introspection: Introspection | None,
        *,
        admission: Admission,
        challenges: Challenges,
        issuer: str,
        name_claim: str,
        leeway: float,
    ) -> None:
        self._jwts = jwts
        self._keys = keys
        self._introspection = introspection
        self._admission = admission
        self._challenges = challenges
        self._issuer = issuer
        self._name_claim = name_claim
        self._leeway = leeway

    async def verify(self, request: Request) -> Principal | Unknown | None:
        """The principal of the request's access token; None if it has none."""
        for credential in request.credentials or ():
            if credential.kind == "bearer":
                digest = sha256(credential.value).digest()
                if known := self._admission.recall(digest):
                    return known
                if is_static(credential, introspects=self._introspection is not None):
                    return None
                return await self._find_out(credential.value, digest, request.client)
        return None

    async def _find_out(self, token: bytes, digest: bytes, client: str) -> Principal | Unknown:
        """Judge a token that is not remembered."""
        verdict: Verified | Bad
        if self._introspection is None or is_jwt(token):
            verdict = await self._jwts.verify(token)
            until = self._keys.good_until
        else:
            verdict = await self._introspection.verify(token, client)
            until = self._introspection.good_until(digest)
        if isinstance(verdict, Bad):
            return self._unknown(verdict)
        subject = subject_of(
            "oauth",
            verdict.claims,
            issuer=self._issuer,
            expires=verdict.claims.get("exp", inf) + self._leeway,
            key=verdict.key,
            name_claim=self._name_claim,
        )
        return self._admission.admit(subject, digest, until)

    def _unknown(self, bad: Bad) -> Unknown:
        if bad.retry_after is not None:
            return Unknown("", bad.reason, unavailable(bad.retry_after, bad.reason), counts=False)
        return Unknown("", bad.reason, self._challenges.bad_token(bad.reason), counts=bad.counts)

    def in_force(self, principal: Principal) -> bool:
        """True if the token has not ended or been turned down, its key is in use, and the person may still come in."""
        subject = principal.subject
        if subject is None or subject.kind != "oauth" or not self._admission.holds(subject):
            return False
        if subject.key or self._introspection is None:
            return self._keys.holds(subject.key)
        return self._introspection.holds(principal.proof)
