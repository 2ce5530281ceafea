"""stdout and stderr of this program: writing to them never waits for their readers.

The gate's log has a file descriptor of its own, so that closing `sys.stderr`, or even 2, does not end it.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from gatehouse.records.line_writer import LinesOfPrint, LineWriter, Stream
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeLine = Callable[[str, int, str], str]

END_SECONDS = 0.5
"""How long the log may take to be written at the program's end: enough for any reader that has not stalled."""

STDOUT, STDERR = 1, 2

_writers: dict[int, LineWriter] = {}
_streams: list[io.TextIOWrapper] = []
_lines: list[LinesOfPrint] = []
_made: list[MakeLine] = []
"""Makes the line for what is printed; empty if that is written as it is."""

_budget = LogBudget(logger_of("gate.log"))


def take_over(line: MakeLine, *, as_lines: bool = False) -> Callable[[str], object]:
    """Write stdout and stderr by threads from now on; returns the function that takes lines for stderr.

    `line` makes a line of the log from its logger's name, its level and its text. `sys.stdout` and `sys.stderr` go
    the same way, since a tool that prints would otherwise wait for a reader that has stopped. With `as_lines`, each
    line that is printed becomes one of the log, on its own stream.
    """
    if not _writers:
        if as_lines:
            _made.append(line)
        _writers[STDERR] = LineWriter(STDERR, partial(_lost, line))
        _writers[STDOUT] = _writers[STDERR]
        if not os.path.sameopenfile(STDOUT, STDERR):
            _writers[STDOUT] = LineWriter(STDOUT, _lost_of_stdout)
        sys.stdout, sys.stderr = _stream(STDOUT), _stream(STDERR)
        atexit.register(_end)  # for a traceback, too, that ends the program
    return _writers[STDERR].put


def say(text: str) -> None:
    """Print lines on stdout. The program goes on if nobody reads them any more."""
    _print(STDOUT, text)


def complain(text: str) -> None:
    """Print lines on stderr: the reasons why the program cannot run."""
    for line in _made:
        text = line("gate", logging.ERROR, text).rstrip()
    _print(STDERR, text)


def flush(seconds: float = END_SECONDS) -> bool:
    """Wait until all logged and printed lines are written, for `seconds` at most; False if they are not.

    May be called in any thread, again and again.
    """
    for stream in _streams:
        with suppress(ValueError):  # a tool may have closed it
            stream.flush()
    for lines in _lines:
        lines.end_line()
    end = time.monotonic() + seconds
    written = [writer.flush(end - time.monotonic()) for writer in {*_writers.values()}]
    return all(written)


def _end() -> None:
    """Write the rest, and leave streams that Python can flush: with streams that a tool has spoilt or replaced, the
    status might be 120.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    flush()
    sys.stdout, sys.stderr = _stream(STDOUT), _stream(STDERR)


def _print(descriptor: int, text: str) -> None:
    if descriptor in _writers:
        _writers[descriptor].put(f"{text}\n")
        return
    with suppress(OSError):
        print(text, file=sys.stdout if descriptor == STDOUT else sys.stderr, flush=True)


def _stream(descriptor: int) -> io.TextIOWrapper:
    below = Stream(_writers[descriptor], descriptor)
    for line in _made:
        make = partial(line, below.name.strip("<>"), logging.INFO)
        below = LinesOfPrint(_writers[descriptor], descriptor, make)
        _lines.append(below)
    stream = io.TextIOWrapper(
        below,
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    _streams.append(stream)
    return stream


def _lost(line: MakeLine, lines: int, why: str) -> str:
    return line("gate.log", logging.WARNING, f"{lines} lines were lost, since {why}")


def _lost_of_stdout(lines: int, why: str) -> str:
    """The log tells of stdout's lost lines once a minute; stdout itself may be gone for good."""
    _budget.warning("stdout", "%d lines of stdout were lost, since %s", lines, why, lines=1)
    return ""
