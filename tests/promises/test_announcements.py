"""The words of the program about itself: to people on a terminal, to machines as lines of JSON."""

from __future__ import annotations

import html
import json
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import httpx
import trio

from gatehouse.assembly.upstream import UpstreamSide, callers_of
from gatehouse.pages import snippets
from gatehouse.settings.environment import Settings
from gatehouse.upstream.inprocess import Calls
from gatehouse.version import VERSION
from tests.harness.program import ROOT, TOKEN, Program, running

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LOUD = """
import sys, warnings
from fastmcp import FastMCP
print("printed at import")
print("and on stderr, unfinished", end="", file=sys.stderr)
warnings.warn("a warning")
mcp = FastMCP("My Loud Server!")
@mcp.tool
def shout() -> str:
    print("a line\\nand another")
    return "shouted"
"""


def loud(folder: Path, **settings: str) -> dict[str, str]:
    (folder / "loud.py").write_text(LOUD)
    return {"MCP_APP": "loud:mcp", "PYTHONPATH": f"{ROOT}:{folder}", **settings}


def lines_of(folder: Path, stream: str) -> list[dict[str, Any]]:
    """The lines of JSON on this stream; fails for any other line."""
    return [json.loads(line) for line in (folder / f"{stream}.txt").read_text().splitlines()]


def test_with_json_each_line_of_both_streams_is_json_and_a_one_off_token_is_there_once(
    tmp_path: Path,
) -> None:
    with running(tmp_path, **loud(tmp_path, LOG_FORMAT="json", MCP_AUTH_TOKEN="")) as program:
        program.wait_for()
        (shown,) = (line for line in lines_of(tmp_path, "stdout") if "token" in line)
        assert (shown["endpoint"], shown["version"]) == (program.endpoint, VERSION)
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "shout"}}
        fields = {
            "Authorization": f"Bearer {shown['token']}",
            "Accept": "application/json, text/event-stream",
        }
        fields |= {
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "shout",
        }
        answer = httpx.post(program.endpoint, json=call, headers=fields, trust_env=False)
        assert answer.status_code < 500
        program.wait_for_log("ready after")
        assert program.stop() == 0
    out, log = lines_of(tmp_path, "stdout"), lines_of(tmp_path, "stderr")
    assert program.output.count(shown["token"]) == 1
    assert {"printed at import"} <= {line["message"] for line in out if line["logger"] == "stdout"}
    said = {line.get("message", ""): line["logger"] for line in log}
    assert said["and on stderr, unfinished"] == "stderr"
    (ready,) = (text for text in said if text.startswith("ready after"))
    assert ready.endswith("s: My Loud Server! (loud:mcp) on asyncio, 1 tool")
    assert [text for text in said if text.startswith(("stopping at", "stopped"))] == [
        "stopping at SIGTERM, within 10 s: requests in flight: 0",
        "stopped, with status 0",
    ]
    assert all({"time", "level", "logger"} <= line.keys() for line in [*out, *log])


def test_with_json_faults_of_the_start_are_lines_of_json_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_FORMAT=JSON\n")
    with running(tmp_path, PORT="x", MCP_AUTH_TOKEN="short") as program:
        assert program.process.wait(20) == 2
    assert [line["message"].partition(":")[0] for line in lines_of(tmp_path, "stderr")] == [
        "MCP_AUTH_TOKEN",
        "PORT",
    ]
    assert lines_of(tmp_path, "stdout") == []


def test_on_a_terminal_the_snippets_are_those_of_the_page_with_the_servers_own_name(
    tmp_path: Path,
) -> None:
    terminal, side = os.openpty()
    os.set_blocking(terminal, False)
    try:
        program = Program(tmp_path, loud(tmp_path, MCP_AUTH_TOKEN=TOKEN), output=side)
        try:
            screen = ""
            deadline = time.monotonic() + 30
            while "Stop with Ctrl+C" not in screen:
                assert time.monotonic() < deadline, screen
                time.sleep(0.02)
                with suppress(BlockingIOError):
                    screen += os.read(terminal, 65536).decode().replace("\r\n", "\n")
            page = httpx.get(program.url, trust_env=False).text
            assert program.stop() == 0
        finally:
            program.process.kill()
            program.process.wait()
    finally:
        os.close(side)
        os.close(terminal)
    assert screen.partition("The gate ")[2].startswith(f"{VERSION} listens at {program.endpoint}")
    assert TOKEN not in screen
    shown = html.unescape(re.sub(r"</?(?:var|b)>", "", page))
    for make in (snippets.supergateway, snippets.claude_code):
        snippet = make(program.endpoint, snippets.PLACEHOLDER, "my-loud-server")
        assert snippet in screen
        assert snippet in shown


async def test_a_server_elsewhere_is_told_missing_once_and_ready_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gatehouse.assembly.upstream.LOOK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("gatehouse.assembly.upstream.settle_memory", lambda: None)
    there = Calls("127.0.0.1:8000")
    settings = Settings(_env_file=None, upstream_url="http://127.0.0.1:8000/mcp")
    callers = callers_of(settings, dict, lambda _: None)
    side = UpstreamSide(
        settings, secret="", callers=callers, lists=dict, upstream=there, started=None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.settle)
        with trio.fail_after(30):
            while not caplog.records:
                await trio.sleep(0.01)
        await trio.sleep(0.05)  # it looks again, and says nothing
        there.app = cast("Any", object())
    nobody, ready = [record.getMessage() for record in caplog.records]
    assert nobody.startswith("nobody takes connections at http://127.0.0.1:8000/mcp yet")
    assert re.fullmatch(
        r"ready after [0-9.]+ s: the server at http://127.0.0.1:8000/mcp takes connections", ready
    )


def test_the_level_of_the_log_bounds_its_lines_and_never_the_faults(tmp_path: Path) -> None:
    with running(tmp_path, LOG_LEVEL="warning", MCP_APP="") as program:
        program.wait_for("/health")
        program.wait_for_log("nobody takes connections at")
        assert program.stop() == 0
        assert " INFO " not in program.output
    with running(tmp_path, LOG_LEVEL="error", MCP_APP="nobody:mcp") as program:
        assert program.process.wait(20) == 2
        (line,) = program.output.splitlines()
        assert line.startswith("MCP_APP: there is no module nobody")
