"""Calls of tools in a program, and the ways that it reaches its hosted server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.harness.house import BEARER
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from tests.harness.program import Program


MODES = {
    "network": {"UPSTREAM_MODE": "network"},
    "asyncio": {"UPSTREAM_MODE": "inprocess", "UPSTREAM_RUNTIME": "asyncio"},
    "trio": {"UPSTREAM_MODE": "inprocess", "UPSTREAM_RUNTIME": "trio"},
}

JSON_AND_SSE = {"Accept": "application/json, text/event-stream"}


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def call_tool(program: Program, name: str, token: str = TOKEN, **arguments: Any) -> httpx.Response:
    """A 2026-07-28 call, which needs no handshake."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return httpx.post(
        program.endpoint,
        headers={
            **JSON_AND_SSE,
            "Authorization": f"Bearer {token}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        },
        json=rpc("tools/call", name=name, arguments=arguments, _meta=meta),
        timeout=30,
        trust_env=False,
    )


def slow_call() -> bytes:
    """A call to the probe server that takes a minute."""
    meta = (
        b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        b'"io.modelcontextprotocol/clientCapabilities":{},"progressToken":1}'
    )
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count",'
        b'"arguments":{"to":60,"pause":1},"_meta":' + meta + b"}}"
    )
    lines = [
        b"POST /mcp HTTP/1.1",
        b"Host: 127.0.0.1",
        BEARER.rstrip(),
        b"Content-Type: application/json",
        b"Accept: application/json, text/event-stream",
        b"MCP-Protocol-Version: 2026-07-28",
        b"Mcp-Method: tools/call",
        b"Mcp-Name: count",
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join([*lines, b"", body])
