"""Checks of the sign-in that a server offers: what its metadata name must be what a client asked, and what it can use.

No token goes to an authorization server. It is asked as the gate asks it: over https, no redirect followed, within bounds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from gatehouse.doctor.arrival import skew
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.http.asked import AskError
from gatehouse.http.fields import values_of
from gatehouse.identity.discovery import KeysAt, KeysOf
from gatehouse.identity.fronts import front_of
from gatehouse.identity.public_keys import read_keys
from gatehouse.pages.well_known import METADATA
from gatehouse.upstream.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.doctor.client import Answer
    from gatehouse.doctor.visit import Visit
    from gatehouse.http.asked import Asked
    from gatehouse.http.fields import Headers
    from gatehouse.settings.environment import Settings

AT_THE_HOST = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
"""The places where a front that is an authorization server itself has its metadata."""

ENDPOINTS = ("authorization_endpoint", "token_endpoint")
"""The members without which no client can sign in."""

OAUTH_MEMBERS = {"authorization_servers", "authorization_endpoint", "issuer"}
"""One of these is in every document that is OAuth's."""


def document_in(answer: Answer) -> dict[str, Any]:
    """The document of OAuth's metadata in an answer; empty if that is none."""
    try:
        content = json.loads(answer.body)
    except ValueError:
        return {}
    known = answer.good and isinstance(content, dict) and OAUTH_MEMBERS & content.keys()
    return content if known else {}


async def resource_metadata(visit: Visit) -> dict[str, Any]:
    """The server's metadata, for a client without a token (RFC 9728); empty if there are none."""
    path = METADATA.decode() + visit.target.path
    return document_in(await visit.ask("GET", ("Accept", "application/json"), token="", path=path))


async def sign_in(visit: Visit) -> list[Finding]:
    """The metadata, and the authorization server that they name."""
    told = await resource_metadata(visit)
    servers = told.get("authorization_servers")
    if not isinstance(servers, list) or not servers:
        return [fine("no sign-in is offered")]
    issuer, resource = str(servers[0]), str(told.get("resource"))  # clients look at no other
    asked = f"{visit.target.scheme}://{visit.target.authority}"
    if issuer.rstrip("/") in {asked, _origin_of(resource)}:  # it signs nothing that others check
        return [about(visit, resource), await own_server(visit, issuer)]
    return [about(visit, resource), *await at_the_host(visit, issuer), *await keys_of(issuer)]


async def own_server(visit: Visit, issuer: str) -> Finding:
    """The metadata of a server that is its own authorization server, as a client reads them (RFC 8414 section 3.3)."""
    path = AT_THE_HOST[0] + urlsplit(issuer).path.rstrip("/")
    told = document_in(await visit.ask("GET", token="", path=path))
    if told.get("issuer") != issuer:
        return found("own-server", f"{path} is not about {issuer}, which the metadata name")
    missing = [name for name in ENDPOINTS if not _is_safe(told.get(name), issuer)]
    if missing:
        return found("own-server", f"{path} names no {' and no '.join(missing)} that may be asked")
    if "S256" not in (told.get("code_challenge_methods_supported") or []):
        return found(
            "own-server", f"{path} does not offer PKCE with S256, without which clients refuse"
        )
    return fine("apps sign in here, and its metadata say how")


def _origin_of(url: str) -> str:
    """The scheme, host and port of a URL, as they stand there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_safe(url: object, issuer: str) -> bool:
    """True if a URL may be asked where the issuer is asked: over https, unless that is on http, too."""
    return isinstance(url, str) and urlsplit(url).scheme in {"https", urlsplit(issuer).scheme}


def about(visit: Visit, resource: str) -> Finding:
    """The resource that the metadata are about, against the URL that was asked."""
    if resource.rstrip("/") == visit.target.url.rstrip("/"):
        return fine("the metadata are about this URL")
    return found("resource-other", f"the metadata are about {resource}")


async def at_the_host(visit: Visit, issuer: str) -> list[Finding]:
    """Another authorization server at the server's own host, before which the metadata of the first come to nothing."""
    for path in AT_THE_HOST:
        other = document_in(await visit.ask("GET", token="", path=path)).get("issuer", issuer)
        if other != issuer:
            words = f"{path} is about {other}, and the metadata name {issuer}"
            return [found("sign-in-twice", words)]
    return []


class Dated(Asking):
    """Asks as the gate does, and keeps the date of the last answer."""

    date = ""

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:
        """The answer to a GET of the URL, with these header fields, too. Raises AskError."""
        asked = await super().get_json(url, fields)
        self.date = next(iter(values_of(asked.headers, b"date")), b"").decode("latin-1")
        return asked


async def keys_of(issuer: str, jwks_url: str | None = None) -> list[Finding]:
    """The keys of whoever signs, found as the gate finds them, and the clock there."""
    ask = Dated()
    try:
        answer = await (KeysAt(ask, jwks_url) if jwks_url else KeysOf(ask, issuer)).fetch()
    except AskError as error:
        return [found("no-keys", f"{issuer}: {error.words}")]
    keys, unusable = read_keys(answer.document)
    if not keys:
        why = ", ".join(unusable) or "there are none"
        return [found("no-keys", f"{issuer}: no key that the gate can use ({why})")]
    seen = f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} of {issuer}"
    return [fine(seen), skew(ask.date, f"the clock of {issuer}")]


def signers(settings: Settings) -> Iterator[Finding]:
    """The keys of the authorization server, the front and the provider where people sign in, as this machine gets them."""
    if issuer := settings.auth_issuer:
        yield from trio.run(keys_of, issuer, settings.auth_jwks_url)
    if settings.front:
        front = front_of(
            settings.front,
            audiences=settings.front_audience,
            team=settings.front_team or "",
            issuer=settings.front_issuer or "",
            keys_url=settings.front_jwks_url or "",
        )
        yield from trio.run(keys_of, front.issuers[0], front.keys_url)
    if provider := settings.sign_in_issuer:
        yield from trio.run(keys_of, provider)
