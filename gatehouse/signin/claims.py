"""From the claims of a provider to the subject of a person.

Nothing counts that people write themselves: no display name, no address that is not verified.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from gatehouse.identity.subject import ORG_CLAIMS, subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.identity.subject import Subject

MAX_CLAIM_LENGTH = 255
"""How long a text in a claim may be, in characters: so long a `sub` is at most (OpenID Connect Core section 2). A longer
user name, address or organisation counts as none."""

ROLES = frozenset({"admin", "write"})
"""The roles at Hugging Face by which somebody counts as one of an organisation."""

HINDRANCES = ("pendingSSO", "missingMFA", "securityRestrictions")
"""Members by which Hugging Face says that somebody has not yet done what the organisation asks for."""

_ID = re.compile(r"[0-9a-f]{24}")  # of a person or an organisation at Hugging Face


def person_of(claims: Mapping[str, Any], told: Mapping[str, Any], issuer: str) -> Subject:
    """The subject of an ID token's claims, and of what `userinfo` told about the same person.

    The ID token goes first. A claim that names a client says nothing about the person, and no scope is theirs.
    """
    named = ("preferred_username", *ORG_CLAIMS)
    found: dict[str, Any] = {
        name: source[name] for source in (told, claims) for name in named if name in source
    }
    found["email"] = _email(claims) or _email(told)
    found["email_verified"] = True
    found["preferred_username"] = _text(found, "preferred_username")
    found |= {name: _orgs(found[name]) for name in ORG_CLAIMS if name in found}
    return subject_of("person", {**found, "sub": claims["sub"]}, issuer=issuer, expires=math.inf)


def _email(claims: Mapping[str, Any]) -> str:
    """The address, if these claims themselves say that it is verified."""
    return _text(claims, "email") if claims.get("email_verified") is True else ""


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= MAX_CLAIM_LENGTH else ""


def _orgs(given: object) -> list[Any]:
    """The organisations that count: names, tables by name, or the tables in a list, which are Hugging Face's.

    There people choose the name of theirs, which may look like the id of another one: then it is none.
    """
    listed = given if isinstance(given, list | dict) else [given]
    tables = (_org(each) if isinstance(each, dict) else {"sub": each} for each in listed)
    return [
        name
        for table in tables
        for key in ("sub", "preferred_username")
        if (name := _text(table, key)) and (key == "sub" or not _ID.fullmatch(name))
    ]


def _org(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table of an organisation, if the person has a say there, and may enter it; else an empty one."""
    role = table.get("roleInOrg")
    is_in = isinstance(role, str) and role in ROLES
    return table if is_in and not any(table.get(name) for name in HINDRANCES) else {}
