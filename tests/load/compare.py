"""What a call costs in the gate, against the floor of its stack: `python -m tests.load.compare`.

CPU time (user and system) of the serving process a request, from /proc; the ratio of medians over
interleaved rounds in one run, because wall times mean little on shared machines. The first round warms
up and does not count. The upstream's own time is not counted.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.program import ROOT, TOKEN, free_port

TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A program under measurement, listening on a port of its own."""

    def __init__(self, *command: str, **settings: str) -> None:
        self.port = free_port()
        arguments = [part.format(port=self.port) for part in command]
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "PORT": str(self.port), "MCP_AUTH_TOKEN": TOKEN, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def cpu_seconds(self) -> float:
        """User and system time so far: fields 14 and 15 of proc(5), «stat»."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cost(self, count: int, token: str) -> float:
        """Milliseconds of CPU a request, over `count` of them."""
        before = self.cpu_seconds()
        client = [sys.executable, "-m", "tests.load.calls", str(self.port), str(count), token]
        subprocess.run(client, cwd=ROOT, check=True)
        return (self.cpu_seconds() - before) / count * 1000


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1600, help="requests a round, each way")
    options = parser.parse_args()
    upstream = Server("-m", "tests.load.null_upstream", "{port}")
    elsewhere = {"MCP_APP": "", "UPSTREAM_PORT": str(upstream.port)}
    floor = Server("-m", "tests.load.floor", "{port}")
    keeping = Server("run.py", UPSTREAM_KEEP_ALIVE="true", **elsewhere)
    closing = Server("run.py", **elsewhere)
    rows = {
        "floor: a bare application on Hypercorn": (floor, TOKEN),
        "gate, connections to the upstream kept": (keeping, TOKEN),
        "gate, a new connection for each request": (closing, TOKEN),
        "gate, 401": (keeping, "wrong" * 8),
    }
    costs: dict[str, list[float]] = {name: [] for name in rows}
    try:
        for number in range(options.rounds + 1):
            for name, (server, token) in rows.items():
                cost = server.cost(options.count, token)
                if number:
                    costs[name].append(cost)
    finally:
        for server in (upstream, floor, keeping, closing):
            server.process.kill()
    base = statistics.median(next(iter(costs.values())))
    print("| what | ms of CPU a request | x floor |\n| --- | --- | --- |")
    for name, values in costs.items():
        middle = statistics.median(values)
        print(
            f"| {name} | {middle:.3f} ({min(values):.3f}-{max(values):.3f}) | {middle / base:.2f} |"
        )


if __name__ == "__main__":
    main()
