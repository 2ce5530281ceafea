"""The kinds of settings that say whose access tokens and assertions count, and for whom."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from gatehouse.http.credentials import CREDENTIAL_FIELDS
from gatehouse.http.forward import HOP_BY_HOP
from gatehouse.identity.matches import key_of
from gatehouse.identity.scopes import MAX_SCOPE_LENGTH, SCOPE
from gatehouse.settings.hosts import COMMAS, MIN_SECRET_LENGTH
from gatehouse.settings.kinds import PLACEHOLDER, stripped
from gatehouse.tokens.value import VALUE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""The algorithms of access tokens that are in use; each has keys of its own kind or size (RFC 8725 section 3.1)."""

ALGORITHMS = (*DEFAULT_ALGORITHMS, "RS384", "RS512", "PS384", "PS512", "ES512")
"""All algorithms that the gate can check (RFC 7518 section 3.1, RFC 8037, RFC 9864)."""

_SPELT = {name.lower(): name for name in ALGORITHMS}

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 section 5.6.2."""

_CLIENTS_OWN = frozenset(
    {
        *(b"accept", b"content-encoding", b"content-length", b"content-type", b"cookie", b"date"),
        *(b"expect", b"forwarded", b"host", b"last-event-id", b"origin", b"referer"),
        *(b"user-agent", b"via", b"x-real-ip"),
    }
)
"""Fields that every client may set, and that mean something else."""

_TAKEN = re.compile(r"(?:x-gate-|x-forwarded-|mcp-|sec-|access-control-).*")

_UNSIGNED = re.compile(
    r"(?:tailscale-user-|x-auth-request-|remote-|x-authentik-|x-pomerium-claim-|x-goog-authenticated-user-).*"
    r"|cf-access-authenticated-user-email|cf-connecting-ip|x-amzn-oidc-.*"
)
"""Fields of well-known fronts in which nothing is signed, and Amazon's, which is for no audience."""


_BRACKETS = re.compile(r"[\[\](){}<>\"'`]")
"""The marks of a list as other files have it. A `sub` may hold them, too."""


def given(settings: BaseModel, names: Iterable[str]) -> list[str]:
    """Those settings of these names that somebody has set. A default that stands in `.env` counts as unset: a copy of
    `.env.example` has it; in the environment it stands for somebody's sake."""
    there = {name.lower() for name, value in os.environ.items() if value.strip()}
    fields = type(settings).model_fields
    return [
        name
        for name in names
        if getattr(settings, name) != fields[name].default
        or (name in there and name in settings.model_fields_set)
    ]


def listed(value: Any) -> Any:
    """The words of a list with spaces or commas between, each once."""
    if not isinstance(value, str):
        return value
    words = tuple(dict.fromkeys(re.findall(r"[^\s,]+", value)))
    if value.strip() and not words:
        raise ValueError("names nothing; take it away, or name something")
    return words


def shown(item: str) -> str:
    """The item, unless it may be a token in the wrong place."""
    return item if len(item) < MIN_SECRET_LENGTH and item.isprintable() else "an entry"


def _audiences(value: Any) -> Any:
    found = listed(value)
    for audience in found if isinstance(found, tuple) else ():
        if "*" in audience:
            raise ValueError(
                f"{shown(audience)} is no audience: each is compared whole, and there is no «any audience», since a token for "
                "another service could then be used here"
            )
        if not re.fullmatch(r"[\x21-\x7e]+", audience):
            raise ValueError("may hold visible ASCII characters only")
    return found


def _scopes(value: Any) -> Any:
    found = listed(value)
    for scope in found if isinstance(found, tuple) else ():
        if not SCOPE.fullmatch(scope):
            raise ValueError(
                f"{shown(scope)} is no scope: one has 1 to {MAX_SCOPE_LENGTH} visible ASCII characters, but no quote and no "
                "backslash (RFC 6749); write scopes with spaces between"
            )
    return found


