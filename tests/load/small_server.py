"""A FastMCP server with two tools that do nothing: hosted by the gate (`MCP_APP`), or in its own server.

`python -m tests.load.small_server PORT` serves it as FastMCP does by itself.
"""

from __future__ import annotations

import argparse

from fastmcp import FastMCP
from fastmcp.server.auth import StaticTokenVerifier

mcp: FastMCP[None] = FastMCP("Small")


@mcp.tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool
def add_in_thread(a: int, b: int) -> int:
    """Add two numbers, in a worker thread, as FastMCP runs a function that is not async."""
    return a + b


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--no-access-log", action="store_true")
    parser.add_argument("--token", help="the one token to let in; none: everybody")
    options = parser.parse_args()
    if options.token:
        mcp.auth = StaticTokenVerifier({options.token: {"client_id": "tests.load", "scopes": []}})
    mcp.run(
        "http",
        host="127.0.0.1",
        port=options.port,
        uvicorn_config={"access_log": False} if options.no_access_log else None,
    )
