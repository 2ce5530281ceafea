"""Where does a request go: decided on the raw bytes of the path, by exact match.

Nothing is normalised. A path that two programs could read in two ways (dot segments, `//`, an encoded
slash, an encoded letter, a parameter behind `;`) has no route at all, so that the judged path is the
forwarded path (RFC 3986 section 6 lists the ways to differ).
"""

from __future__ import annotations

import re
from enum import Enum, auto

ENDPOINT = b"/mcp"

# A segment: unreserved characters, sub-delims without ";", ":" and "@" (RFC 3986 section 3.3), and
# percent-encoded bytes that can be written in no other way: a space, quotes, brackets, non-ASCII.
_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,=:@-]"
_ENCODED = rb"%(?:2[02]|3[CEce]|5[BDEbde]|60|7[BCDbcd]|[89A-Fa-f][0-9A-Fa-f])"
_BELOW = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))(?:" + _PLAIN + rb"|" + _ENCODED + rb")+)+/?")


class Route(Enum):
    """The places of the gate. Everything but MCP is answered by the gate itself."""

    MCP = auto()
    LANDING = auto()
    HEALTH = auto()
    READY = auto()
    METRICS = auto()
    NOWHERE = auto()


_OWN = {
    b"/": Route.LANDING,
    b"/health": Route.HEALTH,
    b"/ready": Route.READY,
    b"/metrics": Route.METRICS,
}


def route_of(raw_path: bytes) -> Route:
    """The route of a raw path, as it stood on the request line, without the query.

    OAuth discovery (`/.well-known/` anywhere, `/register`, ...) has no route on purpose: the gate
    runs no OAuth, and a client that gets a clean 404 goes on with its own token.
    """
    if is_endpoint(raw_path):
        return Route.MCP
    if own := _OWN.get(raw_path):
        return own
    if b"/.well-known" in raw_path or not raw_path.startswith(b"/mcp/"):
        return Route.NOWHERE
    return Route.MCP if _BELOW.fullmatch(raw_path, len(ENDPOINT)) else Route.NOWHERE


def is_endpoint(raw_path: bytes) -> bool:
    """True for the MCP endpoint itself, False for anything below it."""
    return raw_path in (ENDPOINT, b"/mcp/")


def upstream_path(raw_path: bytes, endpoint: bytes) -> bytes:
    """The path to request from an upstream whose endpoint is `endpoint`.

    Both `/mcp` and `/mcp/` become exactly `endpoint`: a server that knows one spelling answers the
    other with a redirect, at which clients lose their token or their way.
    """
    below = raw_path[len(ENDPOINT) :]
    return endpoint if below in (b"", b"/") else endpoint.rstrip(b"/") + below
