"""The kernel notices a peer that has vanished without a word, on either side of the gate."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES = 60, 20, 3
"""When the kernel first probes a silent peer, how often again, and after how many probes it gives up: a
vanished peer is found out within two minutes. By default that would take more than two hours."""

KEEPALIVE = {
    "TCP_KEEPIDLE": KEEPALIVE_IDLE_SECONDS,
    "TCP_KEEPALIVE": KEEPALIVE_IDLE_SECONDS,  # macOS's name for it
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_SECONDS,
    "TCP_KEEPCNT": KEEPALIVE_PROBES,
}
OPTIONS = [(getattr(socket, n), value) for n, value in KEEPALIVE.items() if hasattr(socket, n)]
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # on Linux


def notice_vanished(end: socket.socket | trio.socket.SocketType, seconds: int) -> None:
    """Let the kernel end a connection whose peer has vanished without a word: a peer that acknowledges
    nothing for so many seconds, or answers no probe while nothing is sent.
    """
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS:
        end.setsockopt(socket.IPPROTO_TCP, option, value)
    if USER_TIMEOUT is not None:
        end.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, seconds * 1000)
