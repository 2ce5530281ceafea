"""How long events take from the upstream to a client: `python -m tests.load.event_delays GATE UPSTREAM SECONDS TOKEN`.

Reads a stream through the gate at port GATE and another one from the null upstream at port UPSTREAM at the
same time, COUNT events each, and prints the delays in nanoseconds: two lists in JSON, in that order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from tests.load.calls import UnexpectedError, request

EVERY_MS = 20


async def delays(port: int, count: int, token: str) -> list[int]:
    """The delay of each event: the time now, less the time that stands in it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(port, token, f"/mcp/events/{EVERY_MS}"))
    measured: list[int] = []
    while len(measured) < count:
        line = await reader.readline()
        now = time.monotonic_ns()
        if line.startswith(b"data: "):
            measured.append(now - int(line[6:]))
        elif not line:
            raise UnexpectedError("the stream ended")
    writer.close()
    return measured


async def main(gate: int, upstream: int, seconds: float, token: str) -> None:
    """Measure both ways at once."""
    count = round(seconds * 1000 / EVERY_MS)
    both = await asyncio.gather(delays(gate, count, token), delays(upstream, count, token))
    print(json.dumps(both))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
