"""Which header fields pass, in both directions.

Everything end-to-end passes unchanged. Hop-by-hop fields are dropped (RFC 9110 section 7.6.1), and so are
those by which a client could pose as somebody else, or ask for another path than the judged one. Fields of our
own are added last, so that nothing a client sends can remove them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http.credentials import CREDENTIAL_FIELDS
from gatehouse.http.fields import connection_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.fields import Headers
    from gatehouse.http.front_marks import FrontMarks
    from gatehouse.http.request import Request

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
"""Tells the upstream the name of the request's principal: always an upstream that we host, another one only if there
may be more than one."""

KIND_HEADER = b"X-Gate-Kind"
"""Tells an upstream that is told principals what kind each is: token, oauth or front. Only if there are others than
tokens."""

CALLER_HEADER = b"X-Gate-Caller"
"""Tells an upstream that we host the id of a principal that is no static token, and which grants the request has (see
`identity/callers.py`)."""

REQUEST_ID_HEADER = b"X-Gate-Request-Id"
"""Tells the hosted upstream the request's id, for the log (see `hosting`)."""

VIA = (b"Via", b"1.1 mcp-gate")
"""RFC 9110 section 7.6.3."""

# Replaced by ours, or void once forwarded.
_OURS = frozenset(
    name.lower()
    for name in (SECRET_HEADER, PRINCIPAL_HEADER, KIND_HEADER, CALLER_HEADER, REQUEST_ID_HEADER)
)
# Some servers and libraries take the path from these (IIS, PHP frameworks), and the gate has judged another one.
_OTHER_PATHS = frozenset({b"x-original-url", b"x-rewrite-url"})
_REQUEST_ONLY = frozenset({b"host", b"expect", b"forwarded", b"x-real-ip"}) | _OTHER_PATHS | _OURS
NOT_FORWARDED = HOP_BY_HOP | CREDENTIAL_FIELDS | _REQUEST_ONLY
"""The fields of a client's request that never reach the upstream, in lower case."""


def request_headers(
    request: Request,
    *,
    host: bytes,
    public: tuple[bytes, bytes],
    marks: FrontMarks | None = None,
) -> Headers:
    """The fields to send to the upstream that is called `host`; clients call the gate by the scheme and authority
    of `public`. `marks` of a signed front go no further.

    The body keeps its framing: a length stays a length, chunked stays chunked, and never both (RFC 9112
    section 6.3).
    """
    dropped = NOT_FORWARDED | request.connection_options
    chunked = b"transfer-encoding" in request.values
    if chunked:
        dropped |= {b"content-length"}
    forwarded: Headers = [(b"Host", host)]
    for pair in request.fields:
        name = pair[0].lower()
        if name not in dropped and not name.startswith(b"x-forwarded-"):
            forwarded.append(pair)
    if marks is not None and marks.may_be_among(request.values):
        forwarded = marks.taken_off(forwarded)
    if chunked:
        forwarded.append((b"Transfer-Encoding", b"chunked"))
    scheme, authority = public
    forwarded += [
        (b"X-Forwarded-For", request.client.encode("ascii")),
        (b"X-Forwarded-Host", authority),
        (b"X-Forwarded-Proto", scheme),
        VIA,
    ]
    return forwarded


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The fields to send to the client for an upstream's `headers`."""
    spelled = [(pair[0].lower(), pair) for pair in headers]
    dropped = HOP_BY_HOP | connection_options(
        value for name, (_, value) in spelled if name == b"connection"
    )
    if any(name == b"transfer-encoding" for name, _ in spelled):
        dropped |= {b"content-length"}  # RFC 9112 section 6.3: it does not count then
    return [pair for name, pair in spelled if name not in dropped]
