"""Settings of a front that signs for whom it lets through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from gatehouse.settings.identity_kinds import Algorithms, Audiences, Claim, HeaderName, Team
from gatehouse.settings.issuers import AskedUrl, FrontIssuer
from gatehouse.settings.kinds import lowered


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
