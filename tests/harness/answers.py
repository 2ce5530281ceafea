"""All that the gate says on a connection, to its last byte, and checks that hold for each answer."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from tests.harness.house import BEARER
from tests.harness.wire import Head

if TYPE_CHECKING:
    from collections.abc import Container

    from tests.harness.house import House


@dataclass(frozen=True)
class Answer:
    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


def answers(raw: bytes, *, to_head: bool = False) -> list[Answer]:
    """All answers in what a connection brought, to its last byte."""
    found = []
    while raw:
        top, mark, raw = raw.partition(b"\r\n\r\n")
        assert mark, top
        head = Head(top + mark)
        body = b""
        if head.status >= 200 and head.status not in {204, 304} and not to_head:
            size = int(head.get(b"content-length") or 0)
            body, raw = raw[:size], raw[size:]
            assert len(body) == size
        found.append(Answer(head, body))
    return found


async def said(house: House, *pieces: bytes) -> bytes:
    """All that the gate says to these bytes, until it ends the connection. Fails if it does not."""
    peer = await house.connect()
    raw = b""
    async with peer.stream:
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await peer.send(piece)
                await trio.lowlevel.checkpoint()
        while data := await peer.receive():
            raw += data
    return raw


def assert_rpc_error(reply: Answer) -> None:
    content = json.loads(reply.body)
    assert content["jsonrpc"] == "2.0"
    assert content["id"] is None
    assert -32019 <= content["error"]["code"] <= -32010
    assert content["error"]["message"].endswith(".")


def assert_no_banner(head: Head) -> None:
    assert head.get(b"Server") is None
    assert head.get(b"X-Powered-By") is None
    assert not [word for word in (b"hypercorn", b"h11", b"python") if word in head.raw.lower()]


TOP = b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\n" + BEARER


async def refused(
    house: House,
    *pieces: bytes,
    status: Container[int] = (400,),
    to_head: bool = False,
) -> Head:
    """The head of the only final answer, which refuses, says why, and ends the connection."""
    raw = await said(house, *pieces)
    (only,) = [each for each in answers(raw, to_head=to_head) if each.status >= 200]
    assert only.status in status
    assert only.head.get(b"Connection") == b"close"
    assert house.upstream.heads == []
    if not to_head:
        assert_rpc_error(only)
    assert_no_banner(only.head)
    return only.head
