"""Grants: what a token may call, as globs of names for each kind of thing that an MCP server offers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.http.mcp import Kind


@dataclass(frozen=True, slots=True)
class Grants:
    """The names that a token may see and call, as globs (`list_*`; `fnmatch` has the rules).

    Without any list, everything is granted. With one, only the names in the lists are: a kind
    without a list is refused altogether, because a token for two tools is not meant to read all
    resources.
    """

    tools: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    """By URI."""
    prompts: tuple[str, ...] | None = None

    @property
    def restricted(self) -> bool:
        """True if anything is refused."""
        return not (self.tools is None and self.resources is None and self.prompts is None)

    def allow(self, kind: Kind, name: str) -> bool:
        """True if the thing of that kind and name may be seen and called."""
        if not self.restricted:
            return True
        return any(fnmatchcase(name, glob) for glob in getattr(self, kind) or ())


EVERYTHING = Grants()
