"""Runs the whole program as a user does, `python run.py`, and keeps every line it prints."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "t0Ken/for+tests.only~3f9c1b7ad25e48c0"
START_SECONDS = 30.0
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % 10
_ports = cycle(12_000 + 2000 * WORKER + (os.getpid() + n) % 2000 for n in range(2000))
"""Below the ports that the kernel gives to outgoing connections; no other worker of pytest has them."""


def free_port() -> int:
    """A port that nobody listens on, and nobody else is about to."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Program:
    """A running `run.py`: where it listens, and what it has printed so far."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str],
        *,
        output: int | None = None,
        root: Path = ROOT,
    ) -> None:
        """With `output`, both streams go to that descriptor instead of files. `root` is a copy of the gate.

        `{port}` in a setting stands for the port that it listens on.
        """
        self.settings = settings
        self.folder = folder
        given = settings.get("PORT", "")
        self.port = int(given) if given.isdecimal() else free_port()
        self.upstream_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.endpoint = f"{self.url}/mcp"
        self._stdout, self._stderr = folder / "stdout.txt", folder / "stderr.txt"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {
            "PORT": str(self.port),
            "UPSTREAM_PORT": str(self.upstream_port),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/harness")]),
            **kept,
            **{name: text.replace("{port}", str(self.port)) for name, text in settings.items()},
        }
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(root / "run.py")],
                cwd=folder,
                env=environment,
                stdout=stdout if output is None else output,
                stderr=stderr if output is None else output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def output(self) -> str:
        """All that has been printed, both streams."""
        return self._stdout.read_text() + self._stderr.read_text()

    @property
    def log(self) -> str:
        """All that went to stderr."""
        return self._stderr.read_text()

    @property
    def errors(self) -> list[str]:
        """The lines of errors; not of a loop that stood still, since on a busy machine each may."""
        still = "the event loop has stood still"
        lines = self.output.splitlines()
        return [line for line in lines if " ERROR " in line and still not in line]

    def wait_for(self, path: str = "/ready") -> None:
        """Wait until `path` answers 200."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.output}")
            try:
                if httpx.get(self.url + path, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} was not 200 within {START_SECONDS} s: {self.output}")

    def wait_for_log(self, pattern: str) -> None:
        """Wait until a line of either stream matches: a client may have its answer a moment before."""
        deadline = time.monotonic() + 20
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, f"{pattern} is not in the log: {self.output}"
            time.sleep(0.02)

    def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = 15.0) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(signum)
        return self.process.wait(seconds)


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Program]:
    """The program with these settings and TOKEN (unless given), until the block ends."""
    program = Program(folder, {"MCP_AUTH_TOKEN": TOKEN, **settings})
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()
