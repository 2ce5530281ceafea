"""One request, read once at the border into one immutable value.

Nobody scans the header fields or the query again: every later step takes the `Request`. A malformed
request is read like any other, and carries the reply that refuses it. h11 refuses much itself (two lengths,
a bare CR, a space before the colon, ...). The rest, which h11 lets through although two programs may read it
in two ways, is refused here, and the connection is closed if its framing is in doubt (RFC 9112 section 6.1).
Nothing is repaired: a repaired request is one that the client did not send.
"""

from __future__ import annotations

import os
import re
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, cast

from gatehouse.http import refusals
from gatehouse.http.address import (
    FORWARDED_FOR,
    FORWARDED_PROTO,
    client_address,
    client_scheme,
)
from gatehouse.http.credentials import AmbiguousCredentialsError, credentials_in, without_key
from gatehouse.http.fields import CONTROL, connection_options
from gatehouse.http.mcp import SESSION, UnclearCallError, read_call
from gatehouse.http.paths import route_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypercorn.typing import HTTPScope

    from gatehouse.http.credentials import Credential
    from gatehouse.http.fields import Headers
    from gatehouse.http.limits import Limits
    from gatehouse.http.mcp import McpCall
    from gatehouse.http.reply import Reply

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Not TRACE, which echoes credentials, nor CONNECT, which asks for a tunnel (RFC 9110 section 9.3)."""

MAX_METHOD_LENGTH = 16
"""How much of a method is shown in a log."""

# RFC 3986 section 3.2.2, without user information: a name, an IPv4 address, or an IPv6 one in brackets.
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ids = count(int.from_bytes(os.urandom(8), "big"))  # two programs, or two runs, hardly meet


class Request(NamedTuple):
    """A request's head, and everything that is ever asked of it."""

    method: str
    path: bytes
    """As it stood on the request line, without the query."""
    query: bytes
    """As it stood there, without the `key` parameter."""
    fields: Headers
    """All header fields in their order, as the client spelled them."""
    values: Mapping[bytes, Sequence[bytes]]
    """The values of the header fields by name, in lower case."""
    connection_options: frozenset[bytes]
    """The fields that Connection names, in lower case: they are hop-by-hop (RFC 9110 section 7.6.1)."""
    scheme: bytes
    """The scheme that the client spoke: to the gate, or to the first of the trusted fronts."""
    client: str
    """The client's address: the other end of the connection, or the one that the trusted fronts name."""
    id: str
    """The client's X-Request-Id if that is well formed and came once, else 16 hex digits of our own."""
    length: int | None
    """The body's length in bytes, if the client announces it."""
    has_body: bool
    """True if a body is announced (RFC 9112 section 6.3)."""
    credentials: tuple[Credential, ...] | None
    """The credentials that the request presents; None if one kind came twice."""
    has_url_key: bool
    """True if a `key` parameter stood in the URL."""
    sessions: Sequence[bytes]
    """The values of Mcp-Session-Id that reach the upstream: none if Connection names that field. A client that keeps
    to the rules sends at most one."""
    call: McpCall | None
    """The MCP call that the fields name; None if they name none."""
    call_is_unclear: bool
    """True if the fields name a call in a way that can be read differently."""
    fault: Reply | None
    """The reply that refuses the request because it is malformed."""

    def value(self, name: bytes) -> bytes | None:
        """The value of the first field of that name (in lower case), or None."""
        values = self.values.get(name)
        return values[0] if values else None

    @property
    def shown_method(self) -> str:
        """The method for a log."""
        return self.method[:MAX_METHOD_LENGTH]

    @property
    def shown_path(self) -> str:
        """The path for a log."""
        return self.path.decode("ascii", "backslashreplace")

    @property
    def route(self) -> str:
        """The path as one of a few words."""
        return route_of(self.path)

    def __str__(self) -> str:
        """Method and path for a line of log: never the query."""
        return f"{self.shown_method} {self.shown_path}"

    def __repr__(self) -> str:
        """The same: no report of an error with the values of its variables gets a credential."""
        return f"<Request {self}>"


