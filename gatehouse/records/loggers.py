"""The gate's own loggers, in a tree of their own.

A hosted server may configure logging as it likes: `basicConfig(force=True)`, `dictConfig`, `disable`,
`shutdown`, other levels, factories and names of levels. All that changes Python's one tree of loggers, in
which the libraries' are. The gate's are not in it, so its lines stay complete and unchanged.
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
    """A log record without threads, processes and tasks, which no line of ours shows.

    `logging` could leave them out for everybody, but a hosted server's own lines may show them.
    """

    def __init__(
        self, name: str, level: int, place: tuple[str, int], msg: object, args: Any
    ) -> None:
        # No super().__init__: it would spend a third of a line's time on what is left out here.
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
    """A logger that makes its records itself, whatever factory is set, and hands them on itself, whatever replaces
    the methods of `logging.Logger` (to watch, to count, to silence).
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """True if the logger's level, or that of the next one above with a level, is not higher."""
        at: logging.Logger | None = self
        while at is not None and not at.level:
            at = at.parent
        return at is None or level >= at.level

    def handle(self, record: logging.LogRecord) -> None:
        """Give the record to the handlers of the gate's lines."""
        for handler in root.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def findCaller(  # noqa: N802 - logging's name
        self,
        stack_info: bool = False,  # noqa: ARG002 - logging's signature
        stacklevel: int = 1,  # noqa: ARG002
    ) -> tuple[str, int, str, str | None]:
        """The file and line of the logging call: two frames up, since the gate only logs by its loggers' methods."""
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
"""The handlers of this logger write the gate's lines."""

_tree = logging.Manager(root)  # type: ignore[arg-type]
_tree.setLoggerClass(GateLogger)
root.manager = _tree


def logger_of(name: str) -> logging.Logger:
    """The gate's logger of that name, such as "gate.access"."""
    return _tree.getLogger(name)
