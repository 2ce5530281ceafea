"""Two real authorization servers, of two makers: oidc-provider (Node) and nanoidp (Python)."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.clients.node import HERE
from tests.harness.identity.person import ANSWERS
from tests.harness.npm import unavailable
from tests.harness.program import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 30.0
INSTALL_SECONDS = 300.0

NANOIDP_PINS = HERE / "requirements-nanoidp.txt"
"""Compiled with the command in docs/design.md (Pins) from the one line `nanoidp==3.4.0`."""

SCOPES = ["mcp:read", "mcp:write"]

MACHINE, MACHINE_SECRET = "machine", "machine-s3cret-of-the-tests-0123456789"
"""A client of oidc-provider that signs in without a person, and gets opaque tokens."""
GATE, GATE_SECRET = "gate", "gate-s3cret-of-the-tests-0123456789"
"""The client by which the gate asks about opaque tokens."""


@dataclass
class RealServer:
    """One that runs: where, and what it has printed."""

    issuer: str
    output: Path

    @property
    def metadata(self) -> dict[str, Any]:
        """Its description of itself."""
        answer = httpx.get(f"{self.issuer}/.well-known/openid-configuration", trust_env=False)
        return dict(answer.json())

    @property
    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def rotate(self) -> int:
        """Have nanoidp sign with another key; the status of its answer."""
        return httpx.post(f"{self.issuer}/api/keys/rotate", trust_env=False).status_code

    @property
    def asked(self) -> list[str]:
        """Each request as `METHOD path`, in oidc-provider's log."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [f"{line['method']} {line['path']}" for line in lines]


@contextmanager
def oidc_provider(folder: Path, **variables: str) -> Iterator[RealServer]:
    """oidc-provider, with TTL, WIDE and CLIENT if they are given; the Node clients are installed."""
    port = free_port()
    command = ["node", str(HERE / "oidc_provider.mjs")]
    given = {"PORT": str(port), "PATH": os.environ["PATH"], **variables}
    with _running(command, given, folder / "oidc-provider.txt", port) as server:
        yield server


@contextmanager
def nanoidp(folder: Path, *clients: dict[str, Any]) -> Iterator[RealServer]:
    """nanoidp, where clients register themselves, but for those that it knows already."""
    python, port = nanoidp_python(), free_port()
    config = folder / "nanoidp"
    config.mkdir()
    oauth = {
        "issuer": f"http://127.0.0.1:{port}",
        "audience": "another-api",
        "scopes_supported": ["openid", "profile", "email", "offline_access", *SCOPES],
        "dynamic_registration": {"enabled": True},
        "clients": clients,
    }
    person = {"password": ANSWERS["password"], "email": "alice@example.com"}
    _write(config / "settings.yaml", server={"host": "127.0.0.1", "port": port}, oauth=oauth)
    _write(config / "users.yaml", users={ANSWERS["username"]: person})
    command = [str(python), "-m", "nanoidp", "--config", str(config)]
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    with _running(command, given, folder / "nanoidp.txt", port) as server:
        yield server


def _write(file: Path, **content: Any) -> None:
    file.write_text(json.dumps({"config_version": 1, **content}))  # JSON is YAML


def nanoidp_python() -> Path:
    """The Python of a virtual environment with nanoidp in it. With `CI` set it is made when it is first asked for: that
    takes half a minute, and a way to PyPI.
    """
    folder = HERE / ".venv"
    python, done = folder / "bin" / "python", folder / "installed"
    with NANOIDP_PINS.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another run of the tests may be installing just now
        if not (done.exists() and done.read_text() == NANOIDP_PINS.read_text()):
            if not os.environ.get("CI"):
                pytest.skip(
                    "nanoidp is not installed; with CI=true in the environment this test does it"
                )
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            pip = (
                str(python),
                "-m",
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--no-compile",
                "--require-hashes",
            )
            _run(*pip, "-r", str(NANOIDP_PINS))
            done.write_text(NANOIDP_PINS.read_text())
    return python


def _run(*command: str) -> None:
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        unavailable(f"installing nanoidp took more than {INSTALL_SECONDS:.0f} s")
    if result.returncode:
        unavailable(f"nanoidp cannot be installed: {' '.join(result.stdout.split())[-300:]}")


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], output: Path, port: int
) -> Iterator[RealServer]:
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=output.parent,  # nanoidp leaves its keys there
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield RealServer(f"http://127.0.0.1:{port}", output)
    finally:
        process.kill()
        process.wait()
