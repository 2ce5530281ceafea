"""Uploads in both framings, an upstream that reads them, and a refusal read as a client should."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.harness.house import BEARER
from tests.harness.levels import gone

if TYPE_CHECKING:
    from tests.harness.wire import Head, Peer


FRAMINGS = ["Content-Length", "chunked"]


def upload_head(framing: str, size: int, *, token: bool = True) -> bytes:
    length = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % size
    lines = [b"POST /mcp HTTP/1.1", b"Host: gate.example", length]
    return b"\r\n".join([*lines, *([BEARER.rstrip()] if token else [])]) + b"\r\n\r\n"


def piece(framing: str, data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" else data


def last(framing: str) -> bytes:
    return b"0\r\n\r\n" if framing == "chunked" else b""


async def refusal(peer: Peer, status: int) -> None:
    """Read a whole refusal, and the end of the connection behind it."""
    head = await peer.head()
    assert head.status == status
    assert json.loads(await peer.body(head))["error"]
    await gone(peer)


async def reading(peer: Peer, head: Head) -> None:
    """Read the body to its proper end, and keep nothing of it."""
    if head.get(b"Transfer-Encoding"):
        while await peer.chunk():
            pass
    else:
        rest = int(head.get(b"Content-Length") or 0)
        while rest:
            rest -= len(await peer.exactly(min(rest, 65536)))
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
