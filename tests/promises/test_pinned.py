"""Private names of other libraries: a program that does without them, and one whose effect only FastMCP shows."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import fastmcp.server.server as fastmcp_server
from fastmcp import Client, Context, FastMCP
from fastmcp.server.transforms.visibility import apply_session_transforms

from gatehouse import pinned
from gatehouse.pinned import (
    LOOP_OF_TRIO_ASYNCIO,
    RULES_OF_FASTMCP,
    RUN_OF_TRIO,
    THREADS_OF_ANYIO,
    THREADS_OF_TRIO,
)
from tests.harness.program import ROOT, running
from tests.harness.tools import call_tool

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PARTS = [
    *(LOOP_OF_TRIO_ASYNCIO, RULES_OF_FASTMCP, RUN_OF_TRIO, THREADS_OF_ANYIO, THREADS_OF_TRIO),
]


def test_with_none_of_them_the_program_serves_calls_of_every_kind(tmp_path: Path) -> None:
    for part in PARTS:
        metadata = tmp_path / f"{part.library.replace('-', '_')}-99.1.dist-info/METADATA"
        metadata.parent.mkdir(exist_ok=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {part.library}\nVersion: 99.1\n")
    path = f"{tmp_path}:{ROOT}:{ROOT / 'tests/harness'}"
    with running(tmp_path, MCP_APP="probe_server:mcp", PYTHONPATH=path) as program:
        program.wait_for()
        assert '"7"' in call_tool(program, "add", a=3, b=4).text
        assert "exit 0" in call_tool(program, "asyncio_only", seconds=0.01).text
        assert "left behind" in call_tool(program, "fail_in_background").text
        assert '"7"' in call_tool(program, "add", a=3, b=4).text
        told = re.findall(
            r" WARNING .* (\S+) is 99\.1; the gate was written for (\S+),", program.log
        )
        assert sorted(told) == [(part.library, part.release) for part in sorted(PARTS)]
        assert program.stop() == 0


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_a_tool_that_a_caller_has_hidden_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FastMCP[None]("Rules")

    @server.tool
    async def hide(name: str, ctx: Context) -> None:
        await ctx.disable_components(names={name})

    monkeypatch.setattr(fastmcp_server, "apply_session_transforms", apply_session_transforms)
    pinned.leave_unused_rules_unread(refuse)

    async def main() -> list[int]:
        async with Client(server) as client:
            before = await client.list_tools()
            await client.call_tool("hide", {"name": "hide"})
            return [len(before), len(await client.list_tools())]

    assert asyncio.run(main()) == [1, 0]
