"""How the gate is served: Hypercorn's parts on Trio, with connections of our own.

Hypercorn 0.18 (pinned exactly; its last release is of November 2025) has faults that one unauthenticated
connection can use: most errors leave the connection's task and end the whole process, and HTTP/2 and
WebSockets, through which most of them come, cannot be switched off. And it hands each message of a
request on from task to task, which costs more than three times what the same bytes cost here. So `serve`
does what Hypercorn's `worker_serve` does, with its configuration, sockets and lifespan, and each connection to `Connection` (`gatehouse/connection.py`).

What safety rests on is imported, and nothing of Hypercorn's is replaced: a release that lacks one of
these names does not start, instead of serving with connections of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ConnectionState
from hypercorn.utils import repr_socket_addr, wrap_app

from gatehouse.connection import SWEEP_SECONDS, Connection
from gatehouse.loop_share import LoopShare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.typing import LifespanState


class GateConfig(Config):
    """Hypercorn's configuration, and the limits and the register of connections that go with ours.

    The limits have no defaults here: `Settings` has them. Times are in seconds. `keep_alive_timeout` is Hypercorn's own setting: what a connection may rest
    between two requests.
    """

    max_connections: int
    header_timeout: float
    write_timeout: float
    max_target: int
    max_lines: int

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.share = LoopShare()
        self.turned_away = 0
        """How many connections over the limit are being told so."""
        self.failures = 0
        """How many connections ended by an error that nobody foresaw."""
        self.closing = False
        """Whether each connection is to end with the answer that is under way."""


async def serve(
    app: Any,
    config: GateConfig,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on the sockets of `config` until `shutdown_trigger` returns.

    Then nothing more is accepted, resting connections are closed, and the others have
    `graceful_timeout` to end. The task status is given the addresses, once they listen.
    """
    state: LifespanState = {}
    lifespan = Lifespan(wrap_app(app, config.wsgi_max_body_size, "asgi"), config, state)
    wait_for_shutdown = lifespan.wait_for_shutdown  # missed now, if at all, and not at the end
    async with trio.open_nursery() as outer:
        await outer.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            listeners = listen(config)
            task_status.started([address_of(listener) for listener in listeners])
            outer.start_soon(sweep, config)

            async def handle(stream: trio.SocketStream) -> None:
                own = ConnectionState(state.copy())
                await Connection(app, config, own, stream).run()

            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(trio.serve_listeners, handle, listeners, handler_nursery=connections)
                )
                await shutdown_trigger()
                accepting.cancel_scope.cancel()
            config.closing = True
            for connection in config.connections:
                if connection.resting:
                    connection.cut()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await wait_for_shutdown()
        outer.cancel_scope.cancel()


def listen(config: Config) -> list[trio.SocketListener]:
    """Listen on every socket that is configured. TLS and QUIC are the business of the front."""
    sockets = config.create_sockets().insecure_sockets
    for sock in sockets:
        sock.listen(config.backlog)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def address_of(listener: trio.SocketListener) -> str:
    """Where it listens, as a URL."""
    sock = listener.socket
    return f"http://{repr_socket_addr(sock.family, sock.getsockname())}"


async def sweep(config: GateConfig) -> None:
    """Cut the connections whose deadline is over, or whose client has gone unnoticed."""
    while True:
        await trio.sleep(SWEEP_SECONDS)
        now = trio.current_time()
        for connection in config.connections:
            if (
                now > min(connection.deadline, connection.write_deadline)
                or connection.client_is_gone()
            ):
                connection.cut()
