"""Checks of what web pages may do: foreign origins, preflights, foreign host names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.visit import lets_in
from gatehouse.http.address import is_nearby

if TYPE_CHECKING:
    from gatehouse.doctor.visit import Visit

FOREIGN = "doctor.invalid"
"""A name that nobody has (RFC 6761)."""

ORIGIN = f"https://{FOREIGN}"


async def origin(visit: Visit) -> list[Finding]:
    """A request of a web page from elsewhere."""
    answer = await visit.knock(("Origin", ORIGIN))
    seen = f"a request of a foreign web page gets {answer.status}"
    return [found("origin-open", seen) if lets_in(answer) else fine(seen)]


async def preflight(visit: Visit) -> list[Finding]:
    """A browser's question before it sends such a request."""
    asked = (
        ("Origin", ORIGIN),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
    )
    answer = await visit.ask("OPTIONS", *asked, token="")
    allowed = answer.get("access-control-allow-origin")
    with_credentials = answer.get("access-control-allow-credentials").lower() == "true"
    seen = f"a preflight from a foreign page gets {answer.status}"
    if allowed not in {"*", ORIGIN}:
        return [fine(f"{seen}, and is not allowed")]
    every = "every origin is allowed" if allowed == "*" else "the foreign origin is allowed"
    if with_credentials:
        return [found("cors-credentials", f"{seen}: {every}, with credentials")]
    return [found("cors-foreign", f"{seen}: {every}")]


async def host(visit: Visit) -> list[Finding]:
    """A request for a host name that is not the server's.

    A front may hand it to a server of somebody else's, so the token goes along to a near one only.
    """
    is_near = visit.target.scheme == "http" and is_nearby(visit.target.host)
    answer = await visit.knock(("Host", FOREIGN), token=None if is_near else "")
    seen = f"a request for the host {FOREIGN} gets {answer.status}"
    # Over TLS a browser would have to accept the certificate for that name first.
    exposed = lets_in(answer) and visit.target.scheme == "http"
    return [found("host-open", seen) if exposed else fine(seen)]
