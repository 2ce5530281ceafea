"""The one that a request comes from: a principal, or somebody unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.identity.grants import EVERYTHING

if TYPE_CHECKING:
    from gatehouse.http.credentials import Lane
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import RateOrOff

SHARED_NAME = "default"
"""The name of MCP_AUTH_TOKEN, in the log, in metrics and upstream."""

OPEN = "open"
"""The lane of a request that needs no token, and has no principal."""

METRICS_NAME = "metrics"
"""The name of METRICS_TOKEN, in the log."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The one that a verifier lets in, and what they may do.

    `id` is what sessions and rates go by; `name` is safe to log. Neither is part of a secret. A static
    token's id is its name.
    """

    id: str
    name: str
    lane: Lane = "header"
    proof: bytes = field(default=b"", repr=False)
    """The verifier's own mark of the credential: by it, `in_force` finds out whether it is still good."""
    grants: Grants = EVERYTHING
    rate: RateOrOff | None = None
    """None is the rate of all."""


def is_token(name: str) -> bool:
    """True if a principal of that name, or id, is a static token: no other name is without a colon."""
    return ":" not in name


class Unknown(NamedTuple):
    """Nobody whom the gate lets in: whose credential it was, if that is known, and why it is no good.

    Both are for records only: the client is told neither.
    """

    name: str
    reason: str


NO_CREDENTIAL = Unknown("", "no-token")
WRONG_CREDENTIAL = Unknown("", "token")
