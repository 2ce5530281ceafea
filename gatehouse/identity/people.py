"""People: who may come in by an access token or a front, and what each of them may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from gatehouse.identity.clock import clock
from gatehouse.identity.grants import EVERYTHING
from gatehouse.identity.matches import key_of, keys_of
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from gatehouse.identity.grants import Grants
    from gatehouse.identity.matches import Key
    from gatehouse.identity.rate import RateOrOff
    from gatehouse.identity.subject import Subject

logger = logger_of("gate.people")


@dataclass(frozen=True, slots=True)
class Person:
    """Those whom `match` means, and what each of them may do. Without a rate of its own, TOKEN_RATE holds."""

    match: str
    """A user name, a verified e-mail address, `*@DOMAIN`, `sub:SUB`, `org:NAME`, `client:ID`, or `*` for everybody."""
    grants: Grants = EVERYTHING
    rate: RateOrOff | None = None
    expires: datetime | None = None
    note: str = ""
    _ends: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", self.expires.timestamp() if self.expires else inf)

    def valid_at(self, now: float) -> bool:
        """True if the entry lets anybody in at that Unix time: before it expires."""
        return now < self._ends


ANYBODY = Person("*")


class People:
    """The list of people: those of the tokens file, then those of PEOPLE. The first one that fits decides.

    An entry that has expired lets nobody in, and no later one lets in those whom it means. A list that never had
    anybody means everybody to whom the issuer gives our audience. One that has lost its last entry while the gate
    runs lets nobody in: whoever takes out the last name means nobody, not everybody.
    """

    def __init__(
        self, listed: Iterable[str] = (), persons: Iterable[Person] = (), *, warns: bool = True
    ) -> None:
        """With `warns`, the log is told when the last one is gone."""
        self._warns = warns
        self._listed = tuple(Person(match) for match in listed)
        self.is_open = True
        """True if there is no list, and never was: then everybody may come in."""
        self._people: tuple[Person, ...] = ()
        self.replace(persons)

    def replace(self, persons: Iterable[Person]) -> None:
        """From now on, these are the people of the tokens file."""
        people = (*persons, *self._listed)
        if self._warns and self._people and not people:
            logger.warning(
                "the last [[people]] entry is gone from the tokens file: nobody may come in by an access token or "
                "through a front until somebody is listed again, or the gate is started anew. PEOPLE would keep a list "
                "beside the file; PEOPLE=* means everybody"
            )
        self._people = people
        # Of several entries with one key, the first one counts.
        self._places = {key_of(each.match): at for at, each in reversed([*enumerate(people)])}
        self.is_open = self.is_open and not people

    @property
    def keys(self) -> Collection[Key]:
        """The facts that the list asks for."""
        return self._places.keys()

    def find(self, subject: Subject) -> Person | None:
        """The entry that lets the subject in; None if there is none, or its time is over."""
        if self.is_open:
            return ANYBODY
        places = [self._places[key] for key in keys_of(subject) if key in self._places]
        person = self._people[min(places)] if places else None
        return person if person and person.valid_at(clock()) else None
