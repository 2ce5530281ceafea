"""Texts that a hosted tool sends to its client, in the log of a whole program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness.program import TOKEN, running

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
from fastmcp import Context, FastMCP

mcp = FastMCP("telling")


@mcp.tool
async def tell(about: str, ctx: Context) -> str:
    for say in ctx.debug, ctx.info, ctx.warning, ctx.error:
        await say(f"looked at {about}")
    return "done"
"""


@pytest.mark.parametrize("mode", ["inprocess", "network"])
def test_at_debug_level_a_text_is_tied_to_the_request_that_called_the_tool(
    tmp_path: Path, mode: str
) -> None:
    (tmp_path / "telling.py").write_text(SERVER)
    with running(
        tmp_path,
        MCP_APP="telling:mcp",
        LOG_LEVEL="debug",
        UPSTREAM_MODE=mode,
        FASTMCP_STATELESS_HTTP="true",
        PYTHONPATH=str(tmp_path),
    ) as program:
        program.wait_for()
        params = {"name": "tell", "arguments": {"about": "a thing"}}
        answer = httpx.post(
            program.endpoint,
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2025-06-18",
                "X-Request-Id": "the-call",
            },
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            trust_env=False,
        )
        assert "done" in answer.text
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            program.wait_for_log(
                rf" DEBUG \S+: id the-call: Sending {level} to client: looked at a thing\n"
            )
        program.wait_for_log(r"tools/call tell, id the-call\n")
