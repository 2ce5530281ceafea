"""The call in a request's body, for the records: it decides nothing.

Before MCP 2026-07-28 only the body names the call. A bounded beginning of it is kept as it passes, and read once the
request is over. Of what it holds only the method and the name of the thing get out, never an argument.
"""

from __future__ import annotations

import json
from typing import Any

from gatehouse.http.mcp import McpCall

MAX_CALL_BYTES = 65_536
"""How much of a request's body is kept; of a longer one nothing is read."""

BATCH = "batch"

MAX_BATCHED = 8
"""How many calls of a batch are named (MCP 2025-03-26 has batches)."""

NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter that names the thing, by method."""

RESPONSE = McpCall("response", "")
"""A client's answer to a question of the server's, which has no method."""


MAX_CHUNKS = 64
"""How many chunks are kept apart: a chunk of one byte takes as much memory as fifty bytes of a long one."""


class Kept:
    """The beginning of a body: its chunks, as they passed, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk. It is copied only if it crosses the limit, or is one of many."""
        if self._size < self._limit:
            self._chunks.append(chunk[: self._limit - self._size])
            if len(self._chunks) > MAX_CHUNKS:
                self._chunks = [b"".join(self._chunks)]
        self._size += len(chunk)

    @property
    def is_whole(self) -> bool:
        """True if no byte has come beyond the limit."""
        return self._size <= self._limit

    def beginning(self) -> bytes:
        """The bytes that are kept."""
        return b"".join(self._chunks)


def call_in(body: bytes) -> McpCall | None:
    """The call that a body makes; None if it cannot be told, as from one that is compressed or no message of MCP's."""
    try:
        message = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, list):
        return _call(message)
    calls = [_call(one) or McpCall("unknown", "") for one in message[:MAX_BATCHED]]
    more = ["..."] * (len(message) > MAX_BATCHED)
    return McpCall(
        "batch", ", ".join([*(" ".join(call.for_log).rstrip() for call in calls), *more])
    )


def _call(message: Any) -> McpCall | None:
    if not isinstance(message, dict):
        return None
    method, params = message.get("method"), message.get("params")
    if method is None and not message.keys().isdisjoint({"result", "error"}):
        return RESPONSE
    if not isinstance(method, str):
        return None
    name = params.get(NAMED_BY.get(method)) if isinstance(params, dict) else ""
    return McpCall(method, name if isinstance(name, str) else "")
