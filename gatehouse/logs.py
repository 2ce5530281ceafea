"""Logging: one handler for every library, and a second lock on secrets.

The first lock is that nobody logs one: lines are built from parts that hold no header field and no
query. The second is here: whatever a library, a traceback or a client's odd path brings, the formatter
blanks every piece of a known secret before the line is written.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE = 8
"""So many characters of a secret in a row count as a piece of it. Fewer occur by chance."""

MASK = "[secret]"

TALKATIVE = ("httpcore", "httpx", "hypercorn", "mcp", "sse_starlette", "uvicorn")
"""Libraries that log what passes (header fields, sessions, events) below the level of a warning."""


class Redactor:
    """Blanks the pieces of secrets in text: as they are, percent-encoded, or in base64."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._pieces = {
            spelling[at : at + PIECE]
            for secret in secrets
            for spelling in _spellings(secret)
            for at in range(len(spelling) - PIECE + 1)
        }

    def __call__(self, text: str) -> str:
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
    for form in ("%{:02x}", "%{:02X}"):
        yield "".join(form.format(byte) for byte in secret.encode())
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for offset in range(3):  # what stands before the secret shifts its base64
            encoded = encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
            yield encoded[offset + 1 if offset else 0 : -1]


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback included, and then redacts the whole text."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


def configure_logging(secrets: Iterable[str], stream: TextIO | None = None) -> None:
    """Send every logger's lines to `stream` (stderr), through one redacting handler.

    Call it before FastMCP is imported: it would set up a handler of its own.
    """
    os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(Redactor(secrets)))
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
