"""The end of a call, as far as a short answer tells: with a result, or with an error.

Servers answer a call of a tool that they do not have with 200, too: the error is in the body.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 8192
"""How much of an answer is kept. Of a longer one only the beginning tells: that it holds a result, and no error."""

# A message up to its result, or an error. A client chooses the id, and a long one would make an error long.
_END = re.compile(
    rb"""\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"\\]{0,64}"|[0-9]{1,32})\s*,){0,2}\s*"(result)"\s*:|"error"\s*:"""
)
_LINE_END = re.compile(rb"\r\n|\r|\n")


class ShortAnswer:
    """The answer to a call, whole while it is short."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk of the body."""
        if self._size < MAX_BYTES:
            self._chunks.append(chunk[: MAX_BYTES - self._size])
        self._size += len(chunk)

    def has_result(self) -> bool:
        """True if the call ended with a result. A short one may be an error; servers say that in some hundred bytes."""
        kept = b"".join(self._chunks)
        if self._size <= MAX_BYTES:
            return has_result(kept)
        end = _END.search(kept)
        return bool(end and end[1])


def has_result(body: bytes) -> bool:
    """True if the answer to a call, as JSON or as an event stream, ends it with a result that is no error.

    False also for a body that cannot be read, such as a compressed one.
    """
    for message in map(_message, (body, *_events(body))):
        if isinstance(message, dict) and not message.keys().isdisjoint({"result", "error"}):
            result = message.get("result")
            return isinstance(result, dict) and not result.get("isError")
    return False


def _message(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each event of a stream."""
    data: list[bytes] = []
    for line in _LINE_END.split(body):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value)
        elif not line and data:
            yield b"\n".join(data)
            data = []
