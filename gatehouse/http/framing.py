"""Is this request well formed: refuse requests that h11 lets through, but that two programs may read in two ways.

h11 refuses much itself (two lengths, a bare CR, a space before the colon, ...). The rest is refused
here, before anything else is decided, and the connection is closed if its framing is in doubt (RFC 9112
section 6.1). Nothing is repaired: a repaired request is one that the client did not send.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.fields import CONTROL

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope

    from gatehouse.http.limits import Limits
    from gatehouse.http.refusals import Reply

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Not TRACE, which echoes credentials, nor CONNECT, which asks for a tunnel (RFC 9110 section 9.3)."""

# RFC 3986 section 3.2.2, without user information: a name, an IPv4 address, or an IPv6 one in brackets.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def malformation(scope: HTTPScope, limits: Limits) -> Reply | None:
    """The reply that refuses a malformed request, or None if it is well formed."""
    if scope["http_version"] not in {"1.0", "1.1"}:
        return refusals.HTTP_VERSION_NOT_SUPPORTED
    if scope["method"] not in METHODS:
        return refusals.METHOD_UNKNOWN
    if len(scope["raw_path"]) + len(scope["query_string"]) > limits.target_bytes:
        return refusals.malformed(414)
    if b"#" in scope["query_string"]:  # a fragment never leaves a browser (RFC 9110 section 4.2.5)
        return refusals.malformed(400)
    return _fields_malformation(scope, limits)


def _fields_malformation(scope: HTTPScope, limits: Limits) -> Reply | None:
    fields = 0
    size = 0
    framings: set[bytes] = set()
    origins = 0
    for name, value in scope["headers"]:
        fields += 1
        size += len(name) + len(value) + 4  # ": " and CRLF
        # `X_Forwarded_For` is `X-Forwarded-For` to many a server behind (CGI's way of naming fields).
        if b"_" in name or CONTROL.search(value):
            return refusals.malformed(400)
        name = name.lower()
        if name in {b"content-length", b"transfer-encoding"}:
            framings.add(name)
        elif name == b"origin":
            origins += 1
        elif name == b"host" and not _HOST.fullmatch(value):
            return refusals.malformed(400)
        elif name == b"expect" and value.lower() != b"100-continue":
            return refusals.EXPECTATION_FAILED
        elif name == b"upgrade" and value.lower() == b"websocket":  # others may be ignored, and are
            return refusals.NO_WEBSOCKET
    if fields > limits.header_fields or size > limits.header_bytes:
        return refusals.malformed(431)
    # RFC 9112 section 6.1: both framings at once, or chunks in HTTP/1.0, are how requests are smuggled.
    smuggles = len(framings) > 1 or (
        b"transfer-encoding" in framings and scope["http_version"] == "1.0"
    )
    if smuggles or origins > 1:  # RFC 6454 section 7.3: one would be judged, and the other one read
        return refusals.malformed(400)
    return None
