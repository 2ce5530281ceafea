"""A FastMCP server whose tools fork, and spoil what the whole process has: `MCP_APP=forking_server:mcp`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sys
import time

from fastmcp import FastMCP

mcp: FastMCP[None] = FastMCP("Forking")


@mcp.tool
def end_workers() -> list[int | None]:
    """Start workers as `multiprocessing` does, end them by each signal, and say how they ended."""
    fork = multiprocessing.get_context("fork")
    codes = []
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        worker = fork.Process(target=time.sleep, args=(60,))
        worker.start()
        os.kill(worker.pid or 0, signum)
        worker.join(5)
        codes.append(worker.exitcode)
        worker.kill()
    return codes


@mcp.tool
def leave_a_child(seconds: float) -> None:
    """Fork a child that outlives the call, and perhaps the gate."""
    if not os.fork():
        time.sleep(seconds)
        os._exit(0)


class Broken:
    """Stands in the place of a stream, and is none."""

    def write(self, text: str) -> int:
        raise RuntimeError(text)

    def flush(self) -> None:
        raise RuntimeError


def nothing(*_: object) -> None: ...


@mcp.tool
def spoil() -> None:
    """Put other things in the place of streams and of logging's methods, and lower a limit."""
    sys.stdout = sys.stderr = Broken()
    logging.root.handlers.clear()
    for kind, name in (
        (logging.Logger, "handle"),
        (logging.Logger, "callHandlers"),
        (logging.Logger, "isEnabledFor"),
        (logging.Handler, "handle"),
        (logging.Handler, "acquire"),
        (time, "strftime"),
    ):
        setattr(kind, name, nothing)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (10, most))
