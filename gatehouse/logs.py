"""Logging: one handler for every library, and a second lock on secrets.

The first lock is that nobody logs one: lines are built from parts that hold no header field and no
query. The second is here: whatever a library, a traceback or a client's odd path brings, the formatter
blanks every piece of a known secret before the line is written, and every token value of ours, known or
not. Nor can what is logged look like another line: in text what follows a line break is indented, in JSON
there is none.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from gatehouse.records import Record
from gatehouse.tokens import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE = 8
"""So many characters of a secret in a row count as a piece of it. Fewer occur by chance."""

FRAGMENT = 4
"""Cut a text into fragments so long, and one of them lies within any piece. So few are quickly looked at."""

MASK = "[secret]"

TALKATIVE = ("httpcore", "httpx", "hypercorn", "mcp", "sse_starlette", "uvicorn")
"""Libraries that log what passes (header fields, sessions, events) below the level of a warning."""


class Redactor:
    """Blanks the pieces of secrets in text: as they are, percent-encoded, in base64, or escaped in JSON.

    And, in the same spellings, what looks like a token value that the gate's tool has made, whole or cut
    off: of these it knows only the digests.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = [spelling for secret in secrets for spelling in _spellings(secret)]
        self._pieces = {
            spelling[at : at + PIECE]
            for spelling in spellings
            for at in range(len(spelling) - PIECE + 1)
        }
        self._fragments = {
            int.from_bytes(data[at : at + FRAGMENT], sys.byteorder)
            for data in map(str.encode, [*spellings, *_PREFIXES])
            for at in range(len(data) - FRAGMENT + 1)
        }

    def __call__(self, text: str) -> str:
        return self._blanked(text) if self.suspects(text) else text

    def suspects(self, text: str) -> bool:
        """Whether there may be anything to blank: cheap, and never wrong when it says no."""
        data = text.encode("utf-8", "replace")
        fragments = memoryview(data)[: len(data) // FRAGMENT * FRAGMENT].cast("I")
        return not self._fragments.isdisjoint(fragments)

    def _blanked(self, text: str) -> str:
        text = _VALUE.sub(MASK, text)
        found = [at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in self._pieces]
        if not found:
            return text
        kept: list[str] = []
        end = 0  # of what has been kept or blanked so far
        for at in found:
            if at > end or not kept:
                kept += [text[end:at], MASK]
            end = at + PIECE
        return "".join([*kept, text[end:]])


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    for form in ("%{:02x}", "%{:02X}"):
        yield "".join(form.format(byte) for byte in secret.encode())
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for offset in range(3):  # what stands before the secret shifts its base64
            encoded = encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
            yield encoded[offset + 1 if offset else 0 : -1]


_PREFIXES = sorted(set(_spellings(PREFIX)))
_VALUE = re.compile(
    rf"(?:{'|'.join(map(re.escape, _PREFIXES))})(?:[A-Za-z0-9_+/=-]|%[0-9A-Fa-f]{{2}}){{{PIECE},}}"
)


class RedactingFormatter(logging.Formatter):
    """Formats an entry, its traceback included, as text for people, and then redacts all of it."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, entry: logging.LogRecord) -> str:
        try:
            return self.line(entry)
        except Exception:  # noqa: BLE001 - logging itself would print the arguments, unredacted
            entry.msg = f"could not format what {entry.pathname}:{entry.lineno} logs"
            entry.args = None
            return self.line(entry)

    def line(self, entry: logging.LogRecord) -> str:
        """The text to write for an entry."""
        text = self._redact(super().format(entry))
        return text if text.isprintable() else "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    """A character that can neither begin a line nor move a terminal's cursor."""
    if character == "\n":
        return "\n  "
    if character == "\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class JsonFormatter(RedactingFormatter):
    """Formats an entry as one JSON object in one line of ASCII, and redacts each of its strings."""

    def line(self, entry: logging.LogRecord) -> str:
        fields: dict[str, str | int | float | None] = {
            "time": f"{_utc(int(entry.created))}.{int(entry.msecs):03d}Z",
            "level": entry.levelname,
            "logger": entry.name,
        }
        if isinstance(entry.msg, Record):
            fields |= entry.msg.fields()
        else:
            fields["message"] = entry.getMessage()
            if entry.exc_info:
                fields["error"] = self.formatException(entry.exc_info)
        line = json.dumps(fields)
        if self._redact.suspects(line):
            for key, value in fields.items():
                fields[key] = self._redact(value) if isinstance(value, str) else value
            line = json.dumps(fields)
        return line


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def configure_logging(
    secrets: Iterable[str], stream: TextIO | None = None, *, json: bool = False
) -> None:
    """Send every logger's lines to `stream` (stderr), through one redacting handler.

    With `json`, each is a JSON object. Call it before FastMCP is imported: it would set up a handler of
    its own.
    """
    os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonFormatter if json else RedactingFormatter
    handler.setFormatter(formatter(Redactor(secrets)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # What no line of ours shows need not be found out: «Optimization» in Python's Logging HOWTO.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def without_text(error: BaseException) -> str:
    """An error as its type and the lines of code it came through, without its message.

    The message could repeat what a client sent; the rest is what finding a fault takes.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    frames = traceback.format_tb(error.__traceback__)
    return f"{type(error).__name__}\n{''.join(frames)}".rstrip()
