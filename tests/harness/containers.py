"""Builds the image with podman as it stands, and runs it: on the network of this machine, as the image's own user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.harness.program import ROOT, TOKEN, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = next(
    line.split()[1] for line in (ROOT / "Dockerfile").read_text().split("\n") if "FROM" in line[:4]
)
"""The image that the Dockerfile begins with."""

TRIAL = "localhost/gate-trial"
"""An image by which it is seen whether containers can be built and run at all."""

BUILD_SECONDS = 600
START_SECONDS = 60
RUNTIME = f"--runtime={ROOT}/tests/containers/runtime.py"
RUN = (RUNTIME, "run", "--network=host", "--no-healthcheck")
"""Without timers for the health check, which podman makes of systemd."""


def podman(*arguments: str, seconds: float = 60, check: bool = True) -> str:
    """Run podman; returns its output, both streams."""
    done = subprocess.run(
        ["podman", *arguments],
        check=False,
        timeout=seconds,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


@cache
def why_not() -> str:
    """Why no container can be built and run here; empty if one can."""
    if "CI" not in os.environ:
        return "it takes minutes: only with CI=true, as in .ci/run"
    if missing := [name for name in ("podman", "runc") if shutil.which(name) is None]:
        return f"{' and '.join(missing)} is not installed"
    if os.geteuid() != 0:
        return "containers are built and run as root here"
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode != 0:
        return f"there is no base image {BASE}; tests/containers/base.sh makes it"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(f"FROM {BASE}\nRUN true\n")
        try:
            build(Path(folder), TRIAL)
            podman(*RUN, "--rm", TRIAL, "true")
        except AssertionError as error:
            return f"no container can be built and run: {str(error).strip()[-300:]}"
    return ""


def pip_of_this_machine() -> list[str]:
    """Volumes that let pip in the build find packages as pip does here: its settings, and files these name."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    values: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # the last one wins
        values |= re.findall(rf"^{section}\.([\w-]+)='(.*)'$", pip, re.MULTILINE)
    for name in ("config-file", "require-virtualenv"):
        values.pop(name, None)
    folder = Path(tempfile.mkdtemp(prefix="pip-of-this-machine-"))
    lines = [f"{name} = {value}" for name, value in values.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    text = " ".join(values.values())
    # The pages of an index name files beside it, hence its parent.
    named = {str(Path(path).parent) for path in re.findall(r"file://(/\S+)", text)}
    named |= set(re.findall(r"(?<!\S)/\S+", text))
    volumes = [f"{folder}/pip.conf:/etc/pip.conf:ro"]
    volumes += [f"{path}:{path}:ro" for path in sorted(named) if Path(path).exists()]
    return [f"--volume={volume}" for volume in volumes]


def build(context: Path, tag: str, *, check: bool = True) -> str:
    """Build the Dockerfile of a folder; returns all that the build has printed."""
    options = ["--format=docker", "--isolation=chroot", "--network=host", "--pull=never"]
    return podman(
        *("build", *options, *pip_of_this_machine(), f"--tag={tag}", str(context)),
        seconds=BUILD_SECONDS,
        check=check,
    )


def of_image(tag: str, member: str) -> Any:
    """A member of the image's configuration."""
    return json.loads(podman("image", "inspect", f"--format={{{{json .{member}}}}}", tag))


class Container:
    """A container that runs, with TOKEN and a port of its own."""

    def __init__(self, tag: str, settings: dict[str, str], options: tuple[str, ...]) -> None:
        self.tag = tag
        self.port = free_port()
        host = "[::1]" if settings.get("HOST") == "::" else "127.0.0.1"
        self.url = f"http://{host}:{self.port}"
        given = {
            "MCP_AUTH_TOKEN": TOKEN,
            "PORT": str(self.port),
            "UPSTREAM_PORT": str(free_port()),
            **settings,
        }
        self.name = podman(
            *(*RUN, "--detach"),
            *(f"--env={name}={value}" for name, value in given.items()),
            *(*options, tag),
        ).split()[-1]

    @property
    def log(self) -> str:
        """All that the program has printed."""
        return podman("logs", self.name)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the container: `exec`."""
        done = subprocess.run(
            ["podman", RUNTIME, "exec", self.name, *command],
            check=False,
            timeout=60,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def healthy(self) -> bool:
        """True if the image's health check, as it stands there, says so."""
        kind, *command = of_image(self.tag, "HealthCheck")["Test"]
        assert kind == "CMD"
        return self.run(*command, check=False).returncode == 0

    def wait_until_ready(self) -> None:
        """Wait until the server behind the gate answers, too."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/ready", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert (
                podman("container", "inspect", "--format={{.State.Running}}", self.name).strip()
                == "true"
            ), self.log
            time.sleep(0.2)
        raise AssertionError(f"not ready: {self.log}")

    def wait_for_log(self, words: str) -> None:
        """Wait until the program has printed these words."""
        deadline = time.monotonic() + START_SECONDS
        while words not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def call(self, tool: str, token: str = TOKEN, **arguments: object) -> httpx.Response:
        """Call a tool through the gate."""
        params = {"name": tool, "arguments": arguments, "_meta": META}
        return httpx.post(
            f"{self.url}/mcp",
            headers={
                "Authorization": f"Bearer {token}",
                "MCP-Protocol-Version": VERSION,
                "Mcp-Method": "tools/call",
                "Mcp-Name": tool,
                "Accept": "application/json, text/event-stream",
            },
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            trust_env=False,
            timeout=60,
        )

    def stop(self) -> tuple[int, float]:
        """Stop it as `docker stop` does: SIGTERM, and after 10 s SIGKILL. The exit status, and the seconds it took."""
        begun = time.monotonic()
        podman(RUNTIME, "stop", "--time=10", self.name)
        took = time.monotonic() - begun
        return int(podman("wait", self.name)), took


VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@contextmanager
def running(tag: str, *options: str, **settings: str) -> Iterator[Container]:
    """A container with these settings, ready, until the block ends."""
    container = Container(tag, settings, options)
    try:
        container.wait_until_ready()
        yield container
    finally:
        podman(RUNTIME, "rm", "--force", "--time=0", "--volumes", container.name)
