"""Scopes: what an access token may do by each scope that it has (RFC 6749 section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gatehouse.identity.grants import EVERYTHING, Grants, either

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gatehouse.http.mcp import Kind


class Scope(NamedTuple):
    """A scope, and what it allows."""

    name: str
    grants: Grants = EVERYTHING


class Scopes:
    """The scopes of the tokens file. Without any, an access token may do everything."""

    def __init__(self, scopes: Iterable[Scope] = ()) -> None:
        self.replace(scopes)

    def replace(self, scopes: Iterable[Scope]) -> None:
        """From now on, these scopes count."""
        self._scopes = tuple(scopes)

    def grants_of(self, names: Collection[str]) -> Grants:
        """The grants of a token that has scopes of these names."""
        if not self._scopes:
            return EVERYTHING
        return either(scope.grants for scope in self._scopes if scope.name in names)

    def needed_for(self, kind: Kind, thing: str) -> str:
        """The first scope that allows the thing; empty if none does."""
        return next((scope.name for scope in self._scopes if scope.grants.allow(kind, thing)), "")
