"""Settings of the ways in beside static tokens: access tokens of an authorization server, and signed fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field

from gatehouse.http.address import is_loopback
from gatehouse.http.challenges import NEVER_ASKED
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
    given,
)
from gatehouse.settings.issuers import AskedUrl, Issuer, is_open, open_issuer, refused_issuer
from gatehouse.settings.kinds import stripped
from gatehouse.settings.location import LocationSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

INTROSPECTION = ("auth_introspection_url", "auth_client_id", "auth_client_secret")
"""The settings that come together, or not at all."""

OF_BOTH = ("auth_leeway_seconds", "auth_keys_stale_seconds")
"""The settings that hold for whoever signs: an authorization server, a front, or the provider where people sign in."""


class IdentitySettings(FrontSettings, LocationSettings, AccessSettings, BaseModel):
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
    def needed_scopes(self) -> tuple[str, ...]:
        """The scopes that every access token needs. Clients may not be told to ask for offline access (MCP 2026-07-28,
        authorization), so none can be wanted.
        """
        return tuple(scope for scope in self.auth_scopes if scope != NEVER_ASKED)

    @property
    def believes_others(self) -> bool:
        """True if an authorization server, or a front, vouches for people and machines."""
        return self.auth_issuer is not None or self.front is not None

    @property
    def has_other_ways_in(self) -> bool:
        """True if others than holders of a static token may come in."""
        return self.believes_others

    @property
    def has_principals(self) -> bool:
        """True if callers can be told apart by their names."""
        return self.tokens_at is not None or self.has_other_ways_in

    @property
    def others_sign(self) -> bool:
        """True if somebody else than an authorization server signs what lets people in."""
        return self.front is not None

    @property
    def shows_discovery(self) -> bool:
        """True if clients are told of the authorization server: not behind a front that is one itself."""
        behind_front = self.front is not None and self.front_required
        return self.auth_issuer is not None and not behind_front

    @property
    def takes_tokens(self) -> bool:
        """True if there are static tokens, or may be: those of a file come and go."""
        set_here = self.mcp_auth_token is not None or self.tokens_at is not None
        return set_here or not self.has_other_ways_in

    @property
    def makes_token(self) -> bool:
        """True if there is no way in, so that a token is made for this run."""
        return self.mcp_auth_token is None and not self.has_principals

    @property
    def open_issuers(self) -> list[str]:
        """The settings that name an issuer that anybody can join: then somebody must say who may come in."""
        named = {"AUTH_ISSUER": self.auth_issuer, "FRONT_ISSUER": self.front_issuer}
        return [name for name, issuer in named.items() if issuer and is_open(issuer)]

    def identity_disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings of the ways in that do not go together: their names, and a sentence."""
        yield from self.front_disagreements()
        for name in [] if self.people or self.tokens_at else self.open_issuers:
            yield {name.lower(), "people", "tokens_file"}, open_issuer(name)
        if self.auth_issuer is not None:
            yield from self._issuer_disagreements(self.auth_issuer)
            yield from self._introspection_disagreements()
            return
        names = [name for name in IdentitySettings.model_fields if name.startswith("auth_")]
        for name in given(self, names):
            if name not in OF_BOTH:
                yield {"auth_issuer", name}, _without("AUTH_ISSUER", name)
            elif not self.others_sign:
                needed = "AUTH_ISSUER, FRONT or SIGN_IN"
                yield {"auth_issuer", "front", "sign_in", name}, _without(needed, name)

    def _issuer_disagreements(self, issuer: str) -> Iterator[tuple[set[str], str]]:
        if fault := refused_issuer("AUTH_ISSUER", issuer):
            yield {"auth_issuer"}, fault
        public = urlsplit(self.public_origin)
        if not self.public_origin:
            yield (
                {"auth_issuer", "public_url"},
                (
                    "PUBLIC_URL: is missing, and AUTH_ISSUER needs it: tokens are made for the URL by which clients call the gate, "
                    "such as https://gate.example.com"
                ),
            )
        elif public.scheme == "http" and not is_loopback(public.hostname or ""):
            yield (
                {"auth_issuer", "public_url"},
                (
                    "PUBLIC_URL: must begin with https:// beside AUTH_ISSUER, since whoever is on the way could read the tokens; http:// "
                    "is for this machine (127.0.0.1, localhost)"
                ),
            )
        own = (self.public_origin, self.public_endpoint)
        if self.public_origin and issuer.lower().rstrip("/") in own:
            yield (
                {"auth_issuer", "public_url"},
                (
                    "AUTH_ISSUER: is the gate itself, and stands for another authorization server; set the issuer of yours, or take "
                    "AUTH_ISSUER away: with SIGN_IN, apps sign in here without it"
                ),
            )
        if self.auth_client_id is not None and self.auth_client_id in self.audiences:
            yield (
                {"auth_audience", "auth_client_id", "public_url"},
                (
                    "AUTH_AUDIENCE: has AUTH_CLIENT_ID in it, which is the audience of ID tokens; these are no access tokens. Let the "
                    f"authorization server make tokens for {self.public_endpoint}"
                ),
            )

    def _introspection_disagreements(self) -> Iterator[tuple[set[str], str]]:
        missing = [name.upper() for name in INTROSPECTION if getattr(self, name) is None]
        if len(missing) == len(INTROSPECTION):
            return
        for name in missing:
            others = " and ".join(each.upper() for each in INTROSPECTION if each.upper() != name)
            yield (
                {*INTROSPECTION},
                f"{name}: is missing; it goes with {others}, all three or none",
            )
        url = self.auth_introspection_url
        if url and urlsplit(url).path.rstrip("/").lower().endswith("/userinfo"):
            yield (
                {"auth_introspection_url"},
                (
                    "AUTH_INTROSPECTION_URL: is for people's names, and does not say for whom a token was made; name the endpoint that "
                    "the server's metadata has as introspection_endpoint"
                ),
            )


def _without(needed: str, name: str) -> str:
    name = name.upper()
    return f"{name}: means nothing without {needed}; set that, too, or take {name} away"
