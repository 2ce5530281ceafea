"""The image that the Dockerfile builds, as it is: built with podman, run as UID 1000."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from gatehouse.tokens.value import VALUE_PATTERN
from tests.harness.containers import BASE, RUN, Container, build, of_image, podman, running
from tests.harness.program import TOKEN
from tests.harness.spaces import ADDRESS, DEPENDENCY, Space, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_OUR_BYTES = 140 * 2**20
"""Beyond the base image: packages, the program, byte code. It was 112 MiB on 2026-11-26."""

READ_ONLY = ("--read-only", "--volume=/home/user")
MY_SERVER = {"MCP_APP": "my_server:mcp"}
IN_VOLUME = {"TOKENS_FILE": "/home/user/tokens.toml"}

WITHOUT_BYTE_CODE = """
import pathlib, importlib.util
for path in pathlib.Path("/app").rglob("*.py"):
    if not pathlib.Path(importlib.util.cache_from_source(path)).exists():
        print(path)
"""


@pytest.fixture(scope="module")
def container(new: str) -> Iterator[Container]:
    """The image of a new Space with a server of its own, with a root that nobody can write."""
    volume = f"gate-{os.getpid()}"
    options = ("--read-only", f"--volume={volume}:/home/user")
    setting = f"--env=TOKENS_FILE={IN_VOLUME['TOKENS_FILE']}"
    try:
        podman(*RUN, "--rm", *options, setting, new, "python", "run.py", "tokens", "add", "first")
        with running(new, *options, **MY_SERVER, **IN_VOLUME) as container:
            yield container
    finally:
        podman("volume", "rm", volume)


def test_an_own_server_in_a_new_space_answers_with_a_package_of_its_own(
    container: Container,
) -> None:
    assert "1.2 million" in container.call("in_words", number=1_200_000).text


def test_an_own_server_in_a_space_that_exists_answers(existing: str) -> None:
    with running(existing, MCP_APP="app:mcp") as container:
        assert "1.2 million" in container.call("in_words", number=1_200_000).text


def test_a_server_that_pip_has_installed_answers(existing: str) -> None:
    with running(existing, MCP_APP="own_package.server:mcp") as container:
        assert "1.2 million" in container.call("in_words", number=1_200_000).text


def test_the_program_is_not_root_and_cannot_change_itself(container: Container, new: str) -> None:
    assert of_image(new, "Config.User") == "1000"
    assert container.run("id", "-u").stdout.strip() == "1000"
    with running(new, **MY_SERVER) as writable:
        for place in ("/app", "/app/gatehouse", "/app/server", "/app/.venv"):
            assert writable.run("touch", f"{place}/x", check=False).returncode != 0
        writable.run("touch", "/home/user/x")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::"])
def test_the_health_check_follows_host_and_port(new: str, host: str) -> None:
    with running(new, *READ_ONLY, HOST=host, **MY_SERVER) as container:
        assert container.healthy()


def test_the_health_check_of_a_gate_that_does_not_answer_fails(container: Container) -> None:
    nobody = container.run(
        *("env", "PORT=1", "python", "-m", "gatehouse.commands.health"), check=False
    )
    assert nobody.returncode == 1
    assert "Connection refused" in nobody.stderr


def test_a_token_made_in_the_container_is_good_at_once(container: Container) -> None:
    made = container.run("python", "run.py", "tokens", "add", "alice").stdout
    value = VALUE_PATTERN.search(made)
    assert value, "no value is shown"
    deadline = time.monotonic() + 20
    while (answer := container.call("in_words", value[0], number=1)).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer.status_code == 200


def test_all_modules_are_compiled(container: Container) -> None:
    left = container.run("python", "-c", WITHOUT_BYTE_CODE).stdout.split()
    assert left == []


def test_the_image_is_small_and_holds_no_secret(
    container: Container, new: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    ours = of_image(new, "Size") - of_image(BASE, "Size")
    record_testsuite_property("MiB of the image that are ours", ours // 2**20)
    assert ours < MAX_OUR_BYTES, f"{ours} bytes of {of_image(new, 'Size')} are ours"
    names = set(container.run("ls", "-A", "/app").stdout.split())
    program = {"gate.py", "mcp_app.py", "run.py", "gatehouse", "pantry", "server"}
    assert names == {".venv", "__pycache__", *program}


def test_an_idle_gate_ends_with_status_0(new: str) -> None:
    with running(new, *READ_ONLY, **MY_SERVER) as container:
        status, seconds = container.stop()
    assert status == 0
    assert seconds < 8


@pytest.mark.parametrize(("wanted", "answered"), [(5, True), (60, False)])
def test_a_stop_lets_a_call_finish_within_the_time_that_docker_gives(
    new: str, wanted: int, *, answered: bool
) -> None:
    with running(new, *READ_ONLY, **MY_SERVER) as container, ThreadPoolExecutor() as threads:
        calling = threads.submit(container.call, "wait", seconds=wanted)
        container.wait_for_log("the wait has begun")
        status, _ = container.stop()
        log = container.log
        if answered:
            assert "waited" in calling.result().text
        else:
            with pytest.raises(httpx.TransportError):
                calling.result()
    assert status == 0, log  # 137: killed
    assert TOKEN not in log


def test_a_package_that_does_not_go_with_a_pinned_one_ends_the_build(
    new: str, folder_of: Callable[[str], Path]
) -> None:
    context = Space(folder_of("conflict"), "conflict", {"README.md": ""}).folder / "gate"
    (context / "server/requirements.txt").write_text(f"{DEPENDENCY}\nhttpx==0.27.0\n")
    printed = build(context, "localhost/gate-of-conflict", check=False)
    assert "httpx==0.27.0" in printed
    assert "(constraint) httpx==0.28.1" in printed
    assert "server/README.md" in printed


def test_a_push_of_this_repository_is_refused_as_the_page_says(
    folder_of: Callable[[str], Path],
) -> None:
    space = Space(folder_of("push"), "push", {"README.md": ""})
    refused = space.run(f"cd gate && git push {ADDRESS} main", check=False)
    assert refused.returncode == 1
    assert "fetch first" in refused.stderr
    assert len(steps("A new Space, with git")) == 3
