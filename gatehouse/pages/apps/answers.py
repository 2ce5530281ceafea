"""How the endpoints of the gate's own authorization server take requests and answer: forms in, JSON out, from any page.

Apps that run in a browser ask them, too, so any page may read the answers (the Fetch standard's CORS). No cookie is ever
looked at here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse.http.reply import CLOSE_CONNECTION, Reply, json_reply
from gatehouse.pages.dashboard.forms import BadFormError, read_form
from gatehouse.pages.well_known import ANY_PAGE, STATIC_TOKEN, is_static_in, preflight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.request import Request

NO_CACHE = (b"Pragma", b"no-cache")
"""RFC 6749 section 5.1 wants it beside no-store."""

ALLOWED = b"POST, OPTIONS"

_BASIC = (b"WWW-Authenticate", b'Basic realm="apps"')


class BadParametersError(Exception):
    """The form cannot be used: the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.reply = reply


def oauth_answer(
    status: int, content: Mapping[str, object], *headers: tuple[bytes, bytes]
) -> Reply:
    """A good answer."""
    return json_reply(status, dict(content), NO_CACHE, ANY_PAGE, *headers)


def oauth_error(
    status: int, error: str, words: str, *headers: tuple[bytes, bytes], reason: str
) -> Reply:
    """An error (RFC 6749 section 5.2, RFC 7591 section 3.2.2): a code for programs, and words for their developers."""
    content = {"error": error, "error_description": words}
    return json_reply(status, content, NO_CACHE, ANY_PAGE, *headers, reason=reason)


def invalid_client(request: Request, words: str) -> Reply:
    """The error for a client that is none here. One that tried to prove itself by a secret gets a challenge with it (RFC 6749
    section 5.2), though no secret is ever good here: all clients are public.
    """
    challenge = [_BASIC] if brings_secret(request) else []
    return oauth_error(401, "invalid_client", words, *challenge, reason="client")


def brings_secret(request: Request) -> bool:
    """True if the client tries to prove itself by a secret in `Authorization` (RFC 6749 section 2.3.1)."""
    scheme = (request.value(b"authorization") or b"").partition(b" ")[0]
    return scheme.lower() == b"basic"


def too_many(seconds: float) -> Reply:
    """The error for an address that has sent too much that was no good, or more than it may."""
    retry = (b"Retry-After", b"%d" % max(1, math.ceil(seconds)))
    words = "Too many requests of this kind have come from this address. Wait, and try again."
    return oauth_error(429, "temporarily_unavailable", words, retry, reason="failures")


def before(request: Request) -> Reply | None:
    """The reply to a request that is no POST, or that brings a static token, which belongs to the MCP endpoint alone."""
    if request.method == "OPTIONS":
        return preflight(request, ALLOWED)
    if request.method != "POST":
        words = "This endpoint takes POST requests."
        allow = (b"Allow", ALLOWED)
        return oauth_error(405, "invalid_request", words, allow, reason="method-not-allowed")
    if is_static_in(request):
        return replace(STATIC_TOKEN, headers=(*STATIC_TOKEN.headers, CLOSE_CONNECTION))
    return None


async def read_parameters(exchange: Exchange) -> dict[str, str]:
    """The parameters in the form of the request, those without a value left out (RFC 6749 section 3.2).

    Raises BadParametersError, also for one that stands there twice, or ClientLeftError.
    """
    try:
        form = await read_form(exchange)
    except BadFormError as error:
        closing = [CLOSE_CONNECTION] if error.ends else []
        words = "The request must be a form (application/x-www-form-urlencoded) that can be read."
        reply = oauth_error(error.status, "invalid_request", words, *closing, reason=error.reason)
        raise BadParametersError(reply) from None
    found = {}
    for name in form.names:
        values = form.all(name)
        if len(values) > 1:
            words = "A parameter stands there twice, and nobody knows which one counts."
            raise BadParametersError(
                oauth_error(400, "invalid_request", words, reason="parameter-twice")
            )
        if values[0]:
            found[name] = values[0]
    return found
