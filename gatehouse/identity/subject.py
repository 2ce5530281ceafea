"""The subject of a verified access token or assertion: the facts by which the gate knows a person or a machine.

A subject is known by its issuer and its `sub` together, never by an e-mail address, which changes hands, nor by the
bytes of a token, which are new every few minutes (RFC 9068 section 2.2.2, RFC 9700 section 4.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gatehouse.identity.scopes import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gatehouse.identity.principal import PrincipalKind

MAX_NAME_LENGTH = 64
"""How long a name may be, in characters: lines of log and header fields hold it."""

ID_DIGITS = 32
"""The hex digits of an id: 128 bits, so that nobody finds two subjects with one id."""

MAX_MATCH_LENGTH = 255
"""How long a `sub` in a line of log may be, in characters: as long as OpenID Connect lets it be (Core section 2)."""

MAX_SCOPES = 100
"""How many scopes of a token count. A challenge repeats them, and header fields have bounds."""

MAX_SCOPE_LENGTH = 100
"""How long one of them may be, in characters."""

MAX_ORGS = 100
"""How many organisations of a person count."""

CLIENT_CLAIMS = ("client_id", "azp", "appid")
"""The claims that name the OAuth client: RFC 9068 section 2.2, OpenID Connect, and Entra's first version."""

ORG_CLAIMS = ("org_id", "org_name", "organization", "organizations", "orgs")
"""The claims that name organisations: Auth0's, Keycloak's, and those of Hugging Face."""

_ODD = re.compile(r"[^!-~]|[\"',;\\]")  # what could end a word of a line, or is no visible ASCII
_SCOPE = re.compile(rf"[!#-\[\]-~]{{1,{MAX_SCOPE_LENGTH}}}")  # RFC 6749 section 3.3


@dataclass(frozen=True, slots=True)
class Subject:
    """The one who brings a verified token or assertion, in the words of its issuer."""

    kind: PrincipalKind
    issuer: str
    sub: str
    """Empty only for a machine."""
    client: str = ""
    """The OAuth client, or the name of a service token; empty if it is not told."""
    is_machine: bool = False
    """True if the client acts for itself, and not for a person."""
    email: str = ""
    """Only if the issuer has verified that it is this person's."""
    username: str = ""
    orgs: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    expires: float = 0.0
    """The Unix time from which on the token is no good, leeway included."""
    key: str = ""
    """The thumbprint of the key that signed (RFC 7638); empty for a token that was introspected."""
    shown: str = ""
    """The name for logs: the kind, a colon, and visible ASCII, MAX_NAME_LENGTH at most."""

    @property
    def id(self) -> str:
        """The key of sessions, rates and last use."""
        who = f"client:{self.client}" if self.is_machine else f"sub:{self.sub}"
        digest = sha256(
            f"{len(self.issuer)} {self.issuer} {who}".encode("utf-8", "surrogatepass")
        ).hexdigest()
        return f"{self.kind}:{digest[:ID_DIGITS]}"

    @property
    def match(self) -> str:
        """The word of a list of people that means this one alone, for a line of log, if it can stand in one; else its kind."""
        kind, fact = ("client", self.client) if self.is_machine else ("sub", self.sub)
        fits = len(fact) <= MAX_MATCH_LENGTH and not _ODD.search(fact)
        return f"{kind}:{fact if fits else '...'}"


def subject_of(
    kind: PrincipalKind,
    claims: Mapping[str, Any],
    *,
    issuer: str,
    expires: float,
    key: str = "",
    name_claim: str = "",
    email_is_verified: bool = False,
) -> Subject:
    """The subject of verified claims, which must name a `sub` or a client.

    `name_claim` is the claim that gives the name, if it is there. `email_is_verified` is True for issuers that
    tell no address but a verified one.
    """
    sub = _text(claims, "sub")
    client = next(filter(None, (_text(claims, name) for name in CLIENT_CLAIMS)), "")
    verified = email_is_verified or claims.get("email_verified") is True
    email = _text(claims, "email") if verified else ""
    username = _text(claims, "preferred_username")
    chosen = "" if name_claim in {"", "email"} else _text(claims, name_claim)
    name = chosen or email or username or client or sub
    return Subject(
        kind=kind,
        issuer=issuer,
        sub=sub,
        client=client,
        is_machine=_is_machine(claims, sub, client),
        email=email,
        username=username,
        orgs=frozenset(list(_orgs(claims))[:MAX_ORGS]),
        scopes=scopes_in(claims),
        expires=expires,
        key=key,
        shown=shown_as(kind, name),
    )


def shown_as(kind: PrincipalKind, name: str) -> str:
    """The name of a principal of that kind for logs and for the upstream."""
    return f"{kind}:{_ODD.sub('_', name)}"[:MAX_NAME_LENGTH]


def scopes_in(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes of an access token: `scope` (RFC 9068 section 2.2.3), or `scp`, as one text or as a list."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split(" ") if isinstance(given, str) else given
    if not isinstance(words, list):
        return ()
    known = [word for word in words if isinstance(word, str) and SCOPE.fullmatch(word)]
    return tuple(dict.fromkeys(known))[:MAX_SCOPES]


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _is_machine(claims: Mapping[str, Any], sub: str, client: str) -> bool:
    """True for a token of the client credentials grant: RFC 9068 section 2.2, or in the words of Auth0 and Entra."""
    told = claims.get("gty") == "client-credentials" or claims.get("idtyp") == "app"
    return bool(client) and (not sub or sub == client or told)


def _orgs(claims: Mapping[str, Any]) -> Iterator[str]:
    """The organisations that claims name: texts, lists of texts, tables by name, or lists of tables."""
    for claim in ORG_CLAIMS:
        given = claims.get(claim)
        for each in given if isinstance(given, list | dict) else [given]:
            if isinstance(each, str):
                yield each
            elif isinstance(each, dict):
                yield from (
                    text for name in ("sub", "preferred_username") if (text := _text(each, name))
                )
