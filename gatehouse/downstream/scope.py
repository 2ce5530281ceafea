"""The ASGI scope of a request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from gatehouse.http.request import HOST

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope

    from gatehouse.downstream.http1 import RequestHead

HOLD_HEAD = "gate.hold_head"
"""In a scope's `state`: call it before `http.response.start` if the first of the body follows at once.
Both then leave in one packet. A server of the gate may leave it out."""

PROVEN = "gate.proven"
"""In a scope's `state`, and optional, too: call it with the id of the principal whose good credential the request has
shown. False if that principal holds as many connections as it may."""

NEEDS = "gate.needs"
"""In a scope's `state`, and optional: call it with the seconds that the exchange needs although its client has left.
Without, the connection soon cuts it."""

# RFC 9112 section 3.2.2. The authority is judged where a Host is; without one, it is an empty Host.
_ABSOLUTE_FORM = re.compile(rb"https?:(?://(?P<authority>[^/?]*))?(?P<rest>.*)", re.IGNORECASE)


def http_scope(
    head: RequestHead,
    client: tuple[str, int] | None,
    server: tuple[str, int] | None,
    state: dict[str, Any],
) -> HTTPScope:
    """The scope: the method as the client sent it, and HTTP whatever `Upgrade` says."""
    target, fields = head.target, head.fields
    if not target.startswith(b"/") and (absolute := _ABSOLUTE_FORM.fullmatch(target)):
        fields = [(b"Host", absolute["authority"] or b"")]
        fields += [pair for pair in head.fields if not _is_replaced(*pair)]
        target = _origin_form(head.method, absolute["rest"])
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": head.version.decode("ascii"),
        "method": cast("Any", head.method.decode("ascii")),
        "scheme": "http",  # TLS is the business of the front
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": fields,
        "client": client,
        "server": server,
        "state": cast("Any", state),
        "extensions": {},
    }


def _is_replaced(name: bytes, value: bytes) -> bool:
    """True for a Host field that an authority replaces. A malformed one stays, so that the request is refused."""
    return name.lower() == b"host" and HOST.fullmatch(value) is not None


def _origin_form(method: bytes, rest: bytes) -> bytes:
    """The target for the path and query of an absolute one (RFC 9112 sections 3.2.1 and 3.2.4)."""
    if rest.startswith(b"/"):
        return rest
    return b"*" if method == b"OPTIONS" and not rest else b"/" + rest
