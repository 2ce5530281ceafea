"""People: who may come in by an access token or a front, and what each of them may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatehouse.identity.clock import clock
from gatehouse.identity.grants import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import RateOrOff
    from gatehouse.identity.subject import Subject


@dataclass(frozen=True, slots=True)
class Person:
    """Those whom `match` means, and what each of them may do. Without a rate of its own, TOKEN_RATE holds."""

    match: str
    """A user name, a verified e-mail address, `*@DOMAIN`, `sub:SUB`, `org:NAME`, `client:ID`, or `*` for everybody."""
    grants: Grants = EVERYTHING
    rate: RateOrOff | None = None
    expires: datetime | None = None
    note: str = ""

    def fits(self, subject: Subject) -> bool:
        """True if the subject is one of those meant."""
        word, colon, rest = self.match.partition(":")
        if self.match == "*":
            return True
        if colon and word in {"sub", "org", "client"}:
            if word == "sub":
                return bool(subject.sub) and subject.sub == rest
            if word == "org":
                return rest in subject.orgs
            return subject.is_machine and subject.client == rest
        if "@" in self.match:
            return fits_address(self.match, subject.email)
        return not subject.is_machine and subject.username == self.match


def fits_address(match: str, email: str) -> bool:
    """True if the address is the one that `match` names, or below its domain; letters in either case."""
    local, _, domain = email.lower().rpartition("@")
    wanted, _, there = match.lower().rpartition("@")
    return bool(local) and domain == there and wanted in {"*", local}


EVERYBODY = Person("*")


class People:
    """The list of people: those of the tokens file, then those of PEOPLE. The first one that fits decides.

    A list that has never had anybody in it means everybody whom the issuer gives our audience to. A list that has
    lost its last entry while the gate runs lets nobody in.
    """

    def __init__(self, listed: Iterable[str] = (), persons: Iterable[Person] = ()) -> None:
        self._listed = tuple(Person(match) for match in listed)
        self._had_any = False
        self.replace(persons)

    def replace(self, persons: Iterable[Person]) -> None:
        """From now on, these are the people of the tokens file."""
        self._people = (*persons, *self._listed)
        self._had_any = self._had_any or bool(self._people)

    @property
    def is_open(self) -> bool:
        """True if there is no list, and never was: then everybody may come in."""
        return not self._had_any

    def find(self, subject: Subject) -> Person | None:
        """The entry that lets the subject in; None if there is none, or its time is over."""
        if self.is_open:
            return EVERYBODY
        person = next((each for each in self._people if each.fits(subject)), None)
        if person is None or (person.expires and person.expires.timestamp() <= clock()):
            return None
        return person
