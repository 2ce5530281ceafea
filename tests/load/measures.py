"""The ways to measure a server: what calls cost it, what it passes, what it holds, how soon it acts.

The clients are processes of their own, on raw sockets; CPU time and memory are read from outside.
"""

from __future__ import annotations

import json
import math
import socket
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.program import TOKEN, free_port
from tests.load.calls import CONNECTIONS, modern_request
from tests.load.processes import status
from tests.load.servers import gate_before, launch_gate

if TYPE_CHECKING:
    from tests.load.processes import Server, Stage

MEGABYTE = 1_000_000
CALLS_A_SECOND = 100
"""While events are timed: enough to be in their way, too few to keep a core busy."""

START_SECONDS = 60.0
LOOK_SECONDS = 0.005


class Calls:
    """The cost of a call: `Calls(...)(server)` is in milliseconds of CPU, over `count` of them."""

    def __init__(
        self, stage: Stage, count: int, *, token: str = TOKEN, status: int = 200, **which: str
    ) -> None:
        self._stage = stage
        self._count = count
        self._options = [f"--token={token}", f"--status={status}"]
        self._options += [f"--{name}={value}" for name, value in which.items()]

    def __call__(self, server: Server) -> float:
        before = server.cpu_seconds()
        self._stage.run("tests.load.calls", server.port, self._count, *self._options)
        return (server.cpu_seconds() - before) / self._count * 1000


class Download:
    """The bytes that pass in one large answer: `Download(...)(server)` is in megabytes a second of CPU."""

    def __init__(self, stage: Stage, size: int) -> None:
        self._stage = stage
        self._size = size

    def __call__(self, server: Server) -> float:
        before = server.cpu_seconds()
        self._stage.run("tests.load.download", server.port, self._size, TOKEN)
        return self._size / MEGABYTE / (server.cpu_seconds() - before)


class HeldStreams:
    """A gate with event streams that stand open, opened evenly over some seconds."""

    def __init__(
        self, stage: Stage, upstream: Server, count: int, seconds: float, calls: Calls
    ) -> None:
        self.count = count
        self.gate = gate_before(
            stage,
            upstream.port,
            UPSTREAM_KEEP_ALIVE="true",
            MAX_CONNECTIONS=str(count + 100),
        )
        for _ in range(2):
            calls(self.gate)  # what the first calls take is not the streams'
        self._empty = self.gate.memory()
        client = "tests.load.held_streams"
        self._client = stage.client(client, self.gate.port, count, TOKEN, seconds)
        self.kib_each = math.nan
        """The memory each takes, once all are open."""

    def wait(self) -> None:
        """Return when all are open."""
        assert self._client.stdout is not None
        if self._client.stdout.readline() != "open\n":
            raise SystemExit(f"{self.count} streams could not be opened")
        self.kib_each = (self.gate.memory() - self._empty) / max(1, self.count)

    def still_open(self) -> int:
        """How many of them are left; this ends them."""
        printed, _ = self._client.communicate()
        return int(printed)


class Delays(NamedTuple):
    """How long events were under way, in milliseconds: their median, and what one in a hundred exceeds."""

    median: float
    p99: float

    @classmethod
    def of(cls, nanoseconds: list[int]) -> Delays:
        ordered = sorted(nanoseconds)
        middle, late = len(ordered) // 2, min(len(ordered) * 99 // 100, len(ordered) - 1)
        return cls(ordered[middle] / 1e6, ordered[late] / 1e6)


def event_delays(stage: Stage, upstream: Server, seconds: float) -> tuple[Delays, Delays]:
    """The delays of events through a gate that carries calls meanwhile, and directly."""
    gate_port = gate_before(stage, upstream.port, UPSTREAM_KEEP_ALIVE="true").port
    stage.run("tests.load.calls", gate_port, 50 * CONNECTIONS, f"--token={TOKEN}")  # warm up
    endless = CALLS_A_SECOND * 1000
    calls = stage.client(
        "tests.load.calls", gate_port, endless, f"--token={TOKEN}", f"--rate={CALLS_A_SECOND}"
    )
    time.sleep(0.5)
    printed = stage.run("tests.load.event_delays", gate_port, upstream.port, seconds, TOKEN)
    stage.stop(calls)
    through_gate, direct = json.loads(printed)
    return Delays.of(through_gate), Delays.of(direct)


def disconnects(stage: Stage, count: int) -> tuple[list[float], list[float]]:
    """The milliseconds from a client's leaving to the end of the upstream's connection: of streams, of calls."""
    upstream_port = free_port()  # the client is the upstream, too
    server = gate_before(stage, upstream_port)
    printed = stage.run("tests.load.disconnects", server.port, upstream_port, count, TOKEN)
    of_streams, of_calls = json.loads(printed)
    return of_streams, of_calls


def start_seconds(stage: Stage) -> tuple[float, float]:
    """The seconds until a gate as it ships answers /health, and tools/list that is asked right then."""
    began = time.monotonic()
    server = launch_gate(stage, SQLITE_PATH=str(stage.folder / "foodwise.sqlite3"))
    while status(server.port, "/health") != 200:
        if time.monotonic() > began + START_SECONDS:
            raise SystemExit(f"the gate did not start within {START_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)
    alive = time.monotonic() - began
    with socket.create_connection(("127.0.0.1", server.port), START_SECONDS) as connection:
        connection.sendall(modern_request(server.port, TOKEN, "tools/list"))
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    listed = time.monotonic() - began
    if answer.status != 200 or b'"tools"' not in body:
        raise SystemExit(f"unexpected answer: {answer.status} {body!r}")
    stage.stop(server.process)
    return alive, listed
