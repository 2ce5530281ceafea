"""Sends small tools/call requests over kept connections: `python -m tests.load.calls PORT COUNT TOKEN`.

On raw sockets, since what is measured is the server, and both share the machine.
"""

from __future__ import annotations

import asyncio
import sys

CONNECTIONS = 8
BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":3,"b":4},'
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{}}}}'
)


def request(port: int, token: str) -> bytes:
    """A call as the Python SDK sends it."""
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept: application/json, text/event-stream",
        "Accept-Encoding: gzip, deflate",
        "Content-Type: application/json",
        "User-Agent: tests.load",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        "Mcp-Name: add",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(BODY)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


async def call(port: int, count: int, token: str) -> None:
    """Make `count` calls, one after the other, on one connection."""
    sent = request(port, token)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ")[1])
        if status not in (200, 401):
            raise SystemExit(f"unexpected answer: {head!r}")
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if b"\r\nconnection: close" in head:  # Hypercorn's limit of requests on one connection
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def main(port: int, count: int, token: str) -> None:
    """Make `count` calls over CONNECTIONS connections at a time."""
    each = count // CONNECTIONS
    await asyncio.gather(*(call(port, each, token) for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
