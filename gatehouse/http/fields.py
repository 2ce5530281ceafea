"""Header fields: a list of (name, value) pairs of bytes, with their order, duplicates and spelling kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The field names, in lower case, that the values of all Connection fields name as hop-by-hop."""
    options = frozenset(option.strip().lower() for value in values for option in value.split(b","))
    return options - {
        b"content-length"
    }  # frames the message for every hop; naming it would only break that


def value_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The value of the first field of that name (in lower case), or None."""
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return None


def values_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    """The values of all fields of that name (in lower case)."""
    return [value for name, value in headers if name.lower() == wanted]


def has_no_controls(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if no value holds a control character other than a tab (RFC 9110 section 5.5)."""
    return not any(CONTROL.search(value) for _, value in headers)


def is_event_stream(headers: Headers) -> bool:
    """True for the fields of an event stream into which a comment can be written.

    Into one with a length or an encoding, only its maker can write.
    """
    kind = value_of(headers, b"content-type") or b""
    if kind.partition(b";")[0].strip().lower() != b"text/event-stream":
        return False
    fixed = {b"content-length", b"content-encoding"}
    return not any(name.lower() in fixed for name, _ in headers)
