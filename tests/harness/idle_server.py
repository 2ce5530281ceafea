"""An HTTP server that ends resting connections at random times: `python idle_server.py FROM TO`.

It answers every request with `{}`, and closes a connection that rests for a time between FROM and TO seconds, drawn
anew after each answer, unless a request has just come. Prints its port, then "connection" for each, and "swallowed"
for a request that came between that look and the closing, and that only the server knows of.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

FROM, TO = float(sys.argv[1]), float(sys.argv[2])
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

ANSWER_SECONDS = 0.05
"""Long enough that calls which come together have a connection each."""


class Connection(asyncio.Protocol):
    """One connection; requests have no body, or one that comes with the head."""

    timer: asyncio.TimerHandle | None = None
    ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        print("connection", flush=True)  # noqa: T201
        self.transport = cast("asyncio.Transport", transport)
        self.socket = transport.get_extra_info("socket")
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        if self.ended:
            print("swallowed", flush=True)  # noqa: T201
            return
        self.connection_lost(None)
        self.later(ANSWER_SECONDS, self.answer)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timer = asyncio.get_running_loop().call_later(seconds, callback)

    def answer(self) -> None:
        self.transport.write(ANSWER)
        self.later(random.uniform(FROM, TO), self.end)  # noqa: S311

    def end(self) -> None:
        if not self.poll.poll(0):
            self.socket.shutdown(socket.SHUT_RDWR)
            self.ended = True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self.timer is not None:
            self.timer.cancel()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


asyncio.run(main())
