"""Admission: the principal of a subject whose token or assertion has been verified, or why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse.http.challenges import NOT_LISTED
from gatehouse.identity.clock import clock
from gatehouse.identity.principal import Principal, Unknown

if TYPE_CHECKING:
    from gatehouse.http.challenges import Challenges
    from gatehouse.identity.people import People
    from gatehouse.identity.scopes import Scopes
    from gatehouse.identity.subject import Subject

REMEMBER_SECONDS = 600.0
"""How long an answer about a token holds, if nothing ends it before: a key that was taken out, say, ends it."""

MAX_REMEMBERED = 4096
"""How many tokens are remembered: the oldest gives way, and is verified again."""


class Admission:
    """Admits subjects by the list of people, and gives them what their scopes and their entry grant.

    `needed` are the scopes that every access token must have.
    """

    def __init__(
        self,
        people: People,
        scopes: Scopes,
        challenges: Challenges,
        needed: tuple[str, ...] = (),
    ) -> None:
        self._people = people
        self._scopes = scopes
        self._challenges = challenges
        self._needed = needed

    def admit(self, subject: Subject, proof: bytes) -> Principal | Unknown:
        """The principal, or somebody known who may not come in. `proof` is the digest of the credential."""
        person = self._people.find(subject)
        if person is None:
            return Unknown(subject.shown, "people", NOT_LISTED, counts=False)
        grants = person.grants
        if subject.kind == "oauth":
            if not set(self._needed) <= set(subject.scopes):
                reply = self._challenges.insufficient_scope(subject.scopes, self._needed)
                return Unknown(subject.shown, "scope", reply, counts=False)
            by_scopes = self._scopes.grants_of(subject.scopes)
            grants = replace(by_scopes, within=grants) if grants.restricted else by_scopes
        return Principal(
            subject.id,
            subject.shown,
            proof=proof,
            grants=grants,
            rate=person.rate,
            kind=subject.kind,
            subject=subject,
        )

    def holds(self, subject: Subject) -> bool:
        """True if the subject is still among the people, and its token has not ended."""
        return clock() < subject.expires and self._people.find(subject) is not None


class Remembered:
    """The principals of tokens that were verified lately, by the SHA-256 digest of the token."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Principal, float]] = {}

    def find(self, digest: bytes) -> Principal | None:
        """The principal of the token, if its answer still holds."""
        known = self._known.get(digest)
        if known is None:
            return None
        if clock() < known[1]:
            return known[0]
        del self._known[digest]
        return None

    def keep(self, digest: bytes, principal: Principal, until: float) -> None:
        """Remember the principal until that Unix time, and for REMEMBER_SECONDS at most."""
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = principal, min(until, clock() + REMEMBER_SECONDS)

    def clear(self) -> None:
        """Forget all: keys, people or scopes have changed."""
        self._known.clear()
