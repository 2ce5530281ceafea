"""Start the gate and the MCP server behind it: `python run.py`.

Who starts whom: settings, logging and sockets come first, so that what is wrong with them is one clear
line and status 2. Then one Trio nursery holds everything. The gate listens at once; the MCP server is
imported and started behind it, or already runs elsewhere (`MCP_APP` empty).

Who stops first: at SIGINT or SIGTERM the gate stops accepting, and what is in flight may finish within
GRACE_SECONDS. Only then the MCP server is stopped, since it was still needed. Exit status: 0 after a
signal, 1 if the MCP server died, 2 if the program could not start.
"""

from __future__ import annotations

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

import errno
import logging
import socket
from functools import partial
from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from gate import Gate, Upstream
from gatehouse.credentials import SharedToken
from gatehouse.hosting import HostedServer, HostedServerError, leaf
from gatehouse.logs import configure_logging
from gatehouse.notice import startup_notice
from gatehouse.settings import Settings, SettingsError, load_settings, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_SECONDS = 10.0
"""What requests in flight get to finish after a signal; Docker's own patience is as long."""

BACKLOG = 1024

logger = logging.getLogger("gate.run")


class CannotStartError(Exception):
    """Something outside the settings keeps the program from starting; the text says what."""


def main() -> int:
    """Run the program; returns its exit status."""
    try:
        settings = load_settings()
        given = settings.mcp_auth_token
        token = given.get_secret_value() if given else make_token()
        os.environ.pop("MCP_AUTH_TOKEN", None)  # the MCP server and its tools need not know it
        configure_logging(secrets=[token])
        listeners = bind("PORT", settings.host, settings.port)
        hosted = host(settings)
    except SettingsError as error:
        return refuse(*error.faults)
    except CannotStartError as error:
        return refuse(str(error))
    notice = startup_notice(
        local_endpoint(settings),
        one_off_token=None if given else token,
        upstream=settings.mcp_app
        if hosted
        else f"{settings.upstream_host}:{settings.upstream_port}",
    )
    upstream = Upstream(
        settings.upstream_host,
        settings.upstream_port,
        settings.upstream_path,
        keep_alive=hosted is not None,
    )
    gate = Gate(SharedToken(token), upstream, endpoint=public_endpoint(settings))
    try:
        trio.run(run, gate, hosted, hypercorn_config(listeners), partial(print, notice, flush=True))
    except BaseExceptionGroup as group:
        failed = leaf(group)
        if not isinstance(failed, HostedServerError):
            raise
        return refuse(*failed.faults, status=1 if failed.started else 2)
    return 0


async def run(
    gate: Gate, hosted: HostedServer | None, config: Config, announce: Callable[[], None]
) -> None:
    """Serve until a signal comes, or until the hosted server dies (HostedServerError)."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            if hosted is not None:
                nursery.start_soon(hosted.run, partial(setattr, gate, "name"))
            async with trio.open_nursery() as gate_nursery:
                await gate_nursery.start(
                    partial(serve, gate, config, shutdown_trigger=partial(anext, signals))
                )
                announce()
            if hosted is not None:
                await hosted.stop()
            nursery.cancel_scope.cancel()


def host(settings: Settings) -> HostedServer | None:
    """The MCP server to host, its address bound but not listening yet; None if it runs elsewhere."""
    if not settings.hosts_upstream:
        return None
    listener, *_ = bind("UPSTREAM_PORT", settings.upstream_host, settings.upstream_port)
    return HostedServer(settings.mcp_app, settings.upstream_path, listener)


def bind(setting: str, host: str, port: int) -> list[socket.socket]:
    """Bind every address that `host` stands for. Raises CannotStartError, naming the setting."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotStartError(
            f"{setting.replace('PORT', 'HOST')}: {host} is no address of this machine "
            f"({error.strerror})"
        ) from None
    sockets = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # accepted sockets inherit it
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            raise CannotStartError(
                f"{setting}: {host}:{port} is already in use; stop the other program, or set another "
                f"{setting}"
                if in_use
                else f"{setting}: {host}:{port} cannot be listened on ({error.strerror})"
            ) from None
        sockets.append(listener)
    return sockets


def hypercorn_config(listeners: list[socket.socket]) -> Config:
    """Hypercorn as the gate needs it: quiet, adding nothing to what passes, with our sockets."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.backlog = BACKLOG
    config.graceful_timeout = GRACE_SECONDS
    config.include_server_header = False
    config.include_date_header = False  # the upstream's passes, the gate's own replies have one
    config.h11_pass_raw_headers = True  # names keep their spelling
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


def local_endpoint(settings: Settings) -> str:
    """The MCP endpoint's URL for a client on this machine, or in the Space where this runs."""
    if settings.in_space:
        return public_endpoint(settings)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return (
        f"http://[{host}]:{settings.port}/mcp"
        if ":" in host
        else f"http://{host}:{settings.port}/mcp"
    )


def public_endpoint(settings: Settings) -> str:
    """The MCP endpoint's URL as others see it: the Space's first host name, else as on this machine."""
    if settings.in_space and settings.space_host:
        # With a custom domain it is a list; the first one is canonical.
        return f"https://{settings.space_host.split(',')[0].strip()}/mcp"
    return local_endpoint(settings)


def refuse(*faults: str, status: int = 2) -> int:
    """Say on stderr what keeps the program from running; returns the exit status."""
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
