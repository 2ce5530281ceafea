"""`tokens add --for`, `tokens rotate --for`: the new value in the snippet that a client takes."""

from __future__ import annotations

import ast
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.hosting.modules import let_servers_be_found
from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.snippets import BY_URL, CLIENTS, slug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.token import Token

NAMES = ", ".join(CLIENTS)


class WrongClientError(Exception):
    """The value could not be used in the client that was asked for; the text says why."""


class Clients:
    """The snippets for clients of the gate that these settings describe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = UNNAMED

    def judge(self, client: str | None, token: Token) -> None:
        """Raise WrongClientError if the token is no good in that client. Call it before a value is made."""
        if client and self._settings.hosts_upstream:
            self._name = written_name(self._settings.mcp_app)
        if client not in BY_URL:
            return
        if not self._settings.allow_query_key:
            raise WrongClientError("ALLOW_QUERY_KEY is false, so no token may come in a URL")
        if "query" not in token.lanes:
            raise WrongClientError(
                f"{token.name} may not come in a URL; a token may if it is made with --query"
            )

    def snippet(self, client: str, value: str) -> str:
        """The snippet with this value."""
        return CLIENTS[client](self._settings.public_endpoint, value, slug(self._name))

    def remarks(self) -> Iterator[str]:
        """Sentences about the snippet that are no part of it."""
        if not self._settings.public_origin:
            yield (
                f"The snippet is for this machine ({self._settings.public_endpoint}); for others set PUBLIC_URL "
                "to the address by which they call the gate."
            )


def written_name(import_string: str) -> str:
    """The name of a server as it stands in its module: `mcp = FastMCP("its name")`.

    Only text is read: importing the module could start anything. UNNAMED if the name does not stand there so.
    """
    module, _, variable = import_string.partition(":")
    with suppress(OSError, ValueError, SyntaxError, ImportError):
        for statement in ast.parse(source_of(module)).body:
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            made = getattr(statement, "value", None)
            if isinstance(made, ast.Call) and variable in map(_written, targets):
                given = [word.value for word in made.keywords if word.arg == "name"]
                for argument in [*made.args[:1], *given]:
                    if _written(made.func) == "FastMCP" and isinstance(argument, ast.Constant):
                        return str(argument.value)
    return UNNAMED


def source_of(module: str) -> bytes:
    """The source of a module that may be hosted. Raises OSError or ImportError if there is none to read."""
    let_servers_be_found()
    folders, origin = None, None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            raise ImportError(module)
        folders, origin = spec.submodule_search_locations, spec.origin
    return Path(origin or "").read_bytes()


def _written(node: ast.AST | None) -> str:
    """The last name in `name` or `module.name`; empty for anything else."""
    return getattr(node, "id", getattr(node, "attr", ""))