def _algorithms(value: Any) -> Any:
    found = listed(value)
    if not isinstance(value, str):
        return found
    for word in found:
        if word.lower() == "none":
            raise ValueError(
                "none means unsigned, so that anybody could write a token; take it out"
            )
        if word.upper().startswith("HS"):
            raise ValueError(
                f"{shown(word)} signs and checks with one secret, which would make the gate an issuer, too; name algorithms with "
                f"a public key, such as {' '.join(DEFAULT_ALGORITHMS[:3])}"
            )
        if word.lower() not in _SPELT:
            raise ValueError(f"{shown(word)} is none of {' '.join(ALGORITHMS)}")
    return tuple(_SPELT[word.lower()] for word in found)


def _people(value: Any) -> Any:
    """The entries of a list with commas between, each of which may match somebody."""
    if not isinstance(value, str):
        return value
    found = tuple(dict.fromkeys(item for part in value.split(",") if (item := part.strip())))
    if value.strip() and not found:
        raise ValueError("names nobody; take it away, or name somebody")
    for item in found:
        if VALUE_PATTERN.search(item):
            raise ValueError("holds the value of a token; here belong the names of people")
        if _BRACKETS.match(item) or (":" not in item and _BRACKETS.search(item)):
            raise ValueError(f"{shown(item)} means nobody: write people {COMMAS}")
        try:
            key_of(item)
        except ValueError as error:
            raise ValueError(f"{shown(item)} means nobody: {error}") from None
    return found


def _token_type(value: Any) -> Any:
    text = stripped(value)
    if not isinstance(text, str) or not text:
        return text
    if text.lower().removeprefix("application/") != "at+jwt":
        raise ValueError(
            "must be at+jwt, to take only tokens that say so (RFC 9068), or unset: then any token but an ID token"
        )
    return "at+jwt"


def _claim(value: Any) -> Any:
    text = stripped(value)
    if isinstance(text, str) and not re.fullmatch(r"[\x21-\x7e]{0,128}", text):
        raise ValueError("must be the name of one claim, such as email or preferred_username")
    return text


def _client(value: Any) -> Any:
    """RFC 6749 appendix A.1 and A.2: visible ASCII characters and spaces."""
    text = stripped(value)
    if isinstance(text, str) and not re.fullmatch(r"[\x20-\x7e]+", text):
        raise ValueError("may hold visible ASCII characters only")
    if isinstance(text, str) and PLACEHOLDER.search(text):
        raise ValueError("is the text in place of it; write the one of the authorization server")
    return text


def _header(value: Any) -> Any:
    name = stripped(value)
    if not isinstance(name, str):
        return name
    if not _TOKEN.fullmatch(name):
        raise ValueError("must be the name of a header field alone, such as X-Jwt-Assertion")
    if "_" in name:
        raise ValueError(
            f"{shown(name)} has an underscore, and the gate refuses requests with such a field, since other programs take "
            "it for a hyphen; let the front send another name"
        )
    low = name.lower()
    if low.encode() in CREDENTIAL_FIELDS | HOP_BY_HOP | _CLIENTS_OWN or _TAKEN.fullmatch(low):
        raise ValueError(
            f"{shown(name)} means something else, and clients can set it; name the field in which the front puts its "
            "signed assertion. A front that passes access tokens in Authorization needs AUTH_ISSUER instead"
        )
    if _UNSIGNED.fullmatch(low):
        raise ValueError(
            f"{shown(name)} is not signed for this gate, so that anybody who gets past the front could write it; name a field "
            "with a signed assertion (JWT)"
        )
    return name


def _team(value: Any) -> Any:
    """The team's name, from the name, its domain or its URL."""
    text = stripped(value)
    if not isinstance(text, str):
        return text
    name = text.lower().removeprefix("https://").removesuffix("/")
    name = name.removesuffix(".cloudflareaccess.com")
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ValueError(
            "must be the name of your Cloudflare team, such as acme, or acme.cloudflareaccess.com"
        )
    return name


Audiences = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_audiences)]
Scopes = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_scopes)]
Algorithms = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_algorithms)]
PeopleListed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_people)]
TokenType = Annotated[str, BeforeValidator(_token_type)]
Claim = Annotated[str, BeforeValidator(_claim)]
ClientId = Annotated[str | None, BeforeValidator(_client)]
ClientSecret = Annotated[SecretStr | None, BeforeValidator(_client)]
HeaderName = Annotated[str | None, BeforeValidator(_header)]
Team = Annotated[str | None, BeforeValidator(_team)]
