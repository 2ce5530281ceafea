"""Logging: one handler for every library, and a second lock on secrets.

The first lock is that nobody logs a secret: lines are built from parts that hold no header field and no query.
The second is here: whatever a library, a traceback or a client's odd path brings, the formatter blanks every
piece of a known secret before the line is written, and every token value of ours, known or not. No entry can
pass for two either: text after a line break is indented, and JSON has no line breaks. No line is longer than
MAX_LINE_BYTES.
"""

from __future__ import annotations

import json
import logging
import os
from functools import lru_cache, partial
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

from gatehouse.errors import tells_of_a_client_that_left, told
from gatehouse.records import loggers, outputs
from gatehouse.records.record import Record
from gatehouse.records.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LINE_BYTES = 2048
"""The longest line, with its line break: every reader of logs takes this much whole (syslog: RFC 5424, 6.1)."""

MAX_ENTRY_LINES = 60
"""How many lines an entry may have. A longer traceback keeps its beginning and its end."""

FIRST_LINES = 15
"""How many of them are its beginning."""

MAX_LOOKED_AT = 65_536
"""How many characters of an entry are searched for secrets; the rest is not written either."""

TALKATIVE = ("httpcore", "httpx", "hypercorn", "mcp", "sse_starlette", "uvicorn")
"""Libraries that log passing traffic (header fields, sessions, events) below the level of a warning."""

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The values of LOG_LEVEL."""


class RedactingFormatter(logging.Formatter):
    """Formats an entry, its traceback included, as text for people, and then redacts all of it."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, entry: logging.LogRecord) -> str:
        try:
            return self.line(entry)
        except Exception:  # noqa: BLE001 - logging itself would print the arguments, unredacted
            entry.msg = f"could not format what {entry.pathname}:{entry.lineno} logs"
            entry.args = entry.exc_info = entry.stack_info = None
            return self.line(entry)

    def line(self, entry: logging.LogRecord) -> str:
        """The text to write for an entry."""
        text = f"{_stamp(entry)} {entry.levelname} {entry.name}: {entry.getMessage()}"
        if entry.exc_info:
            text = f"{text}\n{self.formatException(entry.exc_info)}"
        if entry.stack_info:
            text = f"{text}\n{entry.stack_info}"
        text = self._redact(_looked_at(text))
        if text.isprintable():
            return _cut(text)
        lines = "".join(map(_harmless, text)).split("\n")
        if len(lines) > MAX_ENTRY_LINES:
            left_out = len(lines) - MAX_ENTRY_LINES
            lines[FIRST_LINES : FIRST_LINES + left_out] = [f"  ... ({left_out} more lines)"]
        return "\n".join(map(_cut, lines))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The error, in bounded time."""
        return told(ei[1]) if ei[1] is not None else "NoneType: None"


def _harmless(character: str) -> str:
    """A character that can neither begin a line nor move a terminal's cursor."""
    if character == "\n":
        return "\n  "
    if character == "\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _cut(line: str) -> str:
    """The line, or as much of its beginning as is allowed. It is redacted already, so no half of a secret is left."""
    if 4 * len(line) < MAX_LINE_BYTES or len(data := line.encode()) < MAX_LINE_BYTES:
        return line
    kept = data[: MAX_LINE_BYTES - 40].decode("utf-8", "ignore")
    return f"{kept}... ({len(line) - len(kept)} more characters)"


def _looked_at(text: str) -> str:
    """The text, or the beginning and the last whole lines of a very long one.

    A cut in the middle of a secret could leave an unknown rest; but no secret holds a line break.
    """
    if len(text) <= MAX_LOOKED_AT:
        return text
    half = MAX_LOOKED_AT // 2
    end = text[-half:].partition("\n")[2]
    return f"{text[:half]}\n... ({len(text) - half - len(end)} more characters)\n{end}"


class JsonFormatter(RedactingFormatter):
    """Formats an entry as one JSON object in one line of ASCII, and redacts each of its strings."""

    def line(self, entry: logging.LogRecord) -> str:
        fields: dict[str, str | int | float | None] = {
            "time": _stamp(entry),
            "level": entry.levelname,
            "logger": entry.name,
        }
        if isinstance(entry.msg, Record):
            fields |= entry.msg.fields()
        else:
            fields["message"] = _looked_at(entry.getMessage())
            if entry.exc_info:
                fields["error"] = _looked_at(self.formatException(entry.exc_info))
        line = json.dumps(fields)
        if self._redact.suspects(line):
            for key, value in fields.items():
                fields[key] = self._redact(value) if isinstance(value, str) else value
            line = json.dumps(fields)
        return line if len(line) < MAX_LINE_BYTES else _shortened(fields)


