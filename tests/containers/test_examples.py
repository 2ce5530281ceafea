"""The examples in docs/examples: right for the tools that read them, and with settings that are settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from gatehouse.settings.environment import KNOWN, Settings
from tests.harness.containers import RUNTIME, podman
from tests.harness.program import ROOT, TOKEN, free_port

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ROOT / "docs/examples"
PAGE = ROOT / "docs/docker.md"
OF_FASTMCP = {"FASTMCP_STATELESS_HTTP"}
OF_VALKEY = {"VALKEY_PASSWORD"}


def of_compose() -> dict[str, str]:
    return dict(
        yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]["gate"]["environment"]
    )


def of_systemd() -> dict[str, str]:
    unit = (EXAMPLES / "gate.service").read_text()
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))


def manifests(kind: str) -> dict[str, Any]:
    """The manifests of a kind by name."""
    every = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    return {each["metadata"]["name"]: each for each in every if each["kind"] == kind}


def pod_of_gate() -> Any:
    return manifests("Deployment")["gate"]["spec"]["template"]["spec"]


def of_kubernetes() -> dict[str, str]:
    secret = manifests("Secret")["gate"]["stringData"]
    return {
        each["name"]: each.get("value") or secret[each["valueFrom"]["secretKeyRef"]["key"]]
        for each in pod_of_gate()["containers"][0]["env"]
    }


def run(*command: str) -> None:
    """Run a tool, which must be content; skip the test where the tool is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=EXAMPLES, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_takes_its_file() -> None:
    run("docker-compose", "--file=compose.yaml", "config", "--quiet")


def test_caddy_takes_its_file() -> None:
    run("caddy", "validate", "--config=Caddyfile", "--adapter=caddyfile")


def test_systemd_takes_its_units(tmp_path: Path) -> None:
    for name in ("gate.socket", "gate.service"):
        text = (EXAMPLES / name).read_text().replace("/opt/gate/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text)
    run("systemd-analyze", "verify", str(tmp_path / "gate.socket"), str(tmp_path / "gate.service"))


def test_kubernetes_takes_its_manifests() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate")
    for manifest in yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()):
        kubernetes.validate(manifest, kubernetes.latest_version(), strict=True)


@pytest.mark.parametrize("example", [of_compose, of_systemd, of_kubernetes])
def test_examples_name_settings_that_go_together(example: Any) -> None:
    given = {"HOST": "0.0.0.0", **example()}
    assert given.keys() <= KNOWN | OF_FASTMCP
    if "MCP_AUTH_TOKEN" in given:
        given["MCP_AUTH_TOKEN"] = TOKEN
    ours = {name.lower(): value for name, value in given.items() if name in KNOWN}
    settings = Settings(_env_file=None, **ours)
    assert [fault for _, fault in settings.disagreements()] == []


def test_the_page_names_real_settings() -> None:
    named = set(re.findall(r"--env (\w+)=|`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", PAGE.read_text()))
    assert {name for pair in named for name in pair if name} <= {*KNOWN, "FASTMCP_STATELESS_HTTP"}


def test_a_gate_with_the_examples_secret_as_it_stands_does_not_start() -> None:
    token = of_kubernetes()["MCP_AUTH_TOKEN"]
    with pytest.raises(ValueError, match="mcp_auth_token"):
        Settings(_env_file=None, mcp_auth_token=token)


def test_the_secret_has_each_key_that_is_asked_for() -> None:
    keys = manifests("Secret")["gate"]["stringData"].keys()
    asked = re.findall(
        r"secretKeyRef: {name: gate, key: (\w+)}", (EXAMPLES / "kubernetes.yaml").read_text()
    )
    assert {*asked} == {*keys}
    assert (
        f":{manifests('Secret')['gate']['stringData']['VALKEY_PASSWORD']}@valkey:"
        in of_kubernetes()["SHARED_STATE_URL"]
    )


def test_those_who_stop_the_gate_wait_for_longer_than_its_grace() -> None:
    pod = pod_of_gate()
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    late = 2
    assert (
        pod["terminationGracePeriodSeconds"] >= pause + int(of_kubernetes()["GRACE_SECONDS"]) + late
    )
    unit = (EXAMPLES / "gate.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop
    assert int(stop[1]) >= Settings(_env_file=None).grace_seconds + late


def test_the_gate_serves_at_the_socket_that_systemd_hands_it(tmp_path: Path) -> None:
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("systemd-socket-activate is not installed")
    port = free_port()
    own = {
        name: value.replace("/var/lib/gate", str(tmp_path)) for name, value in of_systemd().items()
    }
    add = [sys.executable, str(ROOT / "run.py"), "tokens", "add", "alice"]
    environment = {"PATH": os.environ["PATH"], **own}
    subprocess.run(add, cwd=tmp_path, env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [
            *("systemd-socket-activate", f"--listen=127.0.0.1:{port}"),
            *(f"--setenv={name}={value}" for name, value in own.items()),
            *(sys.executable, str(ROOT / "run.py")),
        ],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    answer = None
    with suppress(httpx.TransportError):
        while answer is None and process.poll() is None:
            with suppress(httpx.ConnectError):  # it listens in a moment
                answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=60, trust_env=False)
    process.terminate()
    _, log = process.communicate(timeout=30)
    assert answer is not None, log
    assert (answer.status_code, process.returncode) == (200, 0), log


def test_the_commands_for_tokens_in_a_volume_work_as_they_stand(new: str, tmp_path: Path) -> None:
    section = (
        PAGE.read_text().partition("\n## Data and tokens in a volume\n")[2].partition("\n## ")[0]
    )
    name = f"gate-{os.getpid()}"
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    script = re.sub(r"(?<= )gate\b", name, "".join(blocks))
    podman("tag", new, name)
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\ncommand=$1\nshift\n"
        f'[ $command = run ] && set -- --network=host --no-healthcheck --env=PORT={free_port()} "$@"\n'
        f'exec podman {RUNTIME} $command "$@"\n'
    )
    docker.chmod(0o755)
    try:
        done = subprocess.run(
            ["bash", "-euxc", script],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "bob" in done.stdout
        assert "true" in podman("container", "inspect", "--format={{.State.Running}}", name)
    finally:
        podman(RUNTIME, "rm", "--force", "--time=0", name, check=False)
        podman("volume", "rm", "--force", name, check=False)
        podman("rmi", f"localhost/{name}", check=False)  # the name, not the image
