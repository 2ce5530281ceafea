"""Calls in the moment in which the upstream ends a resting connection: `python -m tests.harness.idle_race 10000 1`.

The upstream (`idle_server.py`) ends connections after half to one and a half times the time for which the gate uses
them again; clients call all together, and pause for four tenths of that time or more. Prints how many calls got which status, how many of
them the upstream swallowed, and how many connections it had.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import trio

from tests.harness.program import ROOT, TOKEN, running
from tests.harness.wire import Peer

CALL = (
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
    + TOKEN.encode()
    + b"\r\nContent-Length: 2\r\n\r\n{}"
)


class Outcome(NamedTuple):
    """The calls by status, those that the upstream took and did not answer, and its connections."""

    statuses: Counter[int]
    swallowed: int
    connections: int


def race(folder: Path, calls: int, seconds: float, clients: int) -> Outcome:
    """Make so many calls through a program with that UPSTREAM_KEEP_ALIVE."""
    server = str(ROOT / "tests/harness/idle_server.py")
    command = [sys.executable, server, str(seconds / 2), str(seconds * 3 / 2)]
    upstream = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = upstream.stdout.readline().strip() if upstream.stdout else ""
    settings = {"UPSTREAM_PORT": port, "UPSTREAM_KEEP_ALIVE": str(seconds)}
    try:
        with running(folder, MCP_APP="", **settings) as program:
            program.wait_for()
            statuses = trio.run(called, program.port, calls, seconds, clients)
    finally:
        upstream.kill()
        said, _ = upstream.communicate()
    lines = Counter(said.splitlines())
    return Outcome(statuses, lines["swallowed"], lines["connection"])


async def called(port: int, calls: int, seconds: float, clients: int) -> Counter[int]:
    statuses = Counter[int]()
    peers = [Peer(await trio.open_tcp_stream("127.0.0.1", port)) for _ in range(clients)]

    async def call(peer: Peer) -> None:
        await peer.send(CALL)
        head = await peer.head()
        await peer.body(head)
        statuses[head.status] += 1

    while statuses.total() < calls:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(call, peer)
        await trio.sleep(random.uniform(0.4, 1.0) * seconds)  # noqa: S311
    return statuses


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(race(Path(folder), int(sys.argv[1]), float(sys.argv[2]), 200))  # noqa: T201
