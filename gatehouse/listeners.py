"""The sockets to listen on: bound by us before anything else starts, or handed down by the parent."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trio

VANISHED_SECONDS = 30
"""How long the kernel goes on sending to a client that acknowledges nothing."""

KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES = 60, 20, 3
"""When the kernel asks a silent peer whether it is still there, how often again, and when it gives up: whoever
vanished without a word is found out within two minutes. By default it would take more than two hours."""

FIRST_INHERITED = 3

KEEPALIVE = {
    "TCP_KEEPIDLE": KEEPALIVE_IDLE_SECONDS,
    "TCP_KEEPALIVE": KEEPALIVE_IDLE_SECONDS,  # macOS's name for it
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_SECONDS,
    "TCP_KEEPCNT": KEEPALIVE_PROBES,
}
OPTIONS = [(getattr(socket, n), value) for n, value in KEEPALIVE.items() if hasattr(socket, n)]
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # on Linux


class CannotListenError(Exception):
    """An address cannot be listened on; the text names the setting and says what to do."""


def bind(setting: str, host: str, port: int) -> list[socket.socket]:
    """Bind every address that `host` stands for. Raises CannotListenError, naming the setting."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListenError(
            f"{setting.replace('PORT', 'HOST')}: {host} is no address of this machine "
            f"({error.strerror})"
        ) from None
    sockets: list[socket.socket] = []
    reason: str | None = None
    for family, kind, protocol, _, address in found:
        try:
            sockets.append(bound(family, kind, protocol, address))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotListenError(
                    f"{setting}: {host}:{port} is already in use; stop the other program, or set "
                    f"another {setting}"
                ) from None
            reason = error.strerror  # not every machine has IPv6, which localhost stands for too
    if not sockets:
        raise CannotListenError(f"{setting}: {host}:{port} cannot be listened on ({reason})")
    return sockets


def bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    """A socket bound to one address, not listening yet."""
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
    """Set what accepted sockets inherit: no delay, and an end for a peer that vanished silently."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    notice_vanished(listener, VANISHED_SECONDS)


def notice_vanished(end: socket.socket | trio.socket.SocketType, seconds: int) -> None:
    """Let the kernel end a connection whose peer has vanished without a word: one that acknowledges nothing
    for so many seconds, or answers no probe while nothing is sent.
    """
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS:
        end.setsockopt(socket.IPPROTO_TCP, option, value)
    if USER_TIMEOUT is not None:
        end.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, seconds * 1000)


def inherited() -> list[socket.socket]:
    """The listeners that the parent process has handed down, as systemd does: sd_listen_fds(3).

    With them, connections wait instead of failing while this program is started again.
    """
    if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "0")
    try:
        listeners = [socket.socket(fileno=FIRST_INHERITED + number) for number in range(int(count))]
        for listener in listeners:
            set_options(listener)
            listener.set_inheritable(False)
    except (ValueError, OSError):
        raise CannotListenError(f"LISTEN_FDS: {count} were announced, but are not there") from None
    return listeners