def read_request(scope: HTTPScope, limits: Limits, hops: int = 0) -> Request:
    """Read the head of a request. `hops` fronts stand between the client and the socket's other end.

    Raises nothing, whatever the client has sent: see `Request.fault`.
    """
    fields = cast("Headers", scope["headers"])  # Hypercorn's type says less than ASGI: it is a list
    values: dict[bytes, list[bytes]] = {}
    size = 0
    unclean = False
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
        size += len(name) + len(value) + 4  # ": " and CRLF
        # `X_Forwarded_For` is `X-Forwarded-For` to many a server behind (CGI's way of naming fields).
        if b"_" in name or CONTROL.search(value):
            unclean = True
    query, keys = without_key(scope["query_string"])
    options = connection_options(values.get(b"connection", ()))
    peer = scope["client"][0] if scope["client"] else "unknown"
    length = values.get(b"content-length", (b"",))[0]
    try:
        credentials = credentials_in(values, keys)
    except AmbiguousCredentialsError:
        credentials = None
    call, call_is_unclear = None, False
    try:
        call = read_call(values, options)
    except UnclearCallError:
        call_is_unclear = True
    return Request(
        method=scope["method"],
        path=scope["raw_path"],
        query=query,
        fields=fields,
        values=values,
        connection_options=options,
        scheme=client_scheme(
            scope["scheme"].encode("ascii"), values.get(FORWARDED_PROTO, ()), hops
        ),
        client=client_address(peer, values.get(FORWARDED_FOR, ()), hops),
        id=_id_in(values.get(b"x-request-id", ())),
        length=int(length) if length.isdigit() else None,
        has_body=b"transfer-encoding" in values or bool(length.strip(b"0")),
        credentials=credentials,
        has_url_key=bool(keys),
        sessions=() if SESSION in options else values.get(SESSION, ()),
        call=call,
        call_is_unclear=call_is_unclear,
        fault=_fault(scope, values, limits, count=len(fields), size=size, unclean=unclean),
    )


def _id_in(given: Sequence[bytes]) -> str:
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode("ascii")
    return f"{next(_ids) % 2**64:016x}"


def _fault(
    scope: HTTPScope,
    values: Mapping[bytes, Sequence[bytes]],
    limits: Limits,
    *,
    count: int,
    size: int,
    unclean: bool,
) -> Reply | None:
    """The reply that refuses a malformed request, or None if it is well formed."""
    if scope["http_version"] not in {"1.0", "1.1"}:
        return refusals.HTTP_VERSION_NOT_SUPPORTED
    if scope["method"] not in METHODS:
        return refusals.METHOD_UNKNOWN
    if len(scope["raw_path"]) + len(scope["query_string"]) > limits.target_bytes:
        return refusals.malformed(414)
    # A fragment never leaves a browser (RFC 9110 section 4.2.5).
    if unclean or b"#" in scope["query_string"]:
        return refusals.malformed(400)
    if any(not HOST.fullmatch(host) for host in values.get(b"host", ())):
        return refusals.malformed(400)
    if any(value.lower() != b"100-continue" for value in values.get(b"expect", ())):
        return refusals.EXPECTATION_FAILED
    if any(value.lower() == b"websocket" for value in values.get(b"upgrade", ())):
        return refusals.NO_WEBSOCKET  # other protocols may be ignored, and are
    if count > limits.header_fields or size > limits.header_bytes:
        return refusals.malformed(431)
    chunked = b"transfer-encoding" in values
    # RFC 9112 section 6.1: both framings at once, or chunks in HTTP/1.0, are how requests are smuggled.
    smuggles = chunked and (b"content-length" in values or scope["http_version"] == "1.0")
    # RFC 6454 section 7.3: of two origins one would be judged, and the other one read.
    if smuggles or len(values.get(b"origin", ())) > 1:
        return refusals.malformed(400)
    return None
