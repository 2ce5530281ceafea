"""The log's reader: it may stop, go away or have no room; nobody waits for it, and what is lost is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from gatehouse.records.redact import MASK
from tests.harness.pipes import Pipe
from tests.harness.program import ROOT, TOKEN, Program
from tests.harness.records import ANSWERED

if TYPE_CHECKING:
    from pathlib import Path


# Nobody else's configuration of logging is the gate's.


def test_what_others_do_to_logging_does_not_touch_the_gates_lines() -> None:
    code = """
import logging, logging.config, os, sys
from gatehouse.records import outputs
from gatehouse.records import record
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
from tests.harness.records import ANSWERED
configure_logging(["s" * 32])
logging.basicConfig(force=True, level=logging.CRITICAL, format="%(thread)d %(message)s")
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
logging.disable(logging.CRITICAL)
logging.setLogRecordFactory(None)
logging.addLevelName(logging.INFO, "forged")
logging.getLogger("gate.access").disabled = True
logging.getLogger("gate").setLevel(logging.CRITICAL)
logging.setLoggerClass(type("Mute", (logging.Logger,), {"handle": lambda self, entry: None}))
logging.shutdown()
record.write(ANSWERED)
sys.stderr.close()
os.close(2)
logger_of("gate.made.later").warning("said with %s", "s" * 32)
print("printed", flush=True)
assert outputs.flush(5)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    access, later = ended.stderr.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO gate.access: " + re.escape(str(ANSWERED)),
        access,
    )
    assert later.endswith(f"WARNING gate.made.later: said with {MASK}")
    assert (ended.stdout, ended.returncode) == ("printed\n", 0)


def test_what_ends_the_program_is_written_before_the_end() -> None:
    code = "from gatehouse.records.log import configure_logging; configure_logging([]); raise OSError('the end')"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stderr.endswith("OSError: the end\n")
    assert ended.returncode == 1


def test_a_forked_child_writes_for_itself() -> None:
    code = """
import os
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
configure_logging([])
if not os.fork():
    logger_of("gate").warning("from the child")
    print("printed by the child", flush=True)
    os._exit(0)
os.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stderr.endswith("WARNING gate: from the child\n")
    assert ended.stdout == "printed by the child\n"


def test_no_forked_child_waits_for_what_another_thread_held() -> None:
    code = """
import logging, os, signal, sys, threading
from gatehouse.records.log import configure_logging
configure_logging([])
def chatter():
    while True:
        logging.getLogger("library").warning("." * 200)
        sys.stdout.write("." * 80 + "\\n")
for _ in range(4):
    threading.Thread(target=chatter, daemon=True).start()
for _ in range(120):
    if not (child := os.fork()):
        signal.alarm(10)
        print("printed by the child", flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os._exit(1)
os._exit(0)
"""
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


@pytest.mark.parametrize("spoilt", ["sys.stdout.detach()", "sys.stderr.buffer.detach()"])
def test_streams_that_a_tool_has_spoilt_leave_the_status_as_it_is(spoilt: str) -> None:
    code = f"""
import sys
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
configure_logging([])
try:
    {spoilt}
except OSError:
    sys.stderr = None
logger_of("gate").warning("still said")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.endswith("WARNING gate: still said\n")


def test_lost_lines_are_told_in_the_logs_own_form(pipe: Pipe) -> None:
    code = """
import threading
from gatehouse.records import outputs
from gatehouse.records import record
from gatehouse.records.log import configure_logging
from tests.harness.records import ANSWERED
configure_logging([], json=True)
for _ in range(6000):
    record.write(ANSWERED)
print("logged", flush=True)
assert outputs.flush(10)
"""
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=pipe.writer
    )
    assert program.stdout is not None
    with program.stdout:
        assert json.loads(program.stdout.readline())["message"] == "logged"
    os.close(pipe.writer)
    text = pipe.read_until_end()
    assert program.wait(10) == 0
    entries = [json.loads(line) for line in text.splitlines()]
    told = [entry for entry in entries if entry["logger"] == "gate.log"]
    assert {entry["level"] for entry in told} == {"WARNING"}
    lost = re.findall(
        r"(\d+) lines were lost, since the reader did not keep up",
        "\n".join(entry["message"] for entry in told),
    )
    assert len(lost) == len(told) > 0
    assert text.count("gate.access") + sum(map(int, lost)) == 6000


# The whole program.


def ask(program: Program, path: str = "/health") -> int:
    return httpx.get(program.url + path, trust_env=False, timeout=2).status_code


def test_a_gate_whose_log_nobody_reads_answers_and_ends(tmp_path: Path, pipe: Pipe) -> None:
    program = Program(tmp_path, {"MCP_AUTH_TOKEN": TOKEN}, output=pipe.writer)
    try:
        program.wait_for()
        with httpx.Client(base_url=program.url, trust_env=False, timeout=2) as stranger:
            for _ in range(60):
                assert stranger.get("/mcp/" + "x" * 8000).status_code == 401
        assert ask(program) == 200
        assert program.stop(seconds=5) == 0
    finally:
        program.process.kill()
        program.process.wait()


def test_a_gate_whose_logs_reader_has_left_ends_with_status_0(tmp_path: Path, pipe: Pipe) -> None:
    program = Program(tmp_path, {"MCP_AUTH_TOKEN": TOKEN}, output=pipe.writer)
    os.close(pipe.reader)
    try:
        program.wait_for()
        assert program.stop(seconds=5) == 0
    finally:
        program.process.kill()
        program.process.wait()
