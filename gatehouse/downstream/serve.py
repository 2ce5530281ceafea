"""Serves the gate: Hypercorn's parts on Trio, with connections of our own.

Hypercorn 0.18 (pinned exactly; its last release is of November 2025) has faults that one unauthenticated connection can
use: most errors leave the connection's task and end the whole process, and HTTP/2 and WebSockets, through which most of
them come, cannot be switched off. It also hands each message of a request on from task to task, at more than three
times the cost of the same bytes here. `serve` therefore does the work of Hypercorn's `worker_serve`, with its
configuration and lifespan, on our own listeners, and leaves each connection to `Connection`
(`gatehouse/downstream/connection.py`).

All names that safety rests on are imported, and nothing of Hypercorn's is replaced: with a release that lacks one
of these names the program does not start, instead of serving with Hypercorn's own connections.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ConnectionState
from hypercorn.utils import repr_socket_addr, wrap_app

from gatehouse.downstream.connection import Connection
from gatehouse.downstream.descriptors import keep_limit
from gatehouse.errors import without_message
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from hypercorn.typing import LifespanState

    from gatehouse.downstream.connections import Connections

logger = logger_of("gate.connections")

ACCEPT_CAPACITY_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""Nothing is wrong with the listener, but there is no room for one more."""

NO_LISTENER_ERRNOS = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}

MAX_BACKLOG = 1024
"""How many connections may wait in the kernel to be accepted."""

CUT_SECONDS = 0.25
"""How long connections may take to end once `serve` is to end; the grace for requests comes before."""

MAX_ACCEPTED_AT_ONCE = 4
"""How many connections are accepted before all other tasks have a turn: in less than a millisecond."""

MAX_TO_FREE, RETRY_SECONDS, NONE_FREED_SECONDS = 16, 0.005, 0.05
"""Without a descriptor left, up to MAX_TO_FREE connections are given up. RETRY_SECONDS later they have gone; if none
could be given up, the next try comes after NONE_FREED_SECONDS."""


class LifespanEndedError(Exception):
    """The lifespan ended while the application was being served.

    From then on nobody would notice revoked tokens, clients that leave and upstreams that fall silent.
    """


async def serve(
    app: Any,
    listeners: list[socket.socket],
    connections: Connections,
    shutdown_trigger: Callable[[], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on the listeners until `shutdown_trigger` returns.

    After that, no connection is accepted, resting connections are closed, and the others have
    CUT_SECONDS to end. The task status gets the addresses once the sockets listen.
    """
    state: LifespanState = {}
    config = Config()
    config.errorlog = logger_of("hypercorn.error")
    lifespan = Lifespan(wrap_app(explained(app), 0, "asgi"), config, state)
    wait_for_shutdown = lifespan.wait_for_shutdown  # if it is missing, then now and not at the end
    serving = True

    async def live(*, task_status: trio.TaskStatus[None]) -> None:
        await lifespan.handle_lifespan(task_status=task_status)
        if serving:  # Hypercorn would go on without
            raise LifespanEndedError

    trio.lowlevel.add_instrument(connections.crowd)
    async with trio.open_nursery() as outer:
        await outer.start(live)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as nursery:
            doors = listen(listeners, connections)
            task_status.started([door.address for door in doors])
            outer.start_soon(connections.sweep)

            def start(stream: trio.SocketStream) -> None:
                own = ConnectionState(state.copy())
                nursery.start_soon(Connection(app, connections, own, stream).run)

            async with trio.open_nursery() as accepting:
                for door in doors:
                    accepting.start_soon(door.take_in, start)
                await shutdown_trigger()
                accepting.cancel_scope.cancel()
            connections.close_resting()
            nursery.cancel_scope.deadline = trio.current_time() + CUT_SECONDS
        connections.ends.tell(at_once=True)
        serving = False
        await wait_for_shutdown()
        outer.cancel_scope.cancel()


def explained(app: Any) -> Any:
    """The application for its lifespan. An error that ends the lifespan is logged here, once, without its text."""

    async def beside(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - `serve` ends with it
            logger.error("the tasks beside requests ended by: %s", without_message(error))

    return beside


class Door:
    """A listening socket, and the way in from there."""

    def __init__(self, listener: socket.socket, connections: Connections) -> None:
        listener.setblocking(False)
        self._socket = listener
        self._connections = connections
        self._limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    @property
    def address(self) -> str:
        """The URL at which it listens."""
        return f"http://{repr_socket_addr(self._socket.family, self._socket.getsockname())}"

    async def take_in(self, start: Callable[[trio.SocketStream], None]) -> None:
        """Call `start` with each connection that comes. Never returns."""
        with self._socket:
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    for _ in range(MAX_ACCEPTED_AT_ONCE):
                        accepted, _ = self._socket.accept()
                        start(trio.SocketStream(trio.socket.from_stdlib_socket(accepted)))
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno in ACCEPT_CAPACITY_ERRNOS:
                        await self._make_room(error)
                    elif error.errno in NO_LISTENER_ERRNOS:
                        raise
                    # else this one has gone, or did not come through: accept(2)

    async def _make_room(self, error: OSError) -> None:
        """Give up connections if no file descriptor is left, unless code in this process has lowered the limit."""
        if keep_limit(self._limit):
            self._connections.ends.ended("limit-lowered", str(self._limit))
            return
        self._connections.ends.ended("descriptors", os.strerror(error.errno or 0))
        freed = 0
        while freed < MAX_TO_FREE and self._connections.places.make_room():
            freed += 1
        await trio.sleep(RETRY_SECONDS if freed else NONE_FREED_SECONDS)


def listen(listeners: list[socket.socket], connections: Connections) -> list[Door]:
    """Listen on every socket. TLS and QUIC are the business of the front."""
    for listener in listeners:
        listener.listen(MAX_BACKLOG)
    return [Door(listener, connections) for listener in listeners]
