"""The end of a call, as far as a short answer tells: with a result, or with an error.

Servers answer a call of a tool that they do not have with 200, too: the error is in the body.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

from gatehouse.http.reply import FORBIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.http.calls import Kept

MAX_ANSWER_BYTES = 8192
"""How much of an answer is kept. Of a longer one only the beginning tells: that it holds a result, and no error."""

# A message up to its result, or an error. A client chooses the id, and a long one would make an error long.
_END = re.compile(
    rb"""\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"\\]{0,64}"|[0-9]{1,32})\s*,){0,2}\s*"(result)"\s*:|"error"\s*:"""
)
# A result as the MCP SDKs write it, alone or in the first event that has data. Reading it as JSON costs more.
_PLAIN = re.compile(
    rb"""(?:(?:(?:event|id|retry):[^\r\n]*\r?\n)*data: ?)?"""
    rb"""\{"jsonrpc":"2\.0","id":(?:"[^"\\]{0,64}"|[0-9]{1,32}),"result":\{[^\0]*\}\s*\Z"""
)
_FAILED = re.compile(
    rb""""isError"\s*:\s*true"""
)  # no text within JSON reads so: its quotes are escaped
_LINE_END = re.compile(rb"\r\n|\r|\n")


End = Literal["", "ok", "error", "refused", "long"]
"""The end of a call: with a good result; with a result that is an error, or an error of MCP's; refused by the hosted
server to this token; with a result that is too long to see whether it is good; or, if empty, nobody can tell."""


def end_of_call(answer: Kept) -> End:
    """The end of a call, as the beginning of its answer tells it. Servers say what went wrong in some hundred bytes."""
    kept = answer.beginning()
    if answer.is_whole:
        return end_in(kept)
    end = _END.search(kept)
    return "long" if end and end[1] else ""


def end_in(body: bytes) -> End:
    """The end of a call whose whole answer, as JSON or as an event stream, is `body`.

    Unknown for a body that cannot be read, such as a compressed one.
    """
    if _PLAIN.match(body) and not _FAILED.search(body):
        return "ok"
    for message in messages_in(body):
        if isinstance(message, dict) and not message.keys().isdisjoint({"result", "error"}):
            error, result = message.get("error"), message.get("result")
            if isinstance(error, dict):
                return "refused" if _is_of_the_lock(error) else "error"
            if isinstance(result, dict):
                return "error" if result.get("isError") else "ok"
            return ""
    return ""


def messages_in(body: bytes) -> Iterator[Any]:
    """The JSON in a body that is JSON, or an event stream; None for each piece that is none."""
    return map(_message, (body, *_events(body)))


def _is_of_the_lock(error: dict[str, Any]) -> bool:
    """True if the lock in the hosted server says it: another server may give the code another meaning."""
    said = error.get("message")
    return error.get("code") == FORBIDDEN and str(said).startswith("Forbidden: ")


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
