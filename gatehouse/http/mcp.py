"""MCP's header fields, and the call that they name.

Since MCP 2026-07-28 a request repeats its method, and the name of the thing it is for, in header fields,
and the server refuses it if they differ from the body (SEP-2243). In older versions nobody compares
them, so they tell nothing.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["tools", "resources", "prompts"]
"""The kinds of things that an MCP server offers."""

SESSION = b"mcp-session-id"
VERSION, METHOD, NAME = b"mcp-protocol-version", b"mcp-method", b"mcp-name"
MIRRORED = frozenset({VERSION, METHOD, NAME})

TELLING_VERSION = b"2026-07-28"
"""The MCP version whose servers compare the fields with the body. There is one so far."""

KINDS: dict[str, Kind] = {
    "prompts/get": "prompts",
    "resources/read": "resources",
    "tools/call": "tools",
}
"""The kind of thing that Mcp-Name names, by method. A resource's name is its URI."""

TASK_METHODS = frozenset({"tasks/cancel", "tasks/get", "tasks/result", "tasks/update"})
"""The methods that name a task. `tasks/cancel` and `tasks/get` are in every version that has tasks, the others in
one each."""

TASK_LIST = "tasks/list"
"""MCP 2025-11-25 has it: all tasks of the caller."""

MAX_SHOWN_LENGTH = 128
"""How many characters of a client's word are shown."""

_PLAIN = re.compile(rb"[\x20-\x7e]*")
_ENCODED = re.compile(rb"=\?base64\?([A-Za-z0-9+/=]*)\?=")


class UnclearCallError(Exception):
    """The fields can be read in more than one way, or in none."""


class McpCall(NamedTuple):
    """A call as the header fields name it."""

    method: str
    name: str
    """The name of the called thing; empty if the method names nothing."""

    @property
    def for_log(self) -> tuple[str, str]:
        """Method, and name of the tool or prompt, printable and short.

        The URI of a resource is no name; it may hold private text, which no log needs.
        """
        name = "" if self.method == "resources/read" else printable(self.name)
        return printable(self.method), name


def read_call(
    values: Mapping[bytes, Sequence[bytes]], connection_options: frozenset[bytes]
) -> McpCall | None:
    """The call that the fields name, or None if their MCP version lets them name nothing.

    Takes the values of the header fields by name (in lower case), and the names in Connection. A missing
    field is empty. Raises UnclearCallError for a field that comes twice, a field that the Connection field
    names (it would not reach the upstream, which would take the request for one of an older version), and a
    value that SEP-2243 does not allow: a lenient server may read another one in it.
    """
    told = [values[name] for name in MIRRORED if name in values]
    if any(len(given) > 1 for given in told) or not MIRRORED.isdisjoint(connection_options):
        raise UnclearCallError
    version, method_field, name = (
        values.get(field, (b"",))[0] for field in (VERSION, METHOD, NAME)
    )
    if version != TELLING_VERSION:
        return None
    method = plain(method_field)
    return McpCall(method, decoded(name) if method in KINDS else "")


def plain(value: bytes) -> str:
    """A value of printable ASCII. Raises UnclearCallError for any other."""
    if not _PLAIN.fullmatch(value):
        raise UnclearCallError
    return value.decode("ascii")


def decoded(value: bytes) -> str:
    """A value that is plain or `=?base64?...?=`, the base64 of UTF-8. Raises UnclearCallError."""
    if not value.startswith(b"=?"):
        return plain(value)
    encoded = _ENCODED.fullmatch(value)
    if encoded is None:
        raise UnclearCallError
    try:
        text = base64.b64decode(encoded[1], validate=True)
        if (
            base64.b64encode(text) != encoded[1]
        ):  # bits to spare at its end: not what anybody encodes
            raise UnclearCallError
        return text.decode()
    except ValueError:  # of either decoder
        raise UnclearCallError from None


def printable(text: str) -> str:
    """`text` fit for a line of log, or for a message: nothing unprintable, at most 128 characters."""
    if text.isprintable() and len(text) <= MAX_SHOWN_LENGTH:
        return text
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:MAX_SHOWN_LENGTH]
    )
    return shown if len(shown) <= MAX_SHOWN_LENGTH else shown[: MAX_SHOWN_LENGTH - 3] + "..."
