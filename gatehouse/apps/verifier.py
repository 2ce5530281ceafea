"""The verifier of the access tokens that the gate has made itself: opened and judged without a question to anybody."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gatehouse.identity.kinds import is_static
from gatehouse.identity.principal import Principal, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection

    from gatehouse.apps.grants import Grants
    from gatehouse.apps.tokens import Tokens
    from gatehouse.http.challenges import Challenges
    from gatehouse.http.request import Request
    from gatehouse.identity.admission import Admission


class AppTokens:
    """Judges access tokens of apps, and all other bearers that are no static tokens: those are no good.

    A token must be for one of the `resources`, the spellings of the endpoint's URL (RFC 8707 section 2).
    """

    takes_url_keys = False

    def __init__(
        self,
        tokens: Tokens,
        grants: Grants,
        admission: Admission,
        challenges: Challenges,
        resources: Collection[str],
    ) -> None:
        self._tokens = tokens
        self._grants = grants
        self._admission = admission
        self._challenges = challenges
        self._resources = frozenset(resources)

    async def verify(self, request: Request) -> Principal | Unknown | None:
        """The principal of the request's access token; None if it has none."""
        for credential in request.credentials or ():
            if credential.kind == "bearer":
                digest = sha256(credential.value).digest()
                if known := self._recalled(digest, request.client):
                    return known
                if is_static(credential, introspects=False):
                    return None
                return self._judge(credential.value, digest, request)
        return None

    def _judge(self, token: bytes, digest: bytes, request: Request) -> Principal | Unknown:
        """Judge a token that is not remembered. One that was ours once does not count as a failure: all clients bring
        them.
        """
        found = self._tokens.read_access(token.decode("latin-1"))
        if found is None:
            return self._unknown("token", counts=True)
        if found.is_over:
            return self._unknown("expired")
        if found.grant.resource not in self._resources:
            return self._unknown("audience")
        if self._grants.has_ended(found.grant):
            return self._unknown("revoked")
        who = self._admission.admit(found.grant.person, digest, found.until)
        if isinstance(who, Principal):
            self._grants.used(found.grant, request.client)
        return who

    def _recalled(self, digest: bytes, address: str) -> Principal | None:
        """The principal of a token that is remembered, if its grant is in force."""
        known = self._admission.recall(digest)
        if known is None or known.subject is None:
            return None
        found = self._grants.of(known.subject.key)
        if found is None:
            return None
        self._grants.used(found.grant, address)
        return known

    def _unknown(self, reason: str, *, counts: bool = False) -> Unknown:
        return Unknown("", reason, self._challenges.bad_token(reason), counts=counts)

    def in_force(self, principal: Principal) -> bool:
        """True if the token and its grant have not ended, and the person may still come in."""
        subject = principal.subject
        if subject is None or subject.kind != "oauth" or not self._admission.holds(subject):
            return False
        return not self._grants.is_over(principal.id, subject.key)
