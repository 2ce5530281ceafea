"""Where does a request go: decided on the raw bytes of the path, by exact match.

Nothing is normalised. A path that two programs could read in two ways (dot segments, `//`, an encoded
slash, an encoded letter, a parameter behind `;`) leads nowhere, so that the judged path is the
forwarded path (RFC 3986 section 6 lists the ways to differ).
"""

from __future__ import annotations

import re

ENDPOINT = b"/mcp"

# A segment: unreserved characters, sub-delims without ";", ":" and "@" (RFC 3986 section 3.3), and
# percent-encoded bytes that can be written in no other way: a space, quotes, brackets, non-ASCII.
_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,=:@-]"
_ENCODED = rb"%(?:2[02]|3[CEce]|5[BDEbde]|60|7[BCDbcd]|[89A-Fa-f][0-9A-Fa-f])"
_BELOW = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))(?:" + _PLAIN + rb"|" + _ENCODED + rb")+)+/?")


def is_for_upstream(raw_path: bytes) -> bool:
    """True if a raw path, as it stood on the request line, leads to the upstream: the endpoint, or below it."""
    if is_endpoint(raw_path):
        return True
    if b"/.well-known" in raw_path or not raw_path.startswith(b"/mcp/"):
        return False
    return _BELOW.fullmatch(raw_path, len(ENDPOINT)) is not None


def is_endpoint(raw_path: bytes) -> bool:
    """True for the MCP endpoint itself, False for anything below it."""
    return raw_path in (ENDPOINT, b"/mcp/")


def upstream_target(raw_path: bytes, query: bytes, endpoint: bytes) -> bytes:
    """The path and query to request from an upstream whose endpoint is `endpoint`.

    Both `/mcp` and `/mcp/` become exactly `endpoint`: a server that knows one spelling answers the
    other with a redirect, at which clients lose their token or their way.
    """
    below = raw_path[len(ENDPOINT) :]
    path = endpoint if below in (b"", b"/") else endpoint.rstrip(b"/") + below
    return b"%s?%s" % (path, query) if query else path
