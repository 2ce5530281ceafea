"""Admission: the principal of a subject whose token or assertion has been verified, or why there is none.

An answer is remembered by the digest of the token, so that most calls cost a look into a table. It holds until the
token, or the time of the person's entry, is over, and no longer than REMEMBER_SECONDS; new people, scopes or keys end
all answers at once.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from gatehouse.http.challenges import NOT_LISTED
from gatehouse.identity.clock import clock
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.uses import Uses

if TYPE_CHECKING:
    from gatehouse.http.challenges import Challenges
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.people import People, Person
    from gatehouse.identity.scopes import Scopes
    from gatehouse.identity.subject import Subject

REMEMBER_SECONDS = 600.0
"""How long an answer holds at most."""

MAX_REMEMBERED = 4096
"""How many tokens are remembered. The oldest gives way, and is verified again when it comes."""


class Admission:
    """Admits the subjects of one verifier, by the list of people.

    `needed` are the scopes that every access token must have. `uses` notes who is let in. Each verifier has an admission of its own: what is
    good for a front is no access token.
    """

    def __init__(
        self,
        people: People,
        scopes: Scopes,
        challenges: Challenges,
        needed: tuple[str, ...] = (),
        uses: Uses | None = None,
    ) -> None:
        self._people = people
        self._scopes = scopes
        self._challenges = challenges
        self._needed = needed
        self._uses = uses or Uses()
        self._remembered: dict[bytes, tuple[Principal, float]] = {}

    def recall(self, digest: bytes) -> Principal | None:
        """The principal that the token with this SHA-256 digest has, if that is remembered."""
        principal, until = self._remembered.get(digest, (None, inf))
        now = clock()
        if now >= until:
            del self._remembered[digest]
            return None
        if principal is not None:
            self._uses.note(principal.id, now)
        return principal

    def admit(self, subject: Subject, digest: bytes, until: float = inf) -> Principal | Unknown:
        """The principal of a token that was verified now, or somebody known who may not come in.

        The answer holds until that Unix time at most, and is not remembered if that is over.
        """
        person = self._people.find(subject)
        if person is None:
            return Unknown(subject.shown, "people", NOT_LISTED, counts=False)
        if subject.kind == "oauth" and not set(self._needed) <= set(subject.scopes):
            reply = self._challenges.insufficient_scope(subject.scopes, self._needed)
            return Unknown(subject.shown, "scope", reply, counts=False)
        principal = Principal(
            subject.id,
            subject.shown,
            proof=digest,
            grants=self._grants(subject, person),
            rate=person.rate,
            kind=subject.kind,
            subject=subject,
        )
        self._uses.admitted(principal, clock())
        ends = person.expires.timestamp() if person.expires else inf
        self._remember(principal, min(until, subject.expires, ends))
        return principal

    def _remember(self, principal: Principal, until: float) -> None:
        now = clock()
        if until <= now:
            return
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[principal.proof] = principal, min(until, now + REMEMBER_SECONDS)

    def _grants(self, subject: Subject, person: Person) -> Grants:
        if subject.kind != "oauth":
            return person.grants
        by_scopes = self._scopes.grants_of(subject.scopes)
        return replace(by_scopes, within=person.grants) if person.grants.restricted else by_scopes

    def holds(self, subject: Subject) -> bool:
        """True if the subject would still be admitted: the token has not ended, and the people are the same to it."""
        return clock() < subject.expires and self._people.find(subject) is not None

    def forget(self) -> None:
        """Every answer must be found anew: people, scopes or keys have changed."""
        self._remembered.clear()
