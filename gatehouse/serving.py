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

import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ConnectionState
from hypercorn.utils import repr_socket_addr, wrap_app

from gatehouse.connection import SWEEP_SECONDS, Connection
from gatehouse.ends import Ends
from gatehouse.turns import LoopShare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.typing import LifespanState

    from gatehouse.places import Places

ACCEPT_CAPACITY_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""Nothing is wrong with the listener, but there is no room for one more."""

DESCRIPTORS_TO_FREE, RETRY_SECONDS = 16, 0.05
"""Then so many connections are given up, if they may be, and it is tried again."""


class GateConfig(Config):
    """Hypercorn's configuration, and the limits and the register of connections that go with ours.

    The limits have no defaults here: `Settings` has them. Times are in seconds. `keep_alive_timeout` is Hypercorn's own setting: what a connection may rest
    between two requests.
    """

    places: Places
    hops: int
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
        self.ends = Ends()
        self.closing = False
        """Whether each connection is to end with the answer that is under way."""

    def close_resting(self) -> None:
        """From now on, each connection ends with its answer; those that wait for a request end at once.

        Clients then go elsewhere, if there are several gates. A request that has arrived is still answered,
        and whoever has only just connected is about to send one.
        """
        self.closing = True
        for connection in self.connections:
            if connection.resting and not connection.has_unread():
                connection.cut()


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
            config.close_resting()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        config.ends.tell(at_once=True)
        await wait_for_shutdown()
        outer.cancel_scope.cancel()


class Door(trio.abc.Listener[trio.SocketStream]):
    """A listener that makes room where there is no file descriptor left, instead of a traceback each time."""

    def __init__(self, listener: trio.SocketListener, config: GateConfig) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._config = config

    async def accept(self) -> trio.SocketStream:
        """The next connection, however long it takes."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in ACCEPT_CAPACITY_ERRNOS:
                    raise
                self._config.ends.ended("descriptors", os.strerror(error.errno))
                for _ in range(DESCRIPTORS_TO_FREE):
                    if not self._config.places.make_room():
                        break
                await trio.sleep(RETRY_SECONDS)

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()


def listen(config: GateConfig) -> list[Door]:
    """Listen on every socket that is configured. TLS and QUIC are the business of the front."""
    sockets = config.create_sockets().insecure_sockets
    for sock in sockets:
        sock.listen(config.backlog)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]
    return [Door(listener, config) for listener in listeners]


def address_of(listener: Door) -> str:
    """Where it listens, as a URL."""
    sock = listener.socket
    return f"http://{repr_socket_addr(sock.family, sock.getsockname())}"


async def sweep(config: GateConfig) -> None:
    """Cut the connections whose deadline is over, or whose client has gone unnoticed."""
    while True:
        await trio.sleep(SWEEP_SECONDS)
        now = trio.current_time()
        config.ends.tell()
        for connection in config.connections:
            connection.cut_if_late(now)
