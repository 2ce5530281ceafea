"""A real Redis for the tests, from Debian's package `redis-server`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis

from gatehouse.policy.shared_state import SharedState
from tests.harness.program import free_port

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from pathlib import Path

Share = Callable[..., SharedState]
"""Makes the shared state of one more gate."""

SOON = 0.15
"""The seconds after which the tests' gates ask again a Redis that was away."""

PASSWORD = "p4ss/word@f0r:tests?0nly#1"


class RedisServer:
    """A Redis with a password that keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"
        self.folder = folder
        self._command = ["redis-server", "--port", str(self.port), "--requirepass", PASSWORD]
        self._command += ["--save", "", "--appendonly", "no", *options]
        self.start()

    def start(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
            while self._process.poll() is None and time.monotonic() < deadline:
                with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.1):
                    return
                time.sleep(0.01)
            self.kill()  # somebody else has the port, for a moment mostly
        raise AssertionError("redis-server does not listen")

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Redis as an operator sees it."""
        client = redis.Redis(port=self.port, password=PASSWORD)
        try:
            yield client
        finally:
            client.close()


def need_redis() -> None:
    if not shutil.which("redis-server"):
        assert not os.environ.get("CI"), "redis-server is not installed, and CI must try with it"
        pytest.skip("redis-server is not installed")
