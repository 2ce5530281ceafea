"""The call that a request makes, as far as MCP's header fields tell.

Since MCP 2026-07-28 a request repeats its method, and the name of the thing it is for, in header fields,
and the server refuses it if they differ from the body (SEP-2243). In older versions nobody compares
them, so they tell nothing.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gatehouse.http.fields import nominated

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers

Kind = Literal["tools", "resources", "prompts"]
"""The kinds of things that an MCP server offers."""

VERSION, METHOD, NAME = b"mcp-protocol-version", b"mcp-method", b"mcp-name"
MIRRORED = frozenset({VERSION, METHOD, NAME})
_LOOKED_AT = MIRRORED | {b"connection"}

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

LONGEST_SHOWN = 128

_PLAIN = re.compile(rb"[\x20-\x7e]*")
_ENCODED = re.compile(rb"=\?base64\?([A-Za-z0-9+/=]*)\?=")


class UnclearCallError(Exception):
    """The fields can be read in more than one way, or in none."""


@dataclass(frozen=True, slots=True)
class ToldCall:
    """A call as the header fields tell of it."""

    method: str
    name: str
    """The name of the called thing; empty if the method names nothing."""


def told_call(headers: Headers) -> ToldCall | None:
    """The call that the fields tell of, or None if their MCP version lets them tell nothing.

    A missing field is empty. Raises UnclearCallError for a field that comes twice, a field that the
    Connection field names (it would not reach the upstream, which would take the request for one of an
    older version), and a value that SEP-2243 does not allow: a lenient server may read another one in it.
    """
    spelled = [
        (name, lower, value) for name, value in headers if (lower := name.lower()) in _LOOKED_AT
    ]
    told = [(name, value) for _, name, value in spelled if name in MIRRORED]
    values = dict(told)
    if len(values) < len(told) or not MIRRORED.isdisjoint(nominated(spelled)):
        raise UnclearCallError
    if values.get(VERSION) != TELLING_VERSION:
        return None
    method = plain(values.get(METHOD, b""))
    return ToldCall(method, decoded(values.get(NAME, b"")) if method in KINDS else "")


def named_call(headers: Headers) -> tuple[str, str]:
    """Method and name of the tool or prompt, for the log: printable, short, empty if not told."""
    try:
        call = told_call(headers)
    except UnclearCallError:
        call = None
    if call is None:
        return "", ""
    # The URI of a resource is no name; it may hold private text, which no log needs.
    return printable(call.method), "" if call.method == "resources/read" else printable(call.name)


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
    if text.isprintable() and len(text) <= LONGEST_SHOWN:
        return text
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:LONGEST_SHOWN]
    )
    return shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 3] + "..."
