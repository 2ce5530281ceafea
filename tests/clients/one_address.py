"""One address before several gates, or before one that is started again elsewhere: each connection goes to the next gate."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 65_536


class OneAddress:
    """Listens on loopback, and passes bytes on."""

    def __init__(self) -> None:
        self.gates: list[int] = []
        """The ports of the gates."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._turn = 0
        self._thread = Thread(target=self._accept)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"{self.url}/mcp"

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near = self._socket.accept()[0]
            except OSError:
                return
            self._turn += 1
            Thread(target=self._join, args=[near, self._turn], daemon=True).start()

    def _join(self, near: socket.socket, turn: int) -> None:
        with near, suppress(OSError):
            port = self.gates[turn % len(self.gates)]
            with socket.create_connection(("127.0.0.1", port)) as far:
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = Thread(target=_pass, args=[far, near], daemon=True)
                back.start()
                _pass(near, far)
                back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            target.sendall(chunk)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def one_address() -> Iterator[OneAddress]:
    """The address, until the block ends."""
    address = OneAddress()
    try:
        yield address
    finally:
        address.close()
