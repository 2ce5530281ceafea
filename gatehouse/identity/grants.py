"""Grants: what a principal may call, as globs of names for each kind of thing that an MCP server offers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gatehouse.http.mcp import Kind


@dataclass(frozen=True, slots=True)
class Grants:
    """The names that a principal may see and call, as globs (`list_*`; `fnmatch` has the rules).

    Without any list, everything is granted. With one, only the names in the lists are: a kind
    without a list is refused altogether, because a token for two tools is not meant to read all
    resources.
    """

    tools: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    """By URI."""
    prompts: tuple[str, ...] | None = None
    within: Grants | None = None
    """Further grants that must allow a name, too: those of a person, around those of an access token's scopes."""

    @property
    def restricted(self) -> bool:
        """True if anything is refused."""
        if not (self.tools is None and self.resources is None and self.prompts is None):
            return True
        return self.within is not None and self.within.restricted

    @property
    def parts(self) -> tuple[Grants, ...]:
        """These grants and those around them that refuse anything, each by itself."""
        own = Grants(self.tools, self.resources, self.prompts)
        around = () if self.within is None else self.within.parts
        return (own, *around) if own.restricted else around

    def allow(self, kind: Kind, name: str) -> bool:
        """True if the thing of that kind and name may be seen and called."""
        return all(
            any(fnmatchcase(name, glob) for glob in getattr(part, kind) or ())
            for part in self.parts
        )


EVERYTHING = Grants()


def by_kind(lists: Mapping[Kind, tuple[str, ...] | None]) -> Grants:
    """The grants of these lists; a kind may be missing."""
    return Grants(lists.get("tools"), lists.get("resources"), lists.get("prompts"))


def either(several: Iterable[Grants]) -> Grants:
    """The grants that allow each name that one of several does; nothing at all if there are none."""
    tools: set[str] = set()
    resources: set[str] = set()
    prompts: set[str] = set()
    for grants in several:
        if not grants.restricted:
            return EVERYTHING
        tools.update(grants.tools or ())
        resources.update(grants.resources or ())
        prompts.update(grants.prompts or ())
    return Grants(tuple(sorted(tools)), tuple(sorted(resources)), tuple(sorted(prompts)))
