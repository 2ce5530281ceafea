"""The principal that a request comes from, and the verifier that finds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gatehouse.identity.grants import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.credentials import Credential, Lane
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import Rate

SHARED_NAME = "default"
"""The name of MCP_AUTH_TOKEN, in the log, in metrics and upstream."""

METRICS_NAME = "metrics"
"""The name of METRICS_TOKEN, in the log."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The token that a request comes with: its name, its lane, its digest, and what it allows.

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
        """True if some token may come in a URL."""

    def why_not(self, credentials: Iterable[Credential]) -> tuple[str, str]:
        """For the record of refused credentials: the name they belong to, if any, and why they fail."""

    def in_force(self, principal: Principal) -> bool:
        """True if the token that let this principal in is still good."""
