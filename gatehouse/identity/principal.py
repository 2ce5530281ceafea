"""Who a request comes from, and what finds that out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gatehouse.identity.grants import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.credentials import Credential, Lane
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import Rate


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from, by which lane and value, and what that allows.

    `name` is safe to log; it is no part of a token.
    """

    name: str
    lane: Lane = "header"
    digest: bytes = field(default=b"", repr=False)
    grants: Grants = EVERYTHING
    rate: Rate | None = None


class Verifier(Protocol):
    """Turns presented credentials into a principal, or says no with None."""

    def __call__(self, credentials: Iterable[Credential]) -> Principal | None: ...

    @property
    def takes_url_keys(self) -> bool:
        """Whether there is a token that may come in a URL."""

    def why_not(self, credentials: Iterable[Credential]) -> tuple[str, str]:
        """Of credentials that are no good, for the record: whose they are, if anybody's, and why."""

    def in_force(self, principal: Principal) -> bool:
        """Whether what let this principal in still would."""
