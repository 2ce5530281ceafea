"""Tells the hosted server the caller of a request, in the terms of its own libraries.

The MCP SDK and FastMCP keep callers apart by the authenticated principal of a request alone: it decides who
may use a session, whose answers a cache may give, who may go on with a sealed state, and whose tasks and
session state these are. Behind the gate nobody is authenticated, since the gate removes the credential;
here the gate's principal becomes that of the request, set as their own middleware sets it: `scope["user"]`,
`scope["auth"]` and the SDK's context variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fastmcp.server.auth import AccessToken
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials

from gatehouse.hosting.port import turn_away
from gatehouse.http.forward import CALLER_HEADER, KIND_HEADER, PRINCIPAL_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.upstream.inprocess import App

PRINCIPAL, KIND, CALLER = PRINCIPAL_HEADER.lower(), KIND_HEADER.lower(), CALLER_HEADER.lower()
FIELDS = (PRINCIPAL, KIND, CALLER)
"""The fields by which the gate tells the caller."""

NO_CREDENTIAL = "gate-principal:"
"""Together with the id, this stands for the token in an AccessToken: libraries want a token, compare it
and make keys of it. It is the same for all values of a name, as the principal is, and opens nothing
anywhere."""


class Told(NamedTuple):
    """The caller of a request, as the gate tells it."""

    name: str
    kind: str
    """Empty if the gate knows but one kind."""
    reference: str
    """The caller, and which grants the request has: the name of a static token, `ID/GRANTS` of another."""

    @property
    def id(self) -> str:
        """The one whose request it is, whatever that may do. A static token's id is its name."""
        return self.reference.partition("/")[0]


class WithCaller:
    """ASGI middleware: the caller that the gate tells is the request's authenticated user, or 403 without one.

    `is_open` tells the paths that need no token: without a caller, they have no user. The user has no scopes: the gate's
    tokens have none, and it judges those of access tokens itself. Things that a server guards by a scope stay shut.
    """

    def __init__(self, app: App, is_open: Callable[[bytes], bool]) -> None:
        self._app = AuthContextMiddleware(app)
        self._is_open = is_open

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told = told_in(scope)
        if told:
            scope["user"] = AuthenticatedUser(token_of(told))
            scope["auth"] = AuthCredentials([])
        elif not self._is_nobodys(scope):
            await turn_away(scope, send)
            return
        await self._app(scope, receive, send)

    def _is_nobodys(self, scope: Any) -> bool:
        """True for a request without a caller, for a path that needs no token."""
        named = any(name in FIELDS for name, _ in scope["headers"])
        return not named and scope["type"] == "http" and self._is_open(scope["raw_path"])


def told_in(scope: Mapping[str, Any]) -> Told | None:
    """The caller that the gate has put into a request; None if there is none, or a field came more than once."""
    found = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in FIELDS]
    told: dict[bytes, str] = dict(found)
    name = told.get(PRINCIPAL, "")
    if not name or len(told) < len(found):
        return None
    return Told(name, told.get(KIND, ""), told.get(CALLER, name))


def token_of(told: Told) -> AccessToken:
    """The access token that stands for a principal; made anew, since its receiver may change it.

    Libraries keep callers apart by the id. The name, which two people may share, is a claim beside it.
    """
    claims = {"sub": told.id}
    if told.id != told.name:
        claims |= {"name": told.name, "kind": told.kind}
    return AccessToken(
        token=NO_CREDENTIAL + told.id,
        client_id=told.id,
        subject=told.id,
        scopes=[],
        claims=claims,
    )
