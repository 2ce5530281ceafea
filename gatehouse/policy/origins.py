"""Check where a request comes from: `Host` against DNS rebinding, `Origin` against foreign web pages.

Any web page can make a browser send requests to this machine. It cannot make the browser lie about the
page's own origin, or about its host name once that points here (MCP 2026-07-28, transports, «Security
Warning»). A program that is no browser sends no Origin, and passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gatehouse.http import refusals
from gatehouse.http.address import is_loopback
from gatehouse.http.credentials import CARRIERS
from gatehouse.http.paths import is_endpoint
from gatehouse.http.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.fields import Headers
    from gatehouse.http.request import Request

# The fields that MCP clients in a browser send and read (MCP, transports; every revision so far).
_ALLOW_HEADERS = b", ".join(
    [
        *(carrier.name for carrier in CARRIERS),
        b"Content-Type, Accept, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name",
    ]
)
_EXPOSE_HEADERS = b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"
_PREFLIGHT_SECONDS = b"600"
_ALL_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"

# An origin is a scheme, a host and perhaps a port (RFC 6454 section 6.2); the other parts of a URL,
# which parsers read in different ways, would only help a host to pose as another.
AUTHORITY = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""A host in lower case, perhaps with a port, and nothing that two programs could read in two ways."""

CORS = b"access-control-"
"""The beginning of all field names of the CORS protocol."""


# The labels in the place of `*.`, which stands for one or more.
_BELOW = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class Origins:
    """The hosts and origins that are let in, in lower case; hosts are without port and brackets.

    `*.example.com` stands for all names below example.com. Without hosts, any may come, or with `loopback`, any
    name of this machine. The origin `public`, if there is one, and its host may come, too.
    """

    def __init__(
        self, hosts: Iterable[str], origins: Iterable[str], *, loopback: bool, public: str = ""
    ) -> None:
        self._loopback = loopback
        self.public = public
        self._public_host = hostname(public.encode("ascii"))
        self._hosts, self._below = _parted(hosts)
        self._origins, self._origins_below = _parted([*origins, *([public] if public else [])])
        self._named = bool(self._hosts or self._below)

    def knows(self, host: bytes) -> bool:
        """True if clients may call the gate by this value of a Host field."""
        name = hostname(b"//" + host)
        if name and name.removesuffix(".") == self._public_host:
            return True
        if self._named:
            return name in self._hosts or _is_among(
                name.removesuffix("."), self._hosts, self._below
            )
        return not self._loopback or is_loopback(name)

    def refusal(self, request: Request) -> Reply | None:
        """The reply that refuses a wrong host name or a foreign page, or None."""
        host = request.value(b"host") or b""
        if not self.knows(host):
            return refusals.MISDIRECTED
        origin = request.value(b"origin")
        if origin is None or self._allows(host, origin):
            return None
        return refusals.FOREIGN_ORIGIN

    def _allows(self, host: bytes, origin: bytes) -> bool:
        text = origin.decode("latin-1").lower()
        if text in self._origins:
            return True
        scheme, _, authority = text.partition("://")
        name, colon, port = authority.partition(":")
        plain = f"{scheme}://{name.removesuffix('.')}{colon}{port}"
        if _is_among(plain, self._origins, self._origins_below):
            return True
        if scheme not in {"http", "https"} or not AUTHORITY.fullmatch(authority):
            return False
        if self._loopback and is_loopback(hostname(b"//" + authority.encode("latin-1"))):
            return True
        usual = {"http": ":80", "https": ":443"}[scheme]
        here = host.decode("latin-1").lower()
        return authority.removesuffix(usual) == here.removesuffix(usual)


def _parted(names: Iterable[str]) -> tuple[frozenset[str], list[tuple[str, str]]]:
    """The names without `*.`, and the beginning and the end of the others."""
    names = list(names)
    exact = frozenset(name for name in names if "*." not in name)
    return exact, [
        (first, f".{last}") for first, sign, last in (n.partition("*.") for n in names) if sign
    ]


def _is_among(name: str, exact: frozenset[str], below: list[tuple[str, str]]) -> bool:
    """True if the name is allowed as it is, or by its beginning and end."""
    return name in exact or any(
        name.startswith(first)
        and name.endswith(last)
        and _BELOW.fullmatch(name[len(first) : -len(last)])
        for first, last in below
    )


def hostname(url: bytes) -> str:
    """The host of `//host:port`, in lower case and without brackets; empty if there is none."""
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def cors_fields(request: Request) -> Headers:
    """The fields that let a page of an allowed origin read an answer (Fetch Standard, «CORS protocol»)."""
    origin = request.value(b"origin")
    if origin is None:
        return []
    return [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Expose-Headers", _EXPOSE_HEADERS),
        (b"Vary", b"Origin"),
    ]


def preflight(request: Request) -> Reply | None:
    """The answer to a browser that asks, without credentials, which fields an allowed origin may send.

    None for any other request. Nobody knows the names of `Mcp-Param-*` fields beforehand, so each requested
    name with that beginning is allowed.
    """
    asks = b"origin" in request.values and request.value(b"access-control-request-method")
    if request.method != "OPTIONS" or not asks:
        return None
    requested = request.value(b"access-control-request-headers") or b""
    names = [name.strip() for name in requested.split(b",")]
    methods = b"GET, POST, DELETE" if is_endpoint(request.path) else _ALL_METHODS
    parameters = [name for name in names if name.lower().startswith(b"mcp-param-")]
    return Reply(
        204,
        b"",
        (
            (b"Access-Control-Allow-Methods", methods),
            (b"Access-Control-Allow-Headers", b", ".join([_ALLOW_HEADERS, *parameters])),
            (b"Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        ),
    )
