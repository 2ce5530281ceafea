"""The probe server with tools that do to others what no tool should: `MCP_APP=soak_server:mcp`."""

from __future__ import annotations

import asyncio
import time

from tests.harness.probe_server import mcp


class Panic(BaseException):
    """As a library's own class that is no Exception."""


ENDS: dict[str, type[BaseException]] = {
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "panic": Panic,
}


@mcp.tool
async def end(how: str) -> str:
    """Raise what would end more than this call."""
    raise ENDS[how]("no more")


@mcp.tool
async def block(seconds: float) -> str:
    """Hold the loop, as an async tool does that calls something synchronous."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for
    return "done"


@mcp.tool
def shout(lines: int) -> str:
    """Print, as tools do."""
    print("\n".join(["a line of a tool's own"] * lines))  # noqa: T201
    return "done"
