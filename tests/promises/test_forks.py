"""A child that a tool forks is none of the gate's; and what else a tool spoils for a whole process."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness.only_ci import default_modes
from tests.harness.program import running
from tests.harness.tools import MODES, call_tool

if TYPE_CHECKING:
    from pathlib import Path

CHILD_SECONDS = 8.0


@pytest.mark.parametrize("mode", default_modes(MODES))
def test_a_forked_child_neither_ends_the_gate_nor_keeps_its_sockets(
    tmp_path: Path, mode: str
) -> None:
    settings = {**MODES[mode], "KEEP_ALIVE_SECONDS": "0.5", "MCP_APP": "forking_server:mcp"}
    with running(tmp_path, **settings) as program:
        program.wait_for()
        with socket.create_connection(("127.0.0.1", program.port), timeout=3) as resting:
            resting.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert resting.recv(1000).startswith(b"HTTP/1.1 200 ")
            began = time.monotonic()
            call_tool(program, "leave_a_child", seconds=CHILD_SECONDS)
            while resting.recv(1000):
                pass
        if mode == "asyncio":  # the handlers are the same in all
            assert "[-15,-1,-10]" in call_tool(program, "end_workers").text.replace(" ", "")
        assert httpx.get(f"{program.url}/health", trust_env=False).status_code == 200
        assert program.stop() == 0
        assert time.monotonic() - began < CHILD_SECONDS
        with socket.socket() as another:
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            another.bind(("127.0.0.1", program.port))
            another.listen()


def test_broken_streams_methods_of_logging_and_a_lowered_limit_leave_calls_log_and_status(
    tmp_path: Path,
) -> None:
    with running(
        tmp_path, MCP_APP="forking_server:mcp", LOG_FORMAT="json", LOG_LEVEL="debug"
    ) as program:
        program.wait_for()
        call_tool(program, "spoil")
        began = time.monotonic()
        assert httpx.get(f"{program.url}/health?afterwards", trust_env=False).status_code == 200
        assert time.monotonic() - began < 1
        program.wait_for_log("raised it again to")
        program.wait_for_log('"path": "/health"')
        assert program.stop() == 0
        assert all(json.loads(line)["time"] for line in program.log.splitlines())
