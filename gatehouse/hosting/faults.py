"""A fault of the hosted server, in words for whoever started the program."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from gatehouse.errors import text_of

NOT_THEIRS = (
    "<",
    os.path.dirname(os.__file__) + os.sep,  # noqa: PTH120 - as it stands in tracebacks
    str(Path(__file__).parent.parent) + os.sep,
)
"""The names of Python's files, of no file at all, and of the gate's begin like this; the server's do not."""


class HostedServerError(Exception):
    """The hosted MCP server could not start, or stopped by itself.

    `faults` says so in words, a line each; `started` is True if it stopped by itself.
    """

    def __init__(self, *faults: str, started: bool) -> None:
        super().__init__(*faults)
        self.faults = faults
        self.started = started


def in_a_line(error: BaseException) -> str:
    """An error as one line: type, text and place, the innermost one in the server's own code if there is any."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    others = [frame for frame in frames if not frame.filename.startswith("<")]
    places = [(frame.filename, frame.lineno) for frame in (own or others)[-1:]]
    text = "; ".join(text_of(error).split("\n"))
    if (
        isinstance(error, SyntaxError) and error.filename
    ):  # its text names the file's last part only
        text, places = error.msg, [(error.filename, error.lineno)]
    place = "".join(f" ({filename}, line {line})" for filename, line in places)
    return f"{type(error).__name__}: {text}{place}"
