"""The gate about itself as an authorization server (RFC 8414): where apps register, ask and get tokens.

All URLs in it come from the settings, and nothing from a request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse.http.paths import AUTHORIZE, ENDPOINT, REGISTER, REVOKE, TOKEN
from gatehouse.http.reply import json_reply
from gatehouse.pages.well_known import (
    ANY_PAGE,
    KEPT,
    METHOD_NOT_ALLOWED,
    STATIC_TOKEN,
    is_static_in,
    preflight,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.reply import Reply

WELL_KNOWN = b"/.well-known/oauth-authorization-server"

PATHS = frozenset(
    {WELL_KNOWN, WELL_KNOWN + ENDPOINT, WELL_KNOWN + ENDPOINT + b"/", ENDPOINT + WELL_KNOWN}
)
"""The path of RFC 8414 section 3, and those at which clients look that have not read the server's own metadata yet."""


class ServerMetadata:
    """The pages. `origin` is the issuer, and `people_at` the origin of pages for people. `scopes` tells those in force."""

    paths = PATHS

    def __init__(self, origin: str, people_at: str, scopes: Callable[[], Sequence[str]]) -> None:
        self._origin, self._people_at, self._scopes = origin, people_at, scopes

    async def __call__(self, exchange: Exchange) -> Reply:
        request = exchange.request
        if request.method == "OPTIONS":
            return preflight(request)
        if request.method not in {"GET", "HEAD"}:
            return METHOD_NOT_ALLOWED
        return STATIC_TOKEN if is_static_in(request) else self.document()

    def document(self) -> Reply:
        """The document. Members without a value are left out (RFC 8414 section 3.2)."""
        at = self._origin
        members = {
            "issuer": at,
            "authorization_endpoint": self._people_at + AUTHORIZE.decode(),
            "token_endpoint": at + TOKEN.decode(),
            "registration_endpoint": at + REGISTER.decode(),
            "revocation_endpoint": at + REVOKE.decode(),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": list(self._scopes()),
            "client_id_metadata_document_supported": True,
            "authorization_response_iss_parameter_supported": True,
            "service_documentation": f"{at}/",
        }
        told = json_reply(200, {name: value for name, value in members.items() if value})
        return replace(told, headers=(*KEPT, ANY_PAGE))
