"""The Dockerfile, followed step by step without a container: what it builds starts and serves.

There is no container runtime here, so the test reads the Dockerfile and does what each instruction says,
in a fresh folder in place of the image's root. It stops at an instruction that it does not know.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness.program import ROOT, TOKEN, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = 1000


class Image:
    """One stage of a build: a folder in place of `/`, and what the instructions set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        self.command: list[str] = []
        self.health: list[str] = []
        self.user = 0
        self.user_exists = False
        self.port = 0

    def path(self, inside: str) -> Path:
        """The real place of a path inside the image."""
        return self.root / inside[1:] if inside.startswith("/") else self.folder / inside

    def real(self, text: str) -> str:
        """`text` with the image's own absolute paths made real."""
        return re.sub(r"(?<![\w.])/(app|home)\b", rf"{self.root}/\1", text)


class Build:
    """Follows a Dockerfile; `image` is its last stage."""

    def __init__(self, dockerfile: Path, base: Path) -> None:
        self.context = dockerfile.parent
        self.base = base
        self.stages: dict[str, Image] = {}
        self.bases: list[str] = []
        for instruction, arguments in instructions(dockerfile.read_text()):
            getattr(self, f"do_{instruction.lower()}")(arguments)

    def do_from(self, arguments: str) -> None:
        self.bases.append(arguments.split()[0])
        root = self.base / f"stage{len(self.stages)}"
        root.mkdir()
        self.image = Image(root)
        self.stages[arguments.split()[-1]] = self.image

    def do_workdir(self, arguments: str) -> None:
        self.image.folder = self.image.path(arguments)
        self.image.folder.mkdir(parents=True, exist_ok=True)

    def do_copy(self, arguments: str) -> None:
        *sources, target = arguments.split()
        if sources[0].startswith("--from="):
            stage = self.stages[sources.pop(0).removeprefix("--from=")]
            found = [stage.path(source) for source in sources]
        else:
            # A pattern that fits nothing is fine: a Space without named tokens has no such file.
            found = [path for source in sources for path in sorted(self.context.glob(source))]
            assert all(self.in_context(path.name) for path in found), "ignored by .dockerignore"
        into = self.image.path(target)
        for source in found:
            if source.is_dir():
                shutil.copytree(source, into, symlinks=True)
            else:
                shutil.copy2(source, into / source.name if target.endswith("/") else into)

    def in_context(self, name: str) -> bool:
        """Whether .dockerignore lets a top-level name through: the last pattern that fits decides."""
        kept = True
        for line in (self.context / ".dockerignore").read_text().split("\n"):
            if line and not line.startswith("#") and fnmatch(name, line.lstrip("!")):
                kept = line.startswith("!")
        return kept

    def do_run(self, arguments: str) -> None:
        if made := re.fullmatch(r"useradd --create-home --uid (\d+) (\w+)", arguments):
            home = self.image.path(f"/home/{made[2]}")
            home.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(home, int(made[1]), int(made[1]))
            self.image.user_exists = int(made[1]) == USER
            return
        kept = {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))
        }
        subprocess.run(
            ["sh", "-euc", self.image.real(arguments)],
            cwd=self.image.folder,
            env={**kept, **self.image.environment},
            check=True,
            timeout=300,
        )

    def do_env(self, arguments: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", arguments):
            value = value.replace("$PATH", self.image.environment["PATH"])
            self.image.environment[name] = self.image.real(value)

    def do_user(self, arguments: str) -> None:
        self.image.user = int(arguments)

    def do_expose(self, arguments: str) -> None:
        self.image.port = int(arguments)

    def do_healthcheck(self, arguments: str) -> None:
        self.image.health = json.loads(arguments.partition("CMD ")[2])

    def do_cmd(self, arguments: str) -> None:
        self.image.command = json.loads(arguments)


def instructions(text: str) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines) if name
    ]


@pytest.fixture(scope="module")
def build() -> Iterator[Build]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
        Path(base).chmod(0o755)  # UID 1000 has to get in
        yield Build(ROOT / "Dockerfile", Path(base))


def start(image: Image, **settings: str) -> subprocess.Popen[str]:
    """Start the command as the image would, on other ports."""
    return subprocess.Popen(
        image.command,
        cwd=image.folder,
        env={**image.environment, "UPSTREAM_PORT": str(free_port()), **settings},
        user=image.user if may_become(image) else None,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def may_become(image: Image) -> bool:
    """Whether we may run as the image's user, and that user may run this machine's Python."""
    try:
        python = image.path("/app/.venv/bin/python")
        subprocess.run([python, "-c", ""], user=image.user, check=True)
    except PermissionError:
        return False
    return True


def test_the_image_is_pinned_and_as_a_space_wants_it(build: Build) -> None:
    assert len(set(build.bases)) == 1
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", build.bases[0])
    image = build.image
    assert (image.user, image.port, image.user_exists) == (USER, 7860, True)
    assert image.environment["HOST"] == "0.0.0.0"
    readme = (ROOT / "README.md").read_text()
    front_matter = readme.split("---\n")[1]
    assert "sdk: docker\n" in front_matter
    assert "app_port: 7860\n" in front_matter


def test_the_image_holds_the_program_and_nothing_secret_or_superfluous(build: Build) -> None:
    names = {path.name for path in build.image.folder.iterdir()}
    assert names == {
        ".venv",
        "gate.py",
        "mcp_app.py",
        "run.py",
        "gatehouse",
        "pantry",
        "server",
        "__pycache__",
    }


def test_without_a_token_the_container_refuses_to_start(build: Build) -> None:
    process = start(build.image, PORT=str(free_port()), SPACE_ID="me/space")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output.startswith("MCP_AUTH_TOKEN: is missing")


def test_the_container_serves_keeps_its_data_and_stops_on_sigterm(build: Build) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for expected in ("[]", "Oat milk"):
        process = start(
            build.image,
            PORT=str(port),
            MCP_AUTH_TOKEN=TOKEN,
            SPACE_ID="me/space",
            SPACE_HOST="me-space.hf.space,food.example",
        )
        try:
            wait_until_ready(process, url)
            health = {**build.image.environment, "PORT": str(port)}
            subprocess.run(
                build.image.health, cwd=build.image.folder, env=health, check=True, timeout=30
            )
            page = httpx.get(url, trust_env=False).text
            assert "https://me-space.hf.space/mcp" in page
            assert expected in call(url, "list_inventory", {})
            if expected == "[]":
                call(url, "add_item", {"name": "Oat milk", "quantity": 2})
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=20)
        assert process.returncode == 0, output
        assert TOKEN not in output


def wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("not ready")


def call(url: str, tool: str, arguments: dict[str, object]) -> str:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    answer = httpx.post(
        f"{url}/mcp/",
        headers={
            "Host": "me-space.hf.space",  # in a Space the gate answers to no other name
            "Authorization": f"Bearer {TOKEN}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
            "Accept": "application/json, text/event-stream",
        },
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return answer.text
