"""A child that a tool forks (`multiprocessing`, by default on Linux) is no gate, though it begins as a copy of it.

It would hold the gate's sockets: connections that the gate ends would stay open for their clients, who would send
the next request to nobody, and the port would be in use for as long as the child lives, after the gate's end too.
What a child of an own program gets (`subprocess`) is none of this: there all descriptors are closed.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial

DESCRIPTORS = "/dev/fd"


def keep_sockets(ports: set[int]) -> None:
    """See to it that no child that is forked from now on has a socket with one of these ports at either end."""
    os.register_at_fork(after_in_child=partial(_let_go, ports))


def _let_go(ports: set[int]) -> None:
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in map(int, os.listdir(DESCRIPTORS)):  # noqa: PTH208
            if _has_port(number, ports):
                # Not closed: the objects that stand for them would close the number once more.
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
