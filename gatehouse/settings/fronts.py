"""Settings of a front that signs for whom it lets through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from gatehouse.settings.identity_kinds import (
    Algorithms,
    Audiences,
    Claim,
    HeaderName,
    Team,
    given,
)
from gatehouse.settings.issuers import AskedUrl, FrontIssuer, refused_issuer
from gatehouse.settings.kinds import lowered

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = {
    "front_header": "the header field in which the front puts its assertion",
    "front_issuer": "the issuer in the assertions",
    "front_jwks_url": "the URL of the front's keys",
    "front_algorithms": "the algorithms of its signatures, such as ES256",
}
"""The settings that FRONT=jwt needs beside its audience."""

_ROUTE = re.compile(
    r"[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?/?|https?://[^/]+(?:/.*)?", re.IGNORECASE
)
"""A host name, or a URL with one in it."""


class FrontSettings(BaseModel):
    """The front, and how its assertions are known."""

    front: Annotated[
        Literal["cloudflare", "iap", "pomerium", "jwt"] | None, BeforeValidator(lowered)
    ] = None
    """The front whose signed assertions let people in: cloudflare (Access), iap (Google), pomerium, or jwt for any other that signs."""

    front_audience: Audiences = ()
    """The audiences of this gate in the front's assertions, with spaces between; FRONT needs it."""

    front_team: Team = None
    """The name of your Cloudflare team, such as acme."""

    front_header: HeaderName = None
    """The header field of the assertion, for FRONT=jwt."""

    front_issuer: FrontIssuer = None
    """The issuer in the assertions, byte for byte, for FRONT=jwt."""

    front_jwks_url: AskedUrl = None
    """The URL of the front's keys."""

    front_algorithms: Algorithms = ()
    """The algorithms of the front's signatures, for FRONT=jwt."""

    front_name_claim: Claim = ""
    """The claim by which the log calls people, for FRONT=jwt."""

    front_required: bool = True
    """Whether every request to the endpoint needs an assertion of the front."""

    def front_disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings of the front that do not go together: their names, and a sentence."""
        if self.front is None:
            names = [name for name in FrontSettings.model_fields if name != "front"]
            for name in given(self, names):
                yield (
                    {"front", name},
                    (
                        f"{name.upper()}: means nothing without FRONT; set FRONT to cloudflare, iap, pomerium or jwt, or take "
                        f"{name.upper()} away"
                    ),
                )
            return
        if not self.front_audience:
            yield (
                {"front", "front_audience"},
                (
                    f"FRONT_AUDIENCE: is missing, and FRONT={self.front} needs it: the audience that the front's assertions for this "
                    "gate have, since those for another application must not open it"
                ),
            )
        if self.front_issuer and (fault := refused_issuer("FRONT_ISSUER", self.front_issuer)):
            yield {"front_issuer"}, fault
        yield from self._team_disagreements()
        yield from self._kind_disagreements()

    def _team_disagreements(self) -> Iterator[tuple[set[str], str]]:
        if self.front == "cloudflare" and self.front_team is None:
            yield (
                {"front", "front_team"},
                "FRONT_TEAM: is missing, and FRONT=cloudflare needs it: the acme of acme.cloudflareaccess.com",
            )
        if self.front != "cloudflare" and self.front_team is not None:
            yield (
                {"front", "front_team"},
                "FRONT_TEAM: is for FRONT=cloudflare only; take it away, or set that",
            )

    def _kind_disagreements(self) -> Iterator[tuple[set[str], str]]:
        if self.front == "pomerium" and not all(map(_ROUTE.fullmatch, self.front_audience)):
            yield (
                {"front", "front_audience"},
                (
                    "FRONT_AUDIENCE: must be the host name of the route for FRONT=pomerium, such as gate.example.com: it is the audience of "
                    "Pomerium's assertions, and tells where the keys are"
                ),
            )
        for name, what in WANTED.items():
            if self.front == "jwt" and not getattr(self, name):
                yield (
                    {"front", name},
                    f"{name.upper()}: is missing, and FRONT=jwt needs it: {what}",
                )
            elif self.front != "jwt" and name != "front_jwks_url" and getattr(self, name):
                yield (
                    {"front", name},
                    f"{name.upper()}: is for FRONT=jwt; FRONT={self.front} knows its own, so take {name.upper()} away",
                )
