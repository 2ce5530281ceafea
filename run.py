"""Start the gate and the MCP server behind it: `python run.py`.

Who starts whom: settings, logging and sockets come first, so that what is wrong with them is one clear
line and status 2. Then one Trio nursery holds everything. The gate listens at once; the MCP server is
imported and started behind it, or already runs elsewhere (`MCP_APP` empty).

Who stops first: at SIGINT or SIGTERM the gate turns new requests away, and what is in flight may finish
within GRACE_SECONDS. Only then the listeners close, and the MCP server is stopped, since it was still
needed. A second signal ends everything at once. Exit status: 0 after a signal, 1 after two or if the MCP
server died, 2 if the program could not start.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

if not (3, 11) <= sys.version_info < (3, 14):
    # trio-asyncio does not import on 3.14 (python-trio/trio-asyncio#160).
    print("This needs Python 3.11 to 3.13; python3.13 run.py, for example.", file=sys.stderr)  # noqa: T201
    sys.exit(2)

if __name__ == "__main__":
    # Until Trio takes the signals over. As PID 1 the kernel would otherwise ignore them, and importing
    # takes long enough for somebody to change their mind.
    for _signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_signal, lambda *_: os._exit(0))

import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING

import trio

from gate import Gate
from gatehouse.credentials import SharedToken
from gatehouse.hosting import HostedServer, HostedServerError, Port, leaf
from gatehouse.inprocess import AsyncioCalls, TrioCalls
from gatehouse.listeners import CannotListenError, bind, inherited
from gatehouse.logs import configure_logging
from gatehouse.notice import startup_notice
from gatehouse.serving import GateConfig, serve
from gatehouse.settings import Settings, SettingsError, load_settings, make_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gatehouse.inprocess import Calls

CUT_SECONDS = 0.5
"""What is left of a connection after the grace gets so long to notice that it is over."""

BACKLOG = 1024

YOUNG_OBJECTS = 10_000
"""So many more objects made than gone let the garbage collector look at the youngest."""


def main() -> int:
    """Run the program; returns its exit status."""
    try:
        settings = load_settings()
        given = settings.mcp_auth_token
        token = given.get_secret_value() if given else make_token()
        os.environ.pop("MCP_AUTH_TOKEN", None)  # the MCP server and its tools need not know it
        secret = secrets.token_urlsafe(32)
        configure_logging(secrets=[token, secret])
        listeners = inherited() or bind("PORT", settings.host, settings.port)
        calls = calls_for(settings)
        hosted = host(settings, calls, secret)
    except SettingsError as error:
        return refuse(*error.faults)
    except CannotListenError as error:
        return refuse(str(error))
    gate = Gate(
        settings,
        SharedToken(token),
        calls=calls,
        started=hosted.started if hosted else None,
        secret=secret if hosted and not calls else "",
    )
    notice = startup_notice(
        settings.public_endpoint,
        one_off_token=None if given else token,
        upstream=settings.mcp_app if hosted else gate.transports.authority,
    )
    try:
        return trio.run(run, gate, hosted, listeners, partial(print, notice, flush=True))
    except BaseExceptionGroup as group:
        failed = leaf(group)
        if not isinstance(failed, HostedServerError):
            raise
        return refuse(*failed.faults, status=1 if failed.started else 2)


async def run(
    gate: Gate,
    hosted: HostedServer | None,
    listeners: list[socket.socket],
    announce: Callable[[], None],
) -> int:
    """Serve until a signal comes, or the hosted server dies (HostedServerError); the exit status."""
    stopping = trio.Event()

    async def settle() -> None:
        if hosted is not None:
            await hosted.started.wait()
        settle_memory()

    async def drained() -> None:
        await stopping.wait()
        await gate.drain()

    async with trio.open_nursery() as nursery:
        await nursery.start(watch_signals, stopping, nursery.cancel_scope)
        if hosted is not None:
            nursery.start_soon(hosted.run, partial(setattr, gate, "name"))
        nursery.start_soon(settle)
        async with trio.open_nursery() as gate_nursery:
            config = hypercorn_config(gate.settings, listeners)
            await gate_nursery.start(partial(serve, gate, config, shutdown_trigger=drained))
            announce()
        if hosted is not None:
            await hosted.stop()
        nursery.cancel_scope.cancel()
        return 0
    return 1


def settle_memory() -> None:
    """Spare the garbage collector what has been made to stay: an eighth of a call's time.

    Once everything is imported, some 300,000 objects stay until the end, and looking through them again
    and again finds nothing. What a request makes is mostly gone without the collector; so it looks less
    often, too. See the documentation of `gc.freeze`, and issue 4 for the figures.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


async def watch_signals(
    stopping: trio.Event,
    everything: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The first signal asks politely, the second one does not."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        stopping.set()
        await anext(signals)
        everything.cancel()


def calls_for(settings: Settings) -> Calls | None:
    """What carries requests to a server in this process; None if they go over the network."""
    if not settings.in_process:
        return None
    kind = TrioCalls if settings.on_trio else AsyncioCalls
    return kind(f"{settings.upstream_host}:{settings.upstream_port}")


def host(settings: Settings, calls: Calls | None, secret: str) -> HostedServer | None:
    """The MCP server to host, its address bound but not listening yet; None if it runs elsewhere."""
    if not settings.hosts_upstream:
        return None
    door = calls or Port(
        bind("UPSTREAM_PORT", settings.upstream_host, settings.upstream_port), secret
    )
    return HostedServer(settings.mcp_app, settings.upstream_path, door)


def hypercorn_config(settings: Settings, listeners: list[socket.socket]) -> GateConfig:
    """Hypercorn as the gate needs it: quiet, adding nothing to what passes, with our limits."""
    config = GateConfig()
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.backlog = BACKLOG
    config.graceful_timeout = CUT_SECONDS  # the grace itself is the gate's: Gate.drain
    config.include_server_header = False
    config.include_date_header = False  # the upstream's passes, the gate's own replies have one
    config.errorlog = logging.getLogger("hypercorn.error")
    # Large enough for the gate to see, and to name, what is over its own limits.
    config.h11_max_incomplete_size = 2 * (settings.max_target_bytes + settings.max_header_bytes)
    config.keep_alive_timeout = settings.keep_alive_seconds
    config.header_timeout = settings.header_seconds
    config.write_timeout = settings.write_seconds
    config.max_connections = settings.max_connections
    config.max_target = settings.max_target_bytes
    return config


def refuse(*faults: str, status: int = 2) -> int:
    """Say on stderr what keeps the program from running; returns the exit status."""
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
