"""Nothing that a hosted server does keeps the program from ending in time, nor signals from being heard."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.only_ci import default_modes
from tests.harness.program import ROOT, Program, running
from tests.harness.tools import MODES, call_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLACK = 0.5
"""A busy machine may add this to the second that is promised."""


@contextmanager
def stubborn(folder: Path, mode: str, **settings: str) -> Iterator[Program]:
    settings = {"GRACE_SECONDS": "1", **MODES[mode], **settings}
    with running(folder, MCP_APP="stubborn_server:mcp", **settings) as program:
        program.wait_for()
        yield program


def begin(program: Program, tool: str, **arguments: Any) -> None:
    """Call a tool, and go on while it works."""

    def call() -> None:
        with suppress(httpx.TransportError):
            call_tool(program, tool, **arguments)

    threading.Thread(target=call, daemon=True).start()
    time.sleep(0.5)


def seconds_to_end(program: Program, status: int) -> float:
    began = time.monotonic()
    assert program.process.wait(10) == status, program.log
    return time.monotonic() - began


@pytest.mark.parametrize("mode", default_modes(MODES))
def test_a_second_after_the_grace_the_program_is_gone_whatever_tools_do(
    tmp_path: Path, mode: str
) -> None:
    with stubborn(tmp_path, mode) as program:
        begin(program, "hold")
        begin(program, "swallow")
        program.process.send_signal(signal.SIGTERM)
        assert 0.9 < seconds_to_end(program, 0) < 2 + SLACK
        assert "does not end, so the program ends without it" in program.log


@pytest.mark.parametrize("mode", default_modes(MODES))
def test_a_second_signal_ends_it_at_once_whatever_tools_do(tmp_path: Path, mode: str) -> None:
    with stubborn(tmp_path, mode, GRACE_SECONDS="60") as program:
        begin(program, "hold")
        begin(program, "block", seconds=60)
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        program.process.send_signal(signal.SIGINT)
        assert seconds_to_end(program, 1) < 0.5 + SLACK


def test_a_loop_that_stands_still_is_told_once_with_the_tool_and_its_stack(tmp_path: Path) -> None:
    with stubborn(tmp_path, "asyncio") as program:
        assert "blocked" in call_tool(program, "block", seconds=2.5).text
        program.wait_for_log(r"goes on, after it stood still for 2\.")
        assert program.log.count("tools/call block blocks everybody") == 1
        told = re.search(r"has stood still for ([\d.]+) s: tools/call block", program.log)
        assert told
        assert 1 <= float(told[1]) < 3
        assert "time.sleep(seconds)" in program.log
        stalls = httpx.get(f"{program.url}/ready", trust_env=False).json()["stalls"]
        assert stalls["count"] >= 1  # the start of a server may block, too, on a busy machine
        assert stalls["longest_seconds"] > 2
        assert stalls["last_seconds_ago"] < 2


def test_a_server_that_takes_signals_at_import_and_in_a_tool_stops_as_told(tmp_path: Path) -> None:
    with stubborn(
        tmp_path, "asyncio", AT_IMPORT="1", GRACE_SECONDS="8", CLEANS_UP="2.5"
    ) as program:
        for signum in (
            signal.SIGHUP,
            signal.SIGUSR1,
            signal.SIGUSR2,
            signal.SIGPIPE,
            signal.SIGALRM,
        ):
            program.process.send_signal(signum)
            time.sleep(0.02)
        program.wait_for_log("SIGALRM: ends nothing")
        program.wait_for_log("SIGHUP: reading the tokens file anew")
        program.wait_for_log("SIGUSR1: ends nothing")
        program.process.send_signal(signal.SIGTERM)
        assert 2.4 < seconds_to_end(program, 0) < 5
        assert "stubborn_server:mcp failed when it stopped: RuntimeError" in program.log
        notes = (tmp_path / "notes.txt").read_text().splitlines()
        assert notes == [f"the server's own {signal.SIGTERM:d}", "cleaned up", "atexit"]


def test_signals_that_a_tool_has_switched_off_work_again_within_a_second(tmp_path: Path) -> None:
    with stubborn(tmp_path, "asyncio", CLEANS_UP="30") as program:
        assert "taken" in call_tool(program, "take_signals").text
        time.sleep(1.3)
        program.process.send_signal(signal.SIGHUP)
        program.wait_for_log("SIGHUP")
        program.process.send_signal(signal.SIGTERM)
        assert 0.9 < seconds_to_end(program, 0) < 2 + SLACK
        assert "has not stopped in the" in program.log


def test_a_signal_to_quit_that_a_shell_ignores_in_the_background_works_again() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGQUIT, signal.SIG_IGN)\n"
        "from gatehouse.process import signals; signals.begin()\n"
        "os.kill(os.getpid(), signal.SIGQUIT)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=20)
    assert ended.returncode == -signal.SIGQUIT


def test_a_hangup_takes_the_tokens_file_up_at_once(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("")
    with stubborn(tmp_path, "asyncio", TOKENS_FILE=str(tokens), STATE_DB="") as program:
        tokens.write_text("[[token]]\nfaulty = 1\n")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for_log("the tokens in force stay as they are")
        assert program.stop() == 0
