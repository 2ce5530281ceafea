"""The load test, run against a real program as its user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.leaks import pieces_in
from tests.harness.only_ci import only_in_ci
from tests.harness.program import ROOT, TOKEN, Program, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = only_in_ci  # the tool is for whoever works on the gate

WRONG = "no+Token/at.all~5d1e80b7c92f4a63"
MAX_CONNECTIONS = 12
"""Connections that the program takes at a time."""

SCRIPT = ("tests/load/load.py",)
MODULE = ("-m", "tests.load.load")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("program")
    settings = {"MCP_APP": "probe_server:mcp", "MAX_CONNECTIONS": str(MAX_CONNECTIONS)}
    with running(folder, **settings) as program:
        program.wait_for()
        yield program


def run(
    *arguments: object, status: int = 0, token: str = TOKEN, way: tuple[str, ...] = SCRIPT
) -> str:
    """All that the tool prints, the token from its environment; it must end with `status`."""
    done = subprocess.run(
        [sys.executable, *way, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "MCP_AUTH_TOKEN": token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stdout
    assert not pieces_in(done.stdout, token)
    return done.stdout


def rows(output: str) -> dict[str, list[str]]:
    """The lines of all tables, by their first cell."""
    lines = [line for line in output.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: rest for name, *rest in cells}


def logged(program: Program) -> dict[str, int]:
    """How many requests of each method the gate has let in and answered."""
    lines = re.findall(r"gate\.access: (\w+) /mcp 200 ", program.log)
    return {method: lines.count(method) for method in ("POST", "GET", "DELETE")}


def test_the_table_counts_what_was_done_and_no_session_is_left(program: Program) -> None:
    before = logged(program)
    call = ("--tool", "add", "--arguments", '{"a": 3, "b": 4}')
    output = run(program.endpoint, "--clients", 3, "--streams", 4, "--seconds", 0.5, *call)
    assert "4 streams tried, 4 held, 0 lost" in output
    table = rows(output)
    counts = {name: int(table[name][0]) for name in ("tools/list", "tools/call", "initialize")}
    assert abs(counts["tools/list"] - counts["tools/call"]) <= 3
    assert counts["tools/list"] > 3
    assert [table[name][0] for name in ("initialize", "stream head", "first byte")] == ["4"] * 3
    assert all(figures[1] == "0" for name, figures in table.items() if name in counts)
    # Each kind was tried once before, uncounted.
    done = {"POST": sum(counts.values()) + 3, "GET": 4 + 1, "DELETE": 4 + 1}
    wanted = {method: before[method] + count for method, count in done.items()}
    deadline = time.monotonic() + 5
    while logged(program) != wanted:  # the lines about streams come when these have ended
        assert time.monotonic() < deadline, f"{logged(program)}, not {wanted}"
        time.sleep(0.05)


def test_it_runs_as_a_module_too_with_the_token_in_the_url(program: Program) -> None:
    output = run(program.endpoint, "--seconds", 0.1, "--key", way=MODULE)
    assert int(rows(output)["tools/list"][0]) > 0
    assert "\x1b" not in output, "this is no terminal"


@pytest.mark.parametrize("fields", [("--key",), (f"--token={WRONG}",)], ids=str)
def test_a_wrong_token_is_said_in_words_and_never_repeated(
    program: Program, fields: tuple[str, ...]
) -> None:
    output = run(program.endpoint, *fields, status=2, token=WRONG)
    assert f"{program.endpoint} refuses the token: 401 Unauthorized" in output
    assert "Traceback" not in output


def test_a_token_in_the_wrong_place_is_not_repeated(program: Program) -> None:
    assert "some arguments are not known" in run(program.endpoint, TOKEN, status=2)


def test_a_gate_that_is_not_there_is_said_in_words() -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    output = run(url, status=2)
    assert output.startswith(f"{url} cannot be reached: ")
    assert "Traceback" not in output


def test_failures_are_told_with_the_words_of_the_gate(program: Program) -> None:
    load = ("--streams", MAX_CONNECTIONS - 2, "--clients", 8, "--seconds", 0.3)
    output = run(program.endpoint, *load, status=1)
    count, failed, *_ = rows(output)["tools/list"]
    assert 0 < int(failed) <= int(count)
    # A newcomer may also have to go for another one before its request has been read.
    assert re.search(r"\d+ x tools/list: 503 The gate has as many connections as it can", output)
    assert f"{MAX_CONNECTIONS - 2} streams tried, {MAX_CONNECTIONS - 2} held, 0 lost" in output


def test_a_server_that_refuses_streams_is_told_of(tmp_path: Path) -> None:
    settings = {"MCP_APP": "probe_server:mcp", "FASTMCP_STATELESS_HTTP": "true"}
    with running(tmp_path, **settings) as program:
        program.wait_for()
        output = run(program.endpoint, "--streams", 1, status=2)
        assert "refuses event streams (stream head: 405 Method Not Allowed" in output


def test_a_plot_shows_what_each_step_cost(program: Program, tmp_path: Path) -> None:
    from matplotlib.image import imread  # slow to import: not in each worker, for this one test

    plot = tmp_path / "cost.png"
    measured = ("--seconds", 0.3, "--steps", "0,5", "--pid", program.process.pid)
    table = rows(run(program.endpoint, "--clients", 2, *measured, "--plot", plot))
    for streams in ("0", "5"):
        calls, _, cpu_ms, mib, _ = (float(figure.replace("-", "nan")) for figure in table[streams])
        assert calls > 0
        assert 0 < cpu_ms < 1000
        assert mib > 10
    height, width, _ = imread(plot).shape
    assert min(height, width) > 400
    assert len({tuple(pixel) for pixel in imread(plot).reshape(-1, 4)[::7]}) > 10


def test_streams_that_are_lost_are_told_of(program: Program) -> None:
    with subprocess.Popen(
        [sys.executable, *SCRIPT, program.endpoint, "--streams", "3", "--seconds", "1"],
        cwd=ROOT,
        env={**os.environ, "MCP_AUTH_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    ) as tool:
        assert tool.stdout is not None
        assert any("3 streams held" in line for line in tool.stdout)
        program.process.kill()  # no later test has it
        rest = tool.stdout.read()
    assert tool.returncode == 1
    assert "3 streams tried, 0 held, 3 lost" in rest
    assert re.search(r"^3 x stream lost: ", rest, re.MULTILINE)
