"""Where does a request go: decided on the raw bytes of the path, by exact match.

Nothing is normalised. A path that two programs could read in two ways (dot segments, `//`, an encoded
slash, an encoded letter, a parameter behind `;`) leads nowhere, so that the judged path is the
forwarded path (RFC 3986 section 6 lists the ways to differ).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDPOINT = b"/mcp"

DASHBOARD = b"/dashboard"
"""The first of the dashboard's pages; all others are below it."""

NOW = DASHBOARD + b"/now.json"
"""The news for that page, which asks for them every two seconds."""

AUTHORIZE = b"/authorize"
"""Where an app sends the browser of a person whom it wants to act for (RFC 6749 section 3.1)."""

RESUME = AUTHORIZE + b"/resume"
"""Where the browser comes back to when the person has signed in meanwhile."""

DECIDE = AUTHORIZE + b"/decide"
"""Where the person's yes or no goes."""

TOKEN, REVOKE, REGISTER = b"/token", b"/revoke", b"/register"
"""Where apps ask themselves (RFC 6749 section 3.2, RFC 7009, RFC 7591)."""

ROUTES = {
    ENDPOINT: "mcp",
    ENDPOINT + b"/": "mcp",
    b"/": "landing",
    b"/health": "health",
    b"/ready": "ready",
    b"/metrics": "metrics",
    NOW: "dashboard-now",
    **dict.fromkeys((AUTHORIZE, RESUME, DECIDE), "authorize"),
    TOKEN: "token",
    REVOKE: "revoke",
    REGISTER: "register",
}
"""The words for paths in records: the endpoint, and the pages. Of all others see `route_of`."""

RESERVED = frozenset(
    {
        *(b"/", b"/health", b"/ready", b"/metrics"),
        *(REGISTER, AUTHORIZE, RESUME, DECIDE, TOKEN, REVOKE, b"/introspect"),
        *(b"/oauth", b"/oauth2", b"/sse", b"/messages"),
    }
)
"""Paths that stay the gate's own: its pages, those of OAuth (RFC 8414, 7591, 7009, 7662), and those of MCP's old
transport, which has no place for a token's rules. All that is below the last four is reserved, too."""

# A segment: unreserved characters, sub-delims without ";", ":" and "@" (RFC 3986 section 3.3), and
# percent-encoded bytes that can be written in no other way: a space, quotes, brackets, non-ASCII. Not among the
# last: longer forms of UTF-8 than needed (RFC 3629 section 10), which old decoders read as `.` or `/`.
_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,=:@-]"
_ENCODED = rb"(?!%[Cc][01]%[89ABab]|%[Ee]0%[89]|%[Ff]0%8)%(?:2[02]|3[CEce]|5[BDEbde]|60|7[BCDbcd]|[89A-Fa-f][0-9A-Fa-f])"
_BELOW = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))(?:" + _PLAIN + rb"|" + _ENCODED + rb")+)+/?")


class ExposedPath(NamedTuple):
    """A path of the server's outside its endpoint that passes, too."""

    path: bytes
    """As it stands on a request line. If it ends in `/*`, everything below it."""
    needs_token: bool

    @property
    def prefix(self) -> bytes:
        """The beginning of all paths that are meant, if there may be several; else nothing."""
        return self.path[:-1] if self.path.endswith(b"/*") else b""

    def may_mean(self, raw_path: bytes) -> bool:
        """True if some server might take the raw path for this one, or for one below it if those are meant."""
        asked, named = folded(raw_path), folded(self.prefix or self.path)
        return is_at_or_below(asked, named) if self.prefix else asked == named

    def __str__(self) -> str:
        return self.path.decode("ascii")


