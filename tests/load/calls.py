"""Sends small tools/call requests over kept connections: `python -m tests.load.calls PORT COUNT`.

On raw sockets, since what is measured is the server, and both share the machine. The eras of the protocol:
modern (2026-07-28), stateless (2025-11-25, to a server without sessions) and stateful (with them).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 8
ERAS = ("modern", "stateless", "stateful")
MODERN, LEGACY = "2026-07-28", "2025-11-25"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": LEGACY,
    "capabilities": {},
    "clientInfo": {"name": "tests.load", "version": "1"},
}


def request(port: int, token: str, path: str = "/mcp", body: bytes = b"", *fields: str) -> bytes:
    """A request as the Python SDK sends it: a POST if it has a body, else a GET."""
    lines = [
        f"{'POST' if body else 'GET'} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept: application/json, text/event-stream",
        "Accept-Encoding: gzip, deflate",
        "Content-Type: application/json",
        "User-Agent: tests.load",
        *fields,
        f"Authorization: Bearer {token}",
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def modern_request(port: int, token: str, method: str, **params: Any) -> bytes:
    """A JSON-RPC request of the protocol's newest version, which needs no handshake."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": ENVELOPE}}
    fields = [f"MCP-Protocol-Version: {MODERN}", f"Mcp-Method: {method}"]
    if name := params.get("name"):
        fields.append(f"Mcp-Name: {name}")
    return request(port, token, "/mcp", in_json(message), *fields)


def legacy_request(port: int, token: str, session: str, message: dict[str, Any]) -> bytes:
    """A JSON-RPC message of the version with the handshake; `session` is empty for none."""
    fields = [f"MCP-Protocol-Version: {LEGACY}"]
    if session:
        fields.append(f"Mcp-Session-Id: {session}")
    return request(port, token, "/mcp", in_json({"jsonrpc": "2.0", **message}), *fields)


def in_json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


class UnexpectedError(Exception):
    """The server did not answer as it should; the text is what it did."""


class Caller:
    """One connection, opened anew when the server ends it."""

    def __init__(self, options: argparse.Namespace, tokens: Iterator[str]) -> None:
        self.options = options
        self.port: int = options.port
        self.wanted: int = options.status
        self.tokens = tokens

    async def run(self, count: int, delay: float) -> None:
        """Make `count` calls one after the other, the first after a delay if they have a rate."""
        await self.connect()
        session = await self.handshake() if self.options.era == "stateful" else ""
        sent = b"" if self.options.tokens else self.call(session)
        pause = CONNECTIONS / self.options.rate if self.options.rate else 0.0
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        for _ in range(count):
            if pause:
                await asyncio.sleep(due - loop.time())
                due += pause
            if self.options.tokens:
                sent = self.call(session)
            head, body = await self.exchange(sent)
            if self.wanted == 200 and b'"text":"7"' not in body:
                raise UnexpectedError(head, body)
        self.writer.close()

    def call(self, session: str) -> bytes:
        """The bytes of a call."""
        tool = {"name": self.options.tool, "arguments": {"a": 3, "b": 4}}
        token = next(self.tokens)
        if self.options.era == "modern":
            return modern_request(self.port, token, "tools/call", **tool)
        message = {"id": 1, "method": "tools/call", "params": tool}
        return legacy_request(self.port, token, session, message)

    async def handshake(self) -> str:
        """Open a session; returns its name."""
        hello = {"id": 0, "method": "initialize", "params": HELLO}
        head, _ = await self.exchange(legacy_request(self.port, self.options.token, "", hello))
        session = head.partition(b"mcp-session-id:")[2].partition(b"\r\n")[0].strip().decode()
        done = {"method": "notifications/initialized"}
        self.wanted = 202
        await self.exchange(legacy_request(self.port, self.options.token, session, done))
        self.wanted = self.options.status
        return session

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, sent: bytes) -> tuple[bytes, bytes]:
        """Send a request; returns the answer's head, in lower case, and its body."""
        self.writer.write(sent)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        if int(head.split(b" ")[1]) != self.wanted:
            raise UnexpectedError(head)
        body = await self.body(head)
        if b"\r\nconnection: close" in head:  # a limit of requests on one connection
            self.writer.close()
            await self.connect()
        return head, body

    async def body(self, head: bytes) -> bytes:
        """Read a body: of a length, or in chunks."""
        if b"\r\ntransfer-encoding: chunked" not in head:
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            return await self.reader.readexactly(int(length or 0))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body


async def main(options: argparse.Namespace) -> None:
    """Make all calls, over CONNECTIONS connections at a time."""
    count = options.count // CONNECTIONS
    apart = 1 / options.rate if options.rate else 0.0
    tokens = iter(options.tokens.read_text().split()) if options.tokens else repeat(options.token)
    callers = [Caller(options, tokens) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(each.run(count, i * apart) for i, each in enumerate(callers)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int, help=f"calls in all, a multiple of {CONNECTIONS}")
    parser.add_argument("--token", default="")
    parser.add_argument("--tokens", type=Path, help="a file with a token of its own for each call")
    parser.add_argument("--era", choices=ERAS, default=ERAS[0])
    parser.add_argument("--tool", default="add")
    parser.add_argument("--rate", type=float, default=0, help="calls a second; 0: all there is")
    parser.add_argument("--status", type=int, default=200, help="that is to come back")
    asyncio.run(main(parser.parse_args()))
