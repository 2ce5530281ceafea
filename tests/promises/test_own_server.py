"""A server of one's own, in the folder `server/` of a copy of the gate."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.program import ROOT, START_SECONDS, TOKEN, Program, running
from tests.harness.tools import call_tool

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
import asyncio, signal, sqlite3, threading, time
from fastmcp import FastMCP
from its_words import greeting

time.sleep(1.6)
database = sqlite3.connect(":memory:")
local = threading.local()
local.word = "kept"
signal.signal(signal.SIGUSR1, lambda *_: None)
mcp = FastMCP("Mine")

@mcp.tool
async def greet() -> str:
    await asyncio.sleep(0.001)
    return f"{greeting} {local.word} {database.execute('SELECT 7').fetchone()}"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the gate, with an empty folder for servers."""
    root = tmp_path / "copy of the gate"
    root.mkdir()
    for name in ("run.py", "gate.py", "mcp_app.py"):
        shutil.copy(ROOT / name, root)
    for name in ("gatehouse", "pantry"):
        shutil.copytree(ROOT / name, root / name)
    (root / "server").mkdir()
    return root


@pytest.mark.parametrize("place", ["server/my_server.py", "mcp_app.py"])
def test_a_server_of_ones_own_is_found_wherever_the_program_starts_and_runs_on_asyncio(
    copy: Path, tmp_path: Path, place: str
) -> None:
    (copy / place).write_text(SERVER)
    (copy / "server" / "its_words.py").write_text("greeting = 'hello'")
    app = f"{(copy / place).stem}:mcp"
    program = Program(
        tmp_path,
        {
            "MCP_APP": app,
            "MCP_AUTH_TOKEN": TOKEN,
            "PYTHONPATH": "",
            "FASTMCP_STATELESS_HTTP": "true",
        },
        root=copy,
    )
    try:
        program.wait_for()
        assert "hello kept (7,)" in call_tool(program, "greet").text
        assert f"importing {app} blocks everybody" in program.log
        assert "the event loop goes on, after it stood still for 1." in program.log
        assert "keeps sessions" not in program.log
        assert not program.errors
        assert program.stop() == 0
    finally:
        program.process.kill()
        program.process.wait()


def test_a_signal_ends_the_program_while_a_server_is_being_imported(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(
        "import time\nprint('it begins', flush=True)\ntime.sleep(600)"
    )
    # It listens by then, since its own start is not kept up by the server's.
    with running(tmp_path, MCP_APP="endless:mcp", PYTHONPATH=f"{ROOT}:{tmp_path}") as program:
        deadline = time.monotonic() + START_SECONDS
        while not ("it begins" in program.output and " listens at " in program.log):
            assert time.monotonic() < deadline, program.log
            time.sleep(0.05)
        assert program.stop() == 0
