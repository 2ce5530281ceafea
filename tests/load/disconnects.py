"""How long after a client has left its upstream is told: `python -m tests.load.disconnects GATE UPSTREAM COUNT TOKEN`.

It is both ends in one process: the upstream that the gate at port GATE talks to, at port UPSTREAM, and the
client, which closes its connection at different moments after the upstream has got its request. Prints the
milliseconds of COUNT streams and of COUNT calls: two lists in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from tests.load.calls import modern_request, request
from tests.load.null_upstream import EVENTS_HEAD

AGES = (0.01, 0.4)
"""The age in seconds of a stream or a call when its client leaves: from, to."""

PATIENCE_SECONDS = 10.0


class Upstream(asyncio.Protocol):
    """Begins an event stream for a GET, never answers a POST, and notices the end of the connection."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.over = asyncio.Event()
        self.over_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET"):
            self.transport.write(EVENTS_HEAD)
        self.asked.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.over_at = time.monotonic()
        self.over.set()


async def leave(port: int, sent: bytes, age: float, accepted: asyncio.Queue[Upstream]) -> float:
    """Make a request, leave when it is that old; the milliseconds until the upstream's connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    upstream = await accepted.get()
    await upstream.asked.wait()
    if sent.startswith(b"GET"):
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(age)
    left_at = time.monotonic()
    writer.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await upstream.over.wait()
    return (upstream.over_at - left_at) * 1000


async def main(gate: int, upstream_port: int, count: int, token: str) -> None:
    """Leave so many streams, then so many calls."""
    accepted: asyncio.Queue[Upstream] = asyncio.Queue()

    def accept() -> Upstream:
        upstream = Upstream()
        accepted.put_nowait(upstream)
        return upstream

    await asyncio.get_running_loop().create_server(accept, "127.0.0.1", upstream_port)
    youngest, oldest = AGES
    ages = [youngest + (oldest - youngest) * number / count for number in range(count)]
    call = modern_request(gate, token, "tools/call", name="add", arguments={"a": 3, "b": 4})
    measured = [
        [await leave(gate, sent, age, accepted) for age in ages]
        for sent in (request(gate, token), call)
    ]
    print(json.dumps(measured))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
