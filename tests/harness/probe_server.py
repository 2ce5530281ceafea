"""A FastMCP server for the tests, full of what only asyncio can do: `MCP_APP=probe_server:mcp`."""

from __future__ import annotations

import asyncio
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_headers, get_http_request

mcp: FastMCP[None] = FastMCP("Probe")


@mcp.tool
def add(a: int, b: int) -> int:
    """Add two numbers, in a worker thread."""
    return a + b


@mcp.tool
async def asyncio_only(seconds: float) -> str:
    """Use an asyncio timeout, a task and a subprocess."""
    async with asyncio.timeout(10):
        await asyncio.create_task(asyncio.sleep(seconds))
        process = await asyncio.create_subprocess_exec("true")
        return f"exit {await process.wait()}"


@mcp.tool
async def count(to: int, pause: float, ctx: Context) -> int:
    """Report progress, one step each `pause` seconds."""
    for step in range(to):
        await ctx.report_progress(step + 1, to)
        await asyncio.sleep(pause)
    return to


@mcp.tool
async def fail_in_background() -> str:
    """Leave an asyncio task behind that fails on its own."""

    async def fail() -> None:
        raise RuntimeError("failed in the background")

    asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(fail()))
    asyncio.get_running_loop().call_soon(_raise)
    return "left behind"


def _raise() -> None:
    raise RuntimeError("failed in a callback")


@mcp.tool
def what_arrived() -> dict[str, str]:
    """The header fields that the server sees."""
    return get_http_headers(include_all=True)


@mcp.tool
def links() -> dict[str, Any]:
    """The links that the server makes of its own address."""
    request = get_http_request()
    return {
        "base_url": str(request.base_url),
        "mcp": str(request.url),
        "server": list(request.scope["server"]),
    }
