"""A server that changes what a whole process has in common: at import, and again in a tool.

Each of these is an idiom that somebody's server has, if seldom all of them at once.
"""

import locale
import logging
import logging.config
import os
import random
import resource
import socket
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fastmcp import FastMCP

if TYPE_CHECKING:
    from types import FrameType

mcp = FastMCP("Awkward")
SHADOWS = ("throttled", "redis", "uvicorn", "trio_asyncio", "prometheus_client")
ROOM = Path("elsewhere").absolute()


def upset(turn: str) -> None:
    """Change all of it."""
    room = ROOM / turn
    room.mkdir(parents=True)
    for name in SHADOWS:
        (room / f"{name}.py").write_text("raise RuntimeError('not what it looks like')")
    os.chdir(room)
    sys.path.insert(0, str(room))
    os.umask(0o777)
    os.environ.update(TZ="Pacific/Kiritimati", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
    time.tzset()
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    logging.basicConfig(force=True, level=logging.CRITICAL, format="%(thread)d: %(message)s")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    logging.disable(logging.CRITICAL)
    logging.shutdown()
    warnings.simplefilter("error")
    socket.setdefaulttimeout(0.001)
    random.seed(1)
    sys.setrecursionlimit(300)
    sys.setswitchinterval(1)
    sys.excepthook = lambda *_: os._exit(3)


upset("at-import")


@mcp.tool
def upset_again() -> str:
    """The same once more, and no stderr."""
    upset("in-a-tool")
    print("printed by a tool")  # noqa: T201
    sys.stderr.close()
    return "done"


@mcp.tool
def look() -> str:
    """All that a tool finds in /proc of its own process, and one that it starts of its own; the variables of all
    that runs, as a reporter of errors sends them; where a crash would leave its memory.
    """
    seen = [str(dict(os.environ)), str(sys.argv), str(sys.orig_argv)]
    own = Path("/proc/self")
    files = [own / "environ", own / "cmdline", *own.glob("task/*/environ")]
    seen += [path.read_bytes().decode(errors="replace") for path in files]
    for path in [*own.glob("fd/*")]:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with suppress(OSError):
                seen.append(os.read(descriptor, 100_000).decode(errors="replace"))
            os.close(descriptor)
    child = "cat /proc/self/environ /proc/$PPID/environ; env"
    seen.append(
        subprocess.run(["sh", "-c", child], capture_output=True, text=True, check=True).stdout
    )
    for frame in sys._current_frames().values():  # noqa: SLF001
        up: FrameType | None = frame
        while up is not None:
            for value in list(up.f_locals.values()):
                with suppress(Exception):
                    seen.append(repr(value)[:10_000])
            up = up.f_back
    seen.append(f"core files: {resource.getrlimit(resource.RLIMIT_CORE)[0]} bytes")
    return "\n".join(seen)
