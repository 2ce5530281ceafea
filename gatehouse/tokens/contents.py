"""The contents of the tokens file: named tokens, and who else may do what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.identity.people import Person
    from gatehouse.identity.scopes import Scope
    from gatehouse.tokens.token import Token


@dataclass(frozen=True, slots=True)
class Contents:
    """All that one text of the file says, each in the file's order: for people, the first one that fits decides."""

    tokens: tuple[Token, ...] = ()
    scopes: tuple[Scope, ...] = ()
    people: tuple[Person, ...] = ()

    @property
    def beside_tokens(self) -> str:
        """The numbers of scopes and people, in words; empty if there are none of either."""
        counted = (("scopes", len(self.scopes)), ("people", len(self.people)))
        return ", ".join(f"{what}: {number}" for what, number in counted if number)


NOTHING = Contents()
