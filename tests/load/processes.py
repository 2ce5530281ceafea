"""Starts programs, tells what they cost from /proc, and kills all of them at the end."""

from __future__ import annotations

import http.client
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0
KEPT = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE")


class NotThereError(Exception):
    """Something to be measured cannot be had on this machine; the text says why."""


class Server:
    """A program under measurement, which listens on `port`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def wait(self, path: str = "") -> None:
        """Return when it accepts connections, or when `path` answers 200; NotThereError if it never does."""
        deadline = time.monotonic() + START_SECONDS
        while not (status(self.port, path) == 200 if path else accepts(self.port)):
            if (ended := self.process.poll()) is not None:
                raise NotThereError(f"ended with status {ended}")
            if time.monotonic() > deadline:
                raise NotThereError(f"did not start within {START_SECONDS:g} s")
            time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """User and system time so far: its own, and that of all its descendants, living or ended."""
        return usage(self.process.pid)[0]

    def memory(self) -> int:
        """The memory it holds now, in KiB."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """The most it has held since `forget_peak`, in KiB."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let `peak_memory` begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0])


class Stage:
    """The programs of one group of measurements, and a folder for their files.

    When the block ends, however it ends, all of them are killed. Each has a process group of its own,
    so that its children go with it.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tests-load-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        processes = self._processes[::-1]  # clients first, who would complain
        for process in processes:
            kill(process)
        for process in processes:
            reap(process)
        self._folder.cleanup()

    def start(self, command: Sequence[str], port: int, **environment: str) -> Server:
        """Start a program that is going to listen on `port`. Its output is dropped."""
        return Server(self._popen(command, environment, subprocess.DEVNULL), port)

    def stop(self, process: subprocess.Popen[str]) -> None:
        """Kill one of the programs before the others."""
        kill(process)
        reap(process)
        self._processes.remove(process)

    def client(self, module: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a module that talks to us over its standard input and output."""
        return self._popen(in_python(module, *arguments), {}, subprocess.PIPE)

    def run(self, module: str, *arguments: object) -> str:
        """Run a module to its end; returns what it printed."""
        process = self.client(module, *arguments)
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{module} ended with status {process.returncode}")
        self._processes.remove(process)
        return printed

    def _popen(
        self, command: Sequence[str], environment: dict[str, str], output: int
    ) -> subprocess.Popen[str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        process = subprocess.Popen(
            command,
            cwd=self.folder,  # where no .env is
            env={**kept, "PYTHONPATH": str(ROOT), **environment},
            stdin=output,
            stdout=output,
            stderr=subprocess.DEVNULL if output == subprocess.DEVNULL else None,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process


def in_python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process with all its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def reap(process: subprocess.Popen[str]) -> None:
    """Wait for a killed process, and close what we had to talk to it."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def allow_many_files() -> None:
    """Let us and whom we start have as many file descriptors as we may: thousands of streams need them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def usage(root: int) -> tuple[float, float]:
    """CPU seconds that a process and its descendants have used, and MiB that they hold; NaN if it is gone.

    From proc(5), «stat»: utime and stime (fields 14 and 15), cutime and cstime (those of children that
    have ended), and rss (24). A page that several share counts for each.
    """
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    if root not in stats or stats[root][0] == "Z":  # a zombie holds nothing
        return math.nan, math.nan
    tree = [root]
    for pid in tree:
        tree += [child for child, stat in stats.items() if int(stat[1]) == pid]
    ticks = sum(int(number) for pid in tree for number in stats[pid][11:15])
    pages = sum(int(stats[pid][21]) for pid in tree)
    return ticks / TICKS, pages * resource.getpagesize() / 2**20


def accepts(port: int) -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def status(port: int, path: str) -> int:
    """The status of the answer to a GET; 0 if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
