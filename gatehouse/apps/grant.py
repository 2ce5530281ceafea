"""A grant: what one person has let one app do. Codes and tokens of an app hold it, sealed, and nothing else says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.identity.subject import Subject, shown_as
from gatehouse.signin.ended_file import began_at
from gatehouse.signin.facts import facts_of, subject_of_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_GRANT_SECONDS = 90 * 86_400.0
"""How long a grant lasts. The facts about its person, by which lists of people are asked, are that old at most."""

REFRESH_SECONDS = 30 * 86_400.0
"""How long a refresh token is good. An app that nobody uses for that long is let in again by the person."""

GRACE_SECONDS = 20.0
"""How long the last refresh token is good again: two windows of an app may use it at once, and an answer may be lost, which
clients notice after 10 seconds (Claude's connectors)."""

MAX_FACTS_BYTES = 1400
"""How many bytes the facts about a person take in a seal. A token goes along with every request, and heads have bounds."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's yes to one app."""

    id: str
    """Names the grant in the gate's memory. The moment of the yes is a part of it (`signin.ended`)."""
    person: Subject
    """The one who said yes. Of kind "oauth", whose issuer is the provider where they signed in."""
    client: str
    """The key of the client (`Client.key`)."""
    app: str
    """How the app calls itself; may be empty."""
    to: str
    """Where its answers go, for people: a host, a scheme, or "this computer"."""
    resource: str
    """The URL of the endpoint that the tokens are for (RFC 8707)."""
    scopes: tuple[str, ...] = ()

    @property
    def began(self) -> float:
        """The Unix time of the yes."""
        return began_at(self.id) / 1000


class KnownGrant(NamedTuple):
    """A grant in force, as the gate remembers it (`apps.grants`)."""

    grant: Grant
    used: float
    """The Unix time when the app was last let in, or the grant began."""
    address: str
    """From where; empty if the app has not come yet."""
    generation: int
    """The place in the grant's chain of the last code (0) or refresh token (1, 2, ...) that was used; -1 if none was."""
    advanced: float
    """The Unix time when that was used first."""


def as_caller(person: Subject, app: str) -> Subject:
    """The subject by which an app of that person calls: the same person, by an access token."""
    name = shown_as("oauth", person.shown.partition(":")[2])
    return replace(person, kind="oauth", client=app, shown=name)


def content_of(grant: Grant, wanted_orgs: Collection[str] = ()) -> dict[str, Any]:
    """The grant for a seal. Of the person's organisations, the `wanted_orgs` go first."""
    facts = facts_of(grant.person, MAX_FACTS_BYTES, wanted_orgs)
    content = {
        **facts,
        "g": grant.id,
        "c": grant.client,
        "a": grant.app,
        "t": grant.to,
        "r": grant.resource,
    }
    return content | ({"sc": " ".join(grant.scopes)} if grant.scopes else {})


def grant_in(content: Mapping[str, Any], *, issuer: str, expires: float) -> Grant:
    """The grant that a seal holds, which is over at that Unix time.

    Raises LookupError, TypeError or ValueError if it holds none, or one of another release.
    """
    texts = [content[name] for name in ("g", "c", "a", "t", "r")]
    scopes = content.get("sc", "")
    if not all(isinstance(text, str) for text in (*texts, scopes)):
        raise TypeError
    grant_id, client, app, to, resource = texts
    began_at(grant_id)
    person = subject_of_facts("oauth", content, issuer=issuer, expires=expires)
    allowed = tuple(scopes.split())
    person = replace(person, client=app, key=grant_id, scopes=allowed)
    return Grant(grant_id, person, client, app, to, resource, allowed)