def _shortened(fields: dict[str, str | int | float | None]) -> str:
    """The line of JSON, with its longest string cut again and again until the line is short enough."""
    whole = {key: value for key, value in fields.items() if isinstance(value, str)}
    kept = {key: min(len(value), MAX_LINE_BYTES) for key, value in whole.items()}
    while True:
        longest = max(whole, key=lambda key: len(json.dumps(fields[key])))
        kept[longest] //= 2
        value, left_out = whole[longest], len(whole[longest]) - kept[longest]
        # A traceback says most at its end, anything else at its beginning.
        end = 2 * kept[longest] // 3 if longest == "error" else 0
        beginning = value[: kept[longest] - end]
        fields[longest] = f"{beginning}... ({left_out} more characters)" + (
            f" ...{value[-end:]}" if end else ""
        )
        if len(line := json.dumps(fields)) < MAX_LINE_BYTES:
            return line


def _stamp(entry: logging.LogRecord) -> str:
    """The time of the entry, in UTC, since a hosted server may change the local time (`time.tzset`)."""
    return f"{_utc(int(entry.created))}.{int(entry.msecs):03d}Z"


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


class Handler(logging.Handler):
    """Hands each entry on as text, with its line break. `close` (`logging.shutdown`) does not end it."""

    def __init__(self, formatter: RedactingFormatter, put: Callable[[str], object]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._line = formatter.format
        self._put = put

    def handle(self, entry: logging.LogRecord) -> bool:
        """As `logging`'s, but without a lock: nothing here needs one, and its holder would keep the others waiting."""
        wanted = all(one(entry) if callable(one) else one.filter(entry) for one in self.filters)
        if wanted:
            self.emit(entry)
        return wanted

    def emit(self, entry: logging.LogRecord) -> None:
        """Hand the entry on. Must not raise: the caller only wants to log."""
        try:
            self._put(f"{self._line(entry)}\n")
        except Exception:  # noqa: BLE001 - nobody could be told
            self.handleError(entry)

    def handleError(self, entry: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing: logging itself would print the arguments, unredacted."""


def configure_logging(
    secrets: Iterable[str],
    put: Callable[[str], object] | None = None,
    *,
    json: bool = False,
    level: str = "info",
) -> None:
    """Hand every logger's lines, with their line breaks, to `put`, through one redacting formatter.

    Without `put`, lines go to stderr, and all that is printed goes through `outputs` from now on. With `json`, each
    line is a JSON object, and each printed one becomes one. `level` is one of LEVELS; debug is for the gate's own
    lines, since libraries log header fields and arguments there. Call it before FastMCP is imported: it would set
    up a handler of its own.
    """
    os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
    formatter = (JsonFormatter if json else RedactingFormatter)(Redactor(secrets))
    if put is None:
        put = outputs.take_over(partial(_line, formatter), as_lines=json)
    # Two handlers: whatever is done to the one that everybody finds, the gate's own lines go on.
    loggers.root.handlers = [Handler(formatter, put)]
    loggers.root.setLevel(LEVELS[level])
    libraries = Handler(formatter, put)
    # For those who set levels of their own, or log below them, as FastMCP does.
    libraries.setLevel(LEVELS[level])
    libraries.addFilter(is_no_client_that_left)
    logging.basicConfig(level=max(logging.INFO, LEVELS[level]), handlers=[libraries], force=True)
    logging.captureWarnings(capture=True)
    quiet = max(logging.WARNING, LEVELS[level])
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(quiet)
    loggers.logger_of("hypercorn").setLevel(quiet)  # the gate's own, and as talkative


def is_no_client_that_left(entry: logging.LogRecord) -> bool:
    """False if a library only tells that a client left in the middle of its body, as the MCP SDK does."""
    kind = entry.exc_info[0] if entry.exc_info else None
    return kind is None or not tells_of_a_client_that_left(kind)


def _line(formatter: RedactingFormatter, logger: str, level: int, text: str) -> str:
    """The line for a text that no logger has logged."""
    return f"{formatter.format(loggers.Entry(logger, level, ('', 0), '%s', (text,)))}\n"


def now() -> str:
    """The time as it stands in a line."""
    return _stamp(loggers.Entry("", logging.INFO, ("", 0), "", ()))
