"""Settings of the ways in beside static tokens: access tokens of an authorization server, and signed fronts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from gatehouse.settings.access import AccessSettings
from gatehouse.settings.fronts import FrontSettings
from gatehouse.settings.identity_kinds import (
    DEFAULT_ALGORITHMS,
    Algorithms,
    Audiences,
    Claim,
    ClientId,
    ClientSecret,
    PeopleListed,
    Scopes,
    TokenType,
)
from gatehouse.settings.issuers import AskedUrl, Issuer
from gatehouse.settings.kinds import stripped
from gatehouse.settings.location import LocationSettings


class IdentitySettings(FrontSettings, AccessSettings, LocationSettings, BaseModel):
    """The ways in: static tokens, access tokens and assertions, and the people who may use the last two."""

    auth_issuer: Issuer = None
    """The issuer of an authorization server whose access tokens let in, byte for byte as in its metadata."""

    auth_audience: Audiences = ()
    """The audiences of this gate in access tokens, with spaces between.
    Unset: the URL of the endpoint, with and without / at its end."""

    auth_scopes: Scopes = ()
    """The scopes that every access token needs, with spaces between; clients are told to ask for them."""

    auth_jwks_url: AskedUrl = None
    """The URL of the authorization server's keys. Unset: what its metadata says."""

    auth_algorithms: Algorithms = DEFAULT_ALGORITHMS
    """The algorithms that access tokens may be signed with."""

    auth_token_type: TokenType = ""
    """The type that access tokens must have: at+jwt. Unset: any but an ID token."""

    auth_name_claim: Claim = ""
    """The claim by which the log calls people.
    Unset: email if it is verified, preferred_username, client_id or azp, sub."""

    auth_leeway_seconds: Annotated[float, BeforeValidator(stripped), Field(ge=0, le=300)] = 60
    """How far the clocks of the gate and of whoever signs may differ."""

    auth_keys_stale_seconds: Annotated[
        float, BeforeValidator(stripped), Field(gt=0, le=604_800)
    ] = 86_400
    """How old the last good set of keys may be while no newer one can be had."""

    auth_introspection_url: AskedUrl = None
    """The URL where the authorization server tells whether a token is good that is no JWT."""

    auth_client_id: ClientId = None
    """The client id by which the gate asks AUTH_INTROSPECTION_URL."""

    auth_client_secret: ClientSecret = None
    """The secret of AUTH_CLIENT_ID."""

    auth_introspection_seconds: Annotated[
        float, BeforeValidator(stripped), Field(ge=0, le=3600)
    ] = 60
    """How long a token is good without another question to AUTH_INTROSPECTION_URL."""

    people: PeopleListed = ()
    """The people who may come in, separated by commas: alice, alice@example.com, *@example.com, sub:..., org:..., client:..., *."""

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences by which an access token is for this gate."""
        return self.auth_audience or (self.public_endpoint, f"{self.public_endpoint}/")

    @property
    def has_other_ways_in(self) -> bool:
        """True if others than holders of a static token may come in."""
        return self.auth_issuer is not None or self.front is not None

    @property
    def has_principals(self) -> bool:
        """True if callers can be told apart by their names."""
        return self.tokens_file is not None or self.has_other_ways_in

    @property
    def shows_discovery(self) -> bool:
        """True if clients are told of the authorization server: not behind a front that is one itself."""
        behind_front = self.front is not None and self.front_required
        return self.auth_issuer is not None and not behind_front

    @property
    def makes_token(self) -> bool:
        """True if there is no way in, so that a token is made for this run."""
        return self.mcp_auth_token is None and not self.has_principals
