"""Takes the gate's sockets from a child that a tool forks (`multiprocessing`, by default on Linux).

The child begins as a copy of the gate, and would hold its sockets: connections that the gate ends would stay open
for their clients, who would send the next request to nobody, and the port would stay in use as long as the child
lives, even after the gate's end. A child that runs another program (`subprocess`) gets none of them: all
descriptors are closed there.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial

DESCRIPTORS = "/dev/fd"


def keep_sockets(ports: set[int]) -> None:
    """From now on, let no forked child have a socket with one of these ports at either end."""
    os.register_at_fork(after_in_child=partial(_let_go, ports))


def _let_go(ports: set[int]) -> None:
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in map(int, os.listdir(DESCRIPTORS)):  # noqa: PTH208
            if _has_port(number, ports):
                # Not closed: the socket's object would close the number once more.
                os.dup2(nothing, number, inheritable=False)
        os.close(nothing)


def _has_port(number: int, ports: set[int]) -> bool:
    try:
        sock = socket.socket(fileno=number)
    except OSError:  # no socket
        return False
    ends = []
    try:
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            ends.append(sock.getsockname())
            ends.append(sock.getpeername())
    except OSError:  # a listener has no peer
        pass
    finally:
        sock.detach()
    return any(end[1] in ports for end in ends)
