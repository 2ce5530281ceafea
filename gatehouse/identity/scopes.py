"""Scopes: what an access token may do by each scope that it has (RFC 6749 section 3.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.identity.grants import EVERYTHING, Grants, either
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

logger = logger_of("gate.people")

MAX_SCOPE_LENGTH = 100
"""How long the name of a scope may be. A challenge repeats names, and header fields have bounds."""

SCOPE = re.compile(rf"[!#-\[\]-~]{{1,{MAX_SCOPE_LENGTH}}}")
"""RFC 6749 section 3.3."""


class Scope(NamedTuple):
    """A scope, and what it allows."""

    name: str
    grants: Grants = EVERYTHING


def check_scope(name: str) -> None:
    """Raise ValueError if no scope can have this name, in words that do not repeat it."""
    if not SCOPE.fullmatch(name):
        raise ValueError(
            f"the name of a scope has 1 to {MAX_SCOPE_LENGTH} visible ASCII characters, but no blank, quote or backslash"
        )


class Scopes:
    """The scopes of the tokens file. If there never were any, an access token may do everything.

    If the last one has gone while the gate runs, it may do nothing: whoever takes out a scope means less, not more.
    """

    def __init__(self, scopes: Iterable[Scope] = ()) -> None:
        self._grants: dict[str, Grants] = {}
        self._had_any = False
        self.replace(scopes)

    def replace(self, scopes: Iterable[Scope]) -> None:
        """From now on, these scopes count."""
        grants = {scope.name: scope.grants for scope in scopes}
        if self._grants and not grants:
            logger.warning(
                "the last scope is gone from the tokens file: access tokens may do nothing until a scope is there again, "
                "or the gate is started anew, without scopes"
            )
        self._grants = grants
        self._had_any = self._had_any or bool(grants)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scopes at this moment."""
        return tuple(self._grants)

    def grants_of(self, names: Collection[str]) -> Grants:
        """The grants of a token that has scopes of these names."""
        if not self._had_any:
            return EVERYTHING
        return either(self._grants[name] for name in names if name in self._grants)

    def needed_for(self, held: Collection[str], suffices: Callable[[Grants], bool]) -> str:
        """The first scope that, with those that are held, grants what suffices; empty if none does."""
        return next((name for name in self._grants if suffices(self.grants_of([*held, name]))), "")
