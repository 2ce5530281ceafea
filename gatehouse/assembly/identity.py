"""Settings to parts: the ways in, and who may come by them.

A new way in is a verifier in `IdentitySide.verifiers`. Parts of access tokens and of fronts are imported only if
they are used: that takes a while.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.challenges import Challenges
from gatehouse.http.paths import ENDPOINT
from gatehouse.identity.admission import Admission
from gatehouse.identity.kinds import is_static
from gatehouse.identity.people import People
from gatehouse.identity.principal import METRICS_NAME, Principal
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.verifiers import Verifiers
from gatehouse.pages.well_known import METADATA
from gatehouse.policy.failures import Failures
from gatehouse.tokens.keyring import Keyring

if TYPE_CHECKING:
    from gatehouse.identity.grants import Grants
    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.contents import Contents


class IdentitySide:
    """The verifiers of one gate, the people, and the keys of those who sign.

    `contents` are those of the tokens file; `shared_token` is in force beside them.
    """

    def __init__(self, settings: Settings, contents: Contents, shared_token: str) -> None:
        self._settings = settings
        self.failures = Failures(settings.failure_rate)
        """The failures of each address, at the MCP endpoint and at the figures together."""
        self.people = People(settings.people, contents.people)
        self.scopes = Scopes(contents.scopes)
        self.challenges = Challenges(pointer_of(settings), settings.auth_scopes)
        self.keyring = Keyring(
            contents.tokens,
            shared=shared_token,
            query_keys=settings.allow_query_key,
            is_static=partial(is_static, introspects=self.introspects) if self.issuer else None,
        )
        """The static tokens in force."""
        self.verifiers = Verifiers([self.keyring], self.failures.retry_after)
        """Verifiers of the callers of the MCP endpoint."""

    @property
    def issuer(self) -> str:
        """The authorization server whose access tokens are good; empty if there is none."""
        return self._settings.auth_issuer or ""

    @property
    def introspects(self) -> bool:
        """True if the authorization server is asked about opaque tokens."""
        return self._settings.auth_introspection_url is not None

    @property
    def metrics_verifiers(self) -> Verifiers:
        """Verifiers of the readers of the figures: METRICS_TOKEN lets in, but not in a URL."""
        token = self._settings.metrics_token
        value = token.get_secret_value() if token else ""
        return Verifiers(
            [Keyring(shared=value, shared_name=METRICS_NAME, query_keys=False)],
            self.failures.retry_after,
            challenge=refusals.METRICS_CHALLENGE,
        )

    def still(self, principal: Principal) -> Grants | None:
        """The grants that a principal with a subject has now; None if it would not be let in any more."""
        if principal.subject is None:
            return None
        admission = Admission(self.people, self.scopes, self.challenges, self._settings.auth_scopes)
        who = admission.admit(principal.subject, principal.proof, until=0)  # remembers nothing
        return who.grants if isinstance(who, Principal) else None

    def replace(self, contents: Contents) -> None:
        """From now on, these contents of the tokens file are in force."""
        self.keyring.replace(contents.tokens)
        self.scopes.replace(contents.scopes)
        self.people.replace(contents.people)


def pointer_of(settings: Settings) -> str:
    """The URL of the metadata that challenges point to; empty if there is none to find (RFC 9728 section 3.1)."""
    if not settings.shows_discovery:
        return ""
    return settings.public_origin + (METADATA + ENDPOINT).decode()
