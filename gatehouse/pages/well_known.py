"""Discovery: the documents that tell a client without a token where it gets one (RFC 9728).

All URLs in them come from the settings, and nothing from a request. A request with a static token gets no document:
some clients would take that token to the authorization server, and open a browser, only because it is old.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.paths import ENDPOINT
from gatehouse.http.reply import Reply, json_reply, page_error
from gatehouse.identity.kinds import is_static
from gatehouse.records.loggers import logger_of
from gatehouse.records.record import as_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.request import Request

logger = logger_of("gate")

METADATA = b"/.well-known/oauth-protected-resource"

RESOURCES: Mapping[bytes, str] = {
    METADATA: ENDPOINT.decode(),
    METADATA + ENDPOINT: ENDPOINT.decode(),
    METADATA + ENDPOINT + b"/": f"{ENDPOINT.decode()}/",
}
"""The paths of the documents, and the endpoint that each is about: a client compares it with the URL that it was given
(RFC 9728 section 3.3)."""

MAX_HOSTS_TOLD = 4
"""How many foreign host names the log tells: anybody may invent some."""

MAX_ASKED_FIELDS = 32
"""How many names of fields a preflight gets back."""

ANY_PAGE = (b"Access-Control-Allow-Origin", b"*")
"""Any web page may read the answer."""

KEPT = (
    (b"Content-Type", b"application/json"),
    (b"Cache-Control", b"max-age=300"),
    (b"Vary", b"Authorization, X-API-Key"),  # with a static token in one it is another
)
"""The fields of a document of discovery: it may be kept for a while."""

_ALLOWED = b"GET, HEAD, OPTIONS"
_FIELD = re.compile(rb"[a-z0-9-]{1,64}")

STATIC_TOKEN = page_error(
    404,
    "not_found",
    "Nothing is here for a request with a static token, which goes to the MCP endpoint, /mcp, and nowhere else. If it is "
    "refused there, it is wrong, has expired or was revoked: set a good one, or remove the static token to sign in.",
    ANY_PAGE,
    reason="static-token",
)
METHOD_NOT_ALLOWED = replace(
    refusals.METHOD_NOT_ALLOWED, headers=((b"Allow", _ALLOWED), *json_reply(405, {}).headers)
)


def _sign_in(issuer: str, origin: str) -> str:
    at = f"{origin}{METADATA.decode()}/mcp"
    if issuer == origin:
        return f"People sign in, and apps register, at the gate itself, as {at} says."
    return (
        "The gate is no authorization server: people sign in, and apps register, at "
        f"{issuer}, as {at} says."
    )


class WellKnown:
    """The pages of the documents. Clients call the gate at `origin`, and sign in at `issuer`, which may be the same; `name` tells the server's own name once it is known."""

    paths = RESOURCES.keys()

    def __init__(
        self,
        origin: str,
        issuer: str,
        scopes: Callable[[], Sequence[str]],
        *,
        introspects: bool,
        name: Callable[[], str],
    ) -> None:
        self._origin, self._issuer, self._scopes = origin, issuer, scopes
        self._introspects = introspects
        self._name = name
        self._hosts_told: set[str] = set()
        self.elsewhere = page_error(
            404,
            "not_found",
            f"Nothing is here: the MCP endpoint is /mcp. {_sign_in(issuer, origin)} If the client came here with a static "
            "token, that is wrong, has expired or was revoked: set a good one, or remove it to sign in. If it came without, "
            f"its URL of this server must be {origin}{ENDPOINT.decode()}.",
            reason="not-found",
        )
        """The 404 of paths at which clients look for an authorization server, and of all others."""

    async def __call__(self, exchange: Exchange) -> Reply:
        request = exchange.request
        if request.method == "OPTIONS":
            return preflight(request)
        if request.method not in {"GET", "HEAD"}:
            return METHOD_NOT_ALLOWED
        self._tell_foreign_host(request)
        if is_static_in(request, introspects=self._introspects):
            return STATIC_TOKEN
        return self.document(RESOURCES[request.path])

    def document(self, endpoint: str) -> Reply:
        """The document about that spelling of the endpoint. Members without a value are left out (section 3.2)."""
        members = {
            "resource": self._origin + endpoint,
            "authorization_servers": [self._issuer],
            "scopes_supported": list(self._scopes()),
            "bearer_methods_supported": ["header"],
            "resource_name": self._name(),
            "resource_documentation": f"{self._origin}/",
        }
        told = json_reply(200, {name: value for name, value in members.items() if value})
        return replace(told, headers=(*KEPT, ANY_PAGE))

    def _tell_foreign_host(self, request: Request) -> None:
        """Tell the log once that clients use another name than PUBLIC_URL: they refuse a document about another host."""
        scheme, _, ours = self._origin.partition("://")
        usual = {"http": ":80", "https": ":443"}[scheme]
        fields = (request.value(b"host"), request.value(b"x-forwarded-host"))
        asked = [host.decode("latin-1").lower().removesuffix(usual) for host in fields if host]
        if not asked or ours in asked or len(self._hosts_told) >= MAX_HOSTS_TOLD:
            return
        if asked[0] not in self._hosts_told:
            self._hosts_told.add(asked[0])
            logger.warning(
                "a client asks at %s how to sign in, and the gate is at %s by its settings: clients refuse what they read "
                "there about another host. Give them that URL, or set PUBLIC_URL to theirs",
                as_word(asked[0]),
                self._origin,
            )


def is_static_in(request: Request, *, introspects: bool = False) -> bool:
    """True if the request carries a static token, good or not, or one kind of credential twice."""
    if request.credentials is None:  # nobody knows which of the two is meant
        return True
    return any(is_static(each, introspects=introspects) for each in request.credentials)


def preflight(request: Request, allowed: bytes = _ALLOWED) -> Reply:
    """The answer to a browser that asks which fields any page may send: each that has a plain name."""
    asked = b",".join(request.values.get(b"access-control-request-headers", ())).lower()
    names = [name.strip(b" \t") for name in asked.split(b",", MAX_ASKED_FIELDS)[:MAX_ASKED_FIELDS]]
    plain = [name for name in names if _FIELD.fullmatch(name)]
    return Reply(
        204,
        b"",
        (
            (b"Allow", allowed),
            ANY_PAGE,
            (b"Access-Control-Allow-Methods", allowed),
            (
                b"Access-Control-Allow-Headers",
                b", ".join(dict.fromkeys([b"mcp-protocol-version", *plain])),
            ),
            (b"Access-Control-Max-Age", b"600"),
        ),
    )
