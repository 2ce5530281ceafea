"""The listening sockets: we bind them before anything else starts, or the parent hands them down."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from gatehouse.errors import FaultsError
from gatehouse.keepalive import notice_vanished

VANISHED_SECONDS = 30
"""How long the kernel goes on sending to a client that acknowledges nothing."""

FIRST_DESCRIPTOR = 3
"""The first of those that are handed down: SD_LISTEN_FDS_START in sd_listen_fds(3)."""


class CannotListenError(FaultsError):
    """The gate cannot listen on an address."""


def bind(setting: str, host: str, port: int) -> list[socket.socket]:
    """Bind every address that `host` stands for. Raises CannotListenError, which names the setting."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListenError(
            f"{setting.replace('PORT', 'HOST')}: {host} is no address of this machine "
            f"({error.strerror}); 127.0.0.1 is for this machine only, 0.0.0.0 for all"
        ) from None
    sockets: list[socket.socket] = []
    reason: str | None = None
    wrong = setting
    for family, kind, protocol, _, address in found:
        try:
            sockets.append(bound(family, kind, protocol, address))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotListenError(
                    f"{setting}: {host}:{port} is already in use; stop the other program, or set "
                    f"another {setting}"
                ) from None
            if error.errno == errno.EACCES:
                raise CannotListenError(
                    f"{setting}: this user may not listen on {port} ({error.strerror}); set {setting} to 1024 or more"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                wrong = setting.replace("PORT", "HOST")
            reason = error.strerror  # not every machine has IPv6, for which localhost stands too
    if not sockets:
        raise CannotListenError(
            f"{wrong}: cannot listen on {host}:{port} ({reason}); 127.0.0.1 is for this machine, 0.0.0.0 for all"
        )
    return sockets


def bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    """A socket that is bound to one address and does not listen yet."""
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        set_options(listener)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def set_options(listener: socket.socket) -> None:
    """Set the options that accepted sockets inherit: no delay, and an end for a peer that vanished silently."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    notice_vanished(listener, VANISHED_SECONDS)


def inherited() -> list[socket.socket]:
    """The listeners that the parent process has handed down, as systemd does: sd_listen_fds(3).

    With them, connections wait instead of failing while this program is started again.
    """
    if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "0")
    try:
        listeners = [
            socket.socket(fileno=FIRST_DESCRIPTOR + number) for number in range(int(count))
        ]
        for listener in listeners:
            set_options(listener)
            listener.set_inheritable(False)
    except (ValueError, OSError):
        raise CannotListenError(
            f"LISTEN_FDS={count} announces sockets that are not there"
        ) from None
    return listeners