class ExposedPaths:
    """The paths that pass, each by itself or with what is below it. The longest that fits counts.

    None leads to the server's `endpoint`, to which `/mcp` leads, with its rules and records. Below an open path, one
    that needs a token needs it in every spelling: servers differ in whether `/Admin` and `/admin/` are `/admin`.
    """

    def __init__(self, paths: Iterable[ExposedPath], endpoint: bytes = ENDPOINT) -> None:
        self._endpoint = folded(endpoint)
        self._all = sorted(paths, key=lambda each: len(each.path), reverse=True)
        self._exact = {each.path: each for each in self._all if not each.prefix}
        self._prefixes = [each for each in self._all if each.prefix]

    @property
    def open(self) -> list[ExposedPath]:
        """Those that need no token."""
        return [each for each in self._all if not each.needs_token]

    def find(self, raw_path: bytes) -> ExposedPath | None:
        """The one that a raw path, as it stood on the request line, falls under; None if it leads nowhere."""
        if not self._all or is_reserved(raw_path) or not is_plain(raw_path):
            return None
        if self._endpoint and is_at_or_below(folded(raw_path), self._endpoint):
            return None
        if found := self._exact.get(raw_path):
            return found
        below = (each for each in self._prefixes if raw_path.startswith(each.prefix))
        found = next((each for each in below if raw_path != each.prefix), None)
        if found is None or found.needs_token:
            return found
        narrower = self._all[: self._all.index(found)]
        guards = (each for each in narrower if each.needs_token and each.may_mean(raw_path))
        return next(guards, found)

    def needs_no_token(self, raw_path: bytes) -> bool:
        """True if the path is open to everybody."""
        found = self.find(raw_path)
        return found is not None and not found.needs_token


def folded(path: bytes) -> str:
    """A path as the most lenient server reads it: upper and lower case are one, and so is a slash at its end."""
    return unquote(path.decode("ascii")).casefold().rstrip("/")


def is_at_or_below(path: str, above: str) -> bool:
    """True if a folded path is `above`, or below it."""
    return path == above or path.startswith(f"{above}/")


def is_plain(raw_path: bytes) -> bool:
    """True if nobody can read the path in two ways."""
    return _BELOW.fullmatch(raw_path) is not None


def is_old_transport(raw_path: bytes) -> bool:
    """True for the usual paths of MCP's HTTP+SSE transport, which the gate does not carry."""
    return raw_path.removesuffix(b"/") in {b"/sse", b"/messages"}


def is_reserved(raw_path: bytes) -> bool:
    """True if the path is the gate's own, the endpoint or below it."""
    if b"/.well-known" in raw_path or (raw_path.removesuffix(b"/") or raw_path) in RESERVED:
        return True
    first = raw_path[: raw_path.find(b"/", 1)] if raw_path.count(b"/") > 1 else raw_path
    return first in {ENDPOINT, b"/oauth", b"/oauth2", b"/sse", b"/messages"}


def is_for_upstream(raw_path: bytes) -> bool:
    """True if a raw path, as it stood on the request line, leads to the upstream: the endpoint, or below it."""
    if is_endpoint(raw_path):
        return True
    if b"/.well-known" in raw_path or not raw_path.startswith(b"/mcp/"):
        return False
    return _BELOW.fullmatch(raw_path, len(ENDPOINT)) is not None


def route_of(raw_path: bytes) -> str:
    """The word for the path in records, one of a few: clients choose paths."""
    if known := ROUTES.get(raw_path):
        return known
    if is_dashboard(raw_path):
        return "dashboard"
    return "mcp" if is_for_upstream(raw_path) else "other"


def is_dashboard(raw_path: bytes) -> bool:
    """True for the dashboard, and for all that is below it."""
    return raw_path == DASHBOARD or raw_path.startswith(DASHBOARD + b"/")


def is_endpoint(raw_path: bytes) -> bool:
    """True for the MCP endpoint itself, False for anything below it."""
    return raw_path in (ENDPOINT, b"/mcp/")


def upstream_target(raw_path: bytes, query: bytes, endpoint: bytes) -> bytes:
    """The path and query to request from an upstream whose endpoint is `endpoint`.

    Both `/mcp` and `/mcp/` become exactly `endpoint`: a server that knows one spelling answers the
    other with a redirect, at which clients lose their token or their way. An exposed path stays as it is.
    """
    path, below = raw_path, raw_path[len(ENDPOINT) :]
    if is_endpoint(raw_path):
        path = endpoint
    elif raw_path.startswith(ENDPOINT) and below.startswith(b"/"):
        path = endpoint.rstrip(b"/") + below
    return b"%s?%s" % (path, query) if query else path
