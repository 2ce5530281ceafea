"""The people who may sign in, and let apps in: the admins, and those whom a list names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.identity.matches import key_of, keys_of
from gatehouse.identity.people import ANYBODY, People

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gatehouse.identity.matches import Key
    from gatehouse.identity.people import Person
    from gatehouse.identity.subject import Subject


class PeopleWhoSignIn(People):
    """`admins` are matches as in ADMINS; `listed` and `persons` are as for `People`.

    A list that has nobody in it lets nobody in but the admins: whoever sets it up means somebody.
    """

    def __init__(
        self, admins: Iterable[str], listed: Iterable[str] = (), persons: Iterable[Person] = ()
    ) -> None:
        self._admins = frozenset(map(key_of, admins))
        super().__init__(listed, persons, warns=False)  # the list of all who come in does

    @property
    def keys(self) -> Collection[Key]:
        """The facts that the lists ask for."""
        return frozenset((*super().keys, *self._admins))

    def is_admin(self, subject: Subject) -> bool:
        """True if the person may open the dashboard, by the list of this moment."""
        return not subject.is_machine and not self._admins.isdisjoint(keys_of(subject))

    def find(self, subject: Subject) -> Person | None:
        """The entry of a person; an admin whom no list names may do everything. None for all others, and for machines."""
        if subject.is_machine:
            return None
        person = None if self.is_open else super().find(subject)
        return person or (ANYBODY if self.is_admin(subject) else None)

    def may_sign_in(self, subject: Subject) -> bool:
        """True if the person gets a session."""
        return self.find(subject) is not None
