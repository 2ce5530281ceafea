"""Which header fields pass, in both directions.

Header fields are a list of (name, value) pairs of bytes, with their order, their duplicates and the
spelling of their names kept: everything end-to-end passes unchanged. Hop-by-hop fields are dropped
(RFC 9110 section 7.6.1), and so are those by which a client could pose as somebody else. Fields of
our own are added last, so that nothing a client sends can remove them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gatehouse.http.credentials import CREDENTIAL_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",  # RFC 7540 section 3.2.1: belongs to an Upgrade
    }
)

SECRET_HEADER = b"X-Gate-Secret"
"""Tells the hosted upstream that a request comes from the gate (see `hosting`)."""

PRINCIPAL_HEADER = b"X-Gate-Principal"
"""Tells the upstream the name of the request's token: always an upstream that we host, another one only if
tokens have names."""

# Replaced by ours, or void once forwarded.
_OURS = frozenset({SECRET_HEADER.lower(), PRINCIPAL_HEADER.lower()})
_REQUEST_ONLY = frozenset({b"host", b"expect", b"forwarded", b"x-real-ip"}) | _OURS
_NOT_FORWARDED = HOP_BY_HOP | CREDENTIAL_HEADERS | _REQUEST_ONLY


def request_headers(
    headers: Iterable[tuple[bytes, bytes]], *, host: bytes, peer: bytes, scheme: bytes
) -> Headers:
    """The fields to send upstream for a client's `headers`.

    `host` is the upstream's authority, `peer` the address of the socket's other end, `scheme` the one
    the client spoke to us. The body keeps its framing: a length stays a length, chunked stays chunked,
    and never both (RFC 9112 section 6.3).
    """
    spelled = [(name, name.lower(), value) for name, value in headers]
    dropped = _NOT_FORWARDED | nominated(spelled)
    original_host = b""
    chunked = False
    for _, name, value in spelled:
        if name == b"host":
            original_host = value
        elif name == b"transfer-encoding":
            chunked = True
    forwarded: Headers = [(b"Host", host)]
    for spelling, name, value in spelled:
        if name in dropped or name.startswith(b"x-forwarded-"):
            continue
        if chunked and name == b"content-length":
            continue
        forwarded.append((spelling, value))
    if chunked:
        forwarded.append((b"Transfer-Encoding", b"chunked"))
    forwarded += [
        (b"X-Forwarded-For", peer),
        (b"X-Forwarded-Host", original_host),
        (b"X-Forwarded-Proto", scheme),
        (b"Via", b"1.1 mcp-gate"),  # RFC 9110 section 7.6.3
    ]
    return forwarded


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The fields to send to the client for an upstream's `headers`."""
    spelled = [(name, name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | nominated(spelled)
    if any(name == b"transfer-encoding" for _, name, _ in spelled):
        dropped |= {b"content-length"}  # RFC 9112 section 6.3: it does not count then
    return [(spelling, value) for spelling, name, value in spelled if name not in dropped]


def nominated(spelled: Iterable[tuple[bytes, bytes, bytes]]) -> frozenset[bytes]:
    """The field names that all Connection fields together name as hop-by-hop.

    Takes triples: the name as spelled, the name in lower case, the value.
    """
    return frozenset(
        token.strip().lower()
        for _, name, value in spelled
        if name == b"connection"
        for token in value.split(b",")
    ) - {b"content-length"}  # frames the message for every hop; naming it would only break that


def value_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The value of the first field of that name (in lower case), or None."""
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return None


def values_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    """The values of all fields of that name (in lower case)."""
    return [value for name, value in headers if name.lower() == wanted]


def sound(headers: Iterable[tuple[bytes, bytes]]) -> bool:
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


def announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a request with these fields announces a body (RFC 9112 section 6.3)."""
    for name, value in headers:
        name = name.lower()
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False
