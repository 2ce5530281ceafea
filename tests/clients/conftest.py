"""The whole program for real clients to meet, and the Node clients themselves.

Two programs run for the whole session. `program` hosts the probe server. `sealed` has an upstream that
nobody may ever connect to: it is for the clients that are to be refused. When the session is over, both
must have kept their token to themselves, and stop as they should.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.clients.credentials import WRONG
from tests.clients.stdio import NodePrograms
from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN, Program, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 240.0
LOG_SECONDS = 5.0

HEALTH_CHECK = "GET /health 200 "


@contextmanager
def discreet(folder: Path, **settings: str) -> Iterator[Program]:
    """The program; at the end it stops cleanly, has had no fault, and has printed no token."""
    with running(folder, **settings) as program:
        yield program
        status = program.stop()
        output = program.output
    assert status == 0, output
    for secret in (TOKEN, WRONG):
        assert pieces_in(output, secret) == set()
    assert program.errors == []


@pytest.fixture(scope="session")
def upstream_mode() -> str:
    """How the gate reaches the probe server: UPSTREAM_MODE."""
    return "network"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, upstream_mode: str) -> Iterator[Program]:
    """The program in front of the probe server, with TOKEN."""
    folder = tmp_path_factory.mktemp("program")
    with discreet(folder, MCP_APP="probe_server:mcp", UPSTREAM_MODE=upstream_mode) as program:
        program.wait_for("/ready")
        yield program


@dataclass
class Sealed:
    """A program, with TOKEN, whose upstream nobody may ever connect to."""

    program: Program
    upstream: socket.socket

    @property
    def url(self) -> str:
        return self.program.url

    def begin(self) -> None:
        """Mark the log with a health check: what came before has been logged before it."""
        checks = self.program.log.count(HEALTH_CHECK)
        self.program.wait_for("/health")
        assert wait_until(lambda: self.program.log.count(HEALTH_CHECK) > checks)

    def answers(self) -> set[str]:
        """Each kind of request since `begin`, with the status of its answer: `POST /mcp 401`."""
        lines = self.program.log.rpartition(HEALTH_CHECK)[2].splitlines()
        entries = [line.partition(" gate.access: ")[2].split() for line in lines]
        return {" ".join(entry[:3]) for entry in entries if entry}

    def assert_answered(self, *expected: str) -> None:
        """These kinds of requests came and no others, and none of them went upstream."""
        # A client may have its answer a moment before the log has its line.
        wait_until(lambda: self.answers() >= set(expected))
        assert self.answers() == set(expected)
        with pytest.raises(BlockingIOError):
            self.upstream.accept()


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for the condition to hold; False if it does not within LOG_SECONDS."""
    deadline = time.monotonic() + LOG_SECONDS
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


@pytest.fixture(scope="session")
def sealed_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.setblocking(False)
        port = str(upstream.getsockname()[1])
        folder = tmp_path_factory.mktemp("sealed")
        with discreet(folder, MCP_APP="", UPSTREAM_PORT=port) as program:
            program.wait_for("/health")
            yield Sealed(program, upstream)


@pytest.fixture
def sealed(sealed_program: Sealed) -> Sealed:
    """The sealed program, with its log marked for one test."""
    sealed_program.begin()
    return sealed_program


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The Node clients, installed from the lock file unless that has been done."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            unavailable(f"{command} is not on this machine")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another run of the tests may be installing just now
        # npm writes this file last, so it is also the sign of a complete installation.
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            install()
    return installed.parent


def install() -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        unavailable(f"npm ci took more than {INSTALL_SECONDS:.0f} s")
    if done.returncode:
        reason = "; ".join(done.stdout.splitlines()[:2])  # what follows is advice
        unavailable(f"npm ci ended with {done.returncode}: {reason}")


def unavailable(reason: str) -> NoReturn:
    """Skip what needs Node; in CI, where it has to be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def node(node_modules: Path, tmp_path: Path) -> Iterator[NodePrograms]:
    """The Node clients with a home of their own, where opening a browser fails the test."""
    programs = NodePrograms(node_modules / ".bin", tmp_path)
    yield programs
    assert not programs.opened_in_browser.exists(), programs.opened_in_browser.read_text()
