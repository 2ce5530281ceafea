"""The ways by which requests come in to a hosted server, and the port, which is one of them."""

from __future__ import annotations

import hmac
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from gatehouse.http import refusals
from gatehouse.http.forward import REQUEST_ID_HEADER, SECRET_HEADER
from gatehouse.upstream.inprocess import REQUEST_ID, server_at

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    import uvicorn

    from gatehouse.upstream.inprocess import App

IDLE_SECONDS = 20
"""Longer than `upstream.base.HOSTED_IDLE_SECONDS`, so that the gate always closes a connection first."""

SECRET, ID = SECRET_HEADER.lower(), REQUEST_ID_HEADER.lower()
TOLD = frozenset({SECRET, ID})
"""The fields that only the gate sends, and only to the port."""

MAX_STOP_SECONDS = 0.1
"""How long requests at the server's own port may take, once it is stopped, before uvicorn cancels them."""


class Door(Protocol):
    """The way by which the requests of a hosted server come in."""

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        """Let requests in to `app` until `stop` is called; call `started` once they can come."""

    def stop(self) -> None:
        """Let `serve` return."""


class Port:
    """A port of the server's own, with FastMCP's own server: uvicorn, in trio-asyncio's loop.

    `listeners` are bound already. Requests without `secret` are turned away.
    """

    def __init__(self, listeners: list[socket.socket], secret: str) -> None:
        self._listeners = listeners
        self._secret = secret
        self._uvicorn: uvicorn.Server | None = None

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals are for run.py to handle

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                started()

        self._uvicorn = Server(
            uvicorn.Config(
                FromGateOnly(app, self._secret),
                lifespan="off",  # run by our caller, so that its errors reach us as they are
                log_config=None,
                access_log=False,  # it would log the query; the gate has logged the request already
                # It reads the scheme that the gate tells, wherever the gate calls from: nobody else gets in.
                forwarded_allow_ips="*",
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=MAX_STOP_SECONDS,  # type: ignore[arg-type]  # for asyncio.wait_for
            )
        )
        try:
            await self._uvicorn.serve(sockets=self._listeners)
        finally:
            for listener in self._listeners:  # it has not closed them if it was cancelled
                listener.close()

    def stop(self) -> None:
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True


class FromGateOnly:
    """ASGI middleware that lets in only requests with the secret that the gate adds, else 403.

    The port is open to everybody on this machine, tools included: one that can be talked into fetching
    a URL would otherwise reach its own server without a token. The secret is made anew at each start,
    and taken off here, so that the server never sees it; so is the request's id. `server` becomes the address
    that the gate calls it by, as it is without a port.
    """

    def __init__(self, app: App, secret: str) -> None:
        self._app = app
        self._secret = secret.encode("ascii")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told = {name: value for name, value in scope["headers"] if name in TOLD}
        headers = [pair for pair in scope["headers"] if pair[0] not in TOLD]
        secret = told.get(SECRET, b"")
        once = len(headers) + len(told) == len(scope["headers"])
        if once and hmac.compare_digest(secret, self._secret):
            host = next(value for name, value in headers if name == b"host")
            seen = {
                "headers": headers,
                "server": server_at(host, scope["scheme"]),
                REQUEST_ID: told.get(ID, b"").decode("ascii"),
            }
            await self._app({**scope, **seen}, receive, send)
        else:
            await turn_away(scope, send)


async def turn_away(scope: Any, send: Any) -> None:
    """Answer 403 to a request that does not come from the gate."""
    if scope["type"] == "http":
        reply = refusals.NOT_FROM_GATE
        start = {"type": "http.response.start", "status": reply.status, "headers": reply.fields()}
        await send(start)
        await send({"type": "http.response.body", "body": reply.body})
    else:
        await send({"type": "websocket.close", "code": 1008})
