"""The one that a request comes from: a principal, or somebody unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from gatehouse.identity.grants import EVERYTHING

if TYPE_CHECKING:
    from gatehouse.http.credentials import Lane
    from gatehouse.http.reply import Reply
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import RateOrOff
    from gatehouse.identity.subject import Subject

PrincipalKind = Literal["token", "oauth", "front", "person", "gate"]
"""The kinds of principals: by a static token, by an access token of an authorization server, through a front, by
a session in a browser, which opens the dashboard and nothing else, and the gate itself, where it asks the server."""

SHARED_NAME = "default"
"""The name of MCP_AUTH_TOKEN, in the log, in metrics and upstream."""

OPEN = "open"
"""The lane of a request that needs no token, and has no principal."""

METRICS_NAME = "metrics"
"""The name of METRICS_TOKEN, in the log."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The one that a verifier lets in, and what they may do.

    `id` is what sessions, rates and places go by; `name` is for people, and safe to log. Neither is part of a
    secret. A static token's id is its name, and has no colon; all others have one (`Subject`).
    """

    id: str
    name: str
    lane: Lane = "header"
    proof: bytes = field(default=b"", repr=False)
    """The verifier's own mark of the credential: by it, `in_force` finds out whether it is still good."""
    grants: Grants = EVERYTHING
    rate: RateOrOff | None = None
    """None is the rate of all."""
    kind: PrincipalKind = "token"
    subject: Subject | None = None
    """The facts of the access token or the assertion; None for a static token."""


GATE = Principal("gate:itself", "gate:dashboard", kind="gate")
"""The gate itself, when it asks the server for the dashboard: like a token without lists, it sees everything there."""


def is_token(name: str) -> bool:
    """True if a principal of that name, or id, is a static token: no other name is without a colon."""
    return ":" not in name


class Unknown(NamedTuple):
    """Nobody whom the gate lets in: whose credential it was, if that is known, and why it is no good.

    Both are for records only: the client is told neither.
    """

    name: str
    reason: str
    reply: Reply | None = None
    """The answer; None is the challenge to a static token that is no good."""
    counts: bool = True
    """True if it counts as a failure of its address: too many of these are answered with 429."""
    ends: bool = False
    """True if no other credential can make up for it."""

    @property
    def weight(self) -> int:
        """The status by which one of several answers is chosen: nobody can tell (503), known (403), unknown (401)."""
        return self.reply.status if self.reply else 401


NO_CREDENTIAL = Unknown("", "no-token", counts=False)
WRONG_CREDENTIAL = Unknown("", "token")
