"""Tells the hosted server the caller of a request, in the terms of its own libraries.

The MCP SDK and FastMCP keep callers apart by the authenticated principal of a request alone: it decides who
may use a session, whose answers a cache may give, who may go on with a sealed state, and whose tasks and
session state these are. Behind the gate nobody is authenticated, since the gate removes the credential;
here the gate's principal becomes that of the request, set as their own middleware sets it: `scope["user"]`,
`scope["auth"]` and the SDK's context variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmcp.server.auth import AccessToken
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials

from gatehouse.hosting.port import turn_away
from gatehouse.http.forward import PRINCIPAL_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.upstream.inprocess import App

PRINCIPAL = PRINCIPAL_HEADER.lower()

NO_CREDENTIAL = "gate-principal:"
"""Together with the name, this stands for the token in an AccessToken: libraries want a token, compare it
and make keys of it. It is the same for all values of a name, as the principal is, and opens nothing
anywhere."""


class WithCaller:
    """ASGI middleware: the name that the gate tells is the request's authenticated user, or 403 without one.

    `is_open` tells the paths that need no token: without a name, they have no user. The user has no scopes, because the
    gate's tokens have none: things that a server guards by a scope stay shut.
    """

    def __init__(self, app: App, is_open: Callable[[bytes], bool]) -> None:
        self._app = AuthContextMiddleware(app)
        self._is_open = is_open

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = name_in(scope)
        if name:
            scope["user"] = AuthenticatedUser(token_of(name))
            scope["auth"] = AuthCredentials([])
        elif not self._is_nobodys(scope):
            await turn_away(scope, send)
            return
        await self._app(scope, receive, send)

    def _is_nobodys(self, scope: Any) -> bool:
        """True for a request without a name, for a path that needs no token."""
        named = any(name == PRINCIPAL for name, _ in scope["headers"])
        return not named and scope["type"] == "http" and self._is_open(scope["raw_path"])


def name_in(scope: Any) -> str:
    """The name that the gate has put into a request; empty if there is none, or more than one."""
    names = [value for name, value in scope["headers"] if name == PRINCIPAL]
    return names[0].decode("latin-1") if len(names) == 1 else ""


def token_of(name: str) -> AccessToken:
    """The access token that stands for a principal; made anew, since its receiver may change it."""
    return AccessToken(
        token=NO_CREDENTIAL + name, client_id=name, subject=name, scopes=[], claims={"sub": name}
    )
