"""The gate's own loggers, in a tree of their own.

A hosted server may configure logging as it likes: `basicConfig(force=True)`, `dictConfig`, `disable`,
`shutdown`, other levels, factories and names of levels. All that changes Python's one tree of loggers, where
the libraries' are. The gate's are not in it, so that its lines stay complete and as they are.
"""

from __future__ import annotations

import logging
import sys
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = MappingProxyType(
    {
        logging.DEBUG: "DEBUG",
        logging.INFO: "INFO",
        logging.WARNING: "WARNING",
        logging.ERROR: "ERROR",
        logging.CRITICAL: "CRITICAL",
    }
)


class Entry(logging.LogRecord):
    """A log record without what no line of ours shows: threads, processes, tasks.

    `logging` could be told to leave that out for everybody, but a hosted server's own lines may show it.
    """

    def __init__(
        self, name: str, level: int, place: tuple[str, int], msg: object, args: Any
    ) -> None:
        # Without super().__init__: finding out what is left out here takes a third of a line's time.
        self.name = name
        self.msg = msg
        self.args = args[0] if args and len(args) == 1 and isinstance(args[0], dict) else args
        self.levelno, self.levelname = level, _LEVELS.get(level, f"Level {level}")
        self.pathname, self.lineno = place
        self.filename = self.module = self.pathname
        self.funcName = ""
        self.exc_info, self.exc_text, self.stack_info = None, None, None
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
        self.relativeCreated = 0.0
        self.thread, self.threadName = None, None
        self.process, self.processName = None, None
        self.taskName: str | None = None


class GateLogger(logging.Logger):
    """A logger that makes its records itself, whatever factory has been set, and hands them on itself, whatever has
    been put in the place of `logging.Logger`'s methods (to watch, to count, to silence).
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Whether it, or the next above it that has a level, has none higher."""
        at: logging.Logger | None = self
        while at is not None and not at.level:
            at = at.parent
        return at is None or level >= at.level

    def handle(self, record: logging.LogRecord) -> None:
        """Give it to whoever writes the gate's lines."""
        for handler in root.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def findCaller(  # noqa: N802 - logging's name
        self,
        stack_info: bool = False,  # noqa: ARG002 - logging's signature
        stacklevel: int = 1,  # noqa: ARG002
    ) -> tuple[str, int, str, str | None]:
        """The file and line that log: two frames up, since the gate logs by its loggers' methods only."""
        frame = sys._getframe(3)  # noqa: SLF001
        return frame.f_code.co_filename, frame.f_lineno, "", None

    def makeRecord(  # noqa: N802
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,  # noqa: ARG002
        extra: Mapping[str, object] | None = None,  # noqa: ARG002
        sinfo: str | None = None,  # noqa: ARG002
    ) -> logging.LogRecord:
        """An Entry."""
        entry = Entry(name, level, (fn, lno), msg, args)
        entry.exc_info = exc_info
        return entry


root = GateLogger("root", logging.INFO)
"""Whoever writes the gate's lines is a handler of this one."""

_tree = logging.Manager(root)  # type: ignore[arg-type]
_tree.setLoggerClass(GateLogger)
root.manager = _tree


def logger_of(name: str) -> logging.Logger:
    """The gate's logger of that name, such as "gate.access"."""
    return _tree.getLogger(name)
