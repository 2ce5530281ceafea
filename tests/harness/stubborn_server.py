"""A FastMCP server that does all it can to stay, and to keep everybody: `MCP_APP=stubborn_server:mcp`."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from fastmcp import FastMCP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POOL = ThreadPoolExecutor()


def note(what: str) -> None:
    """Write down, where the test finds it, that this has happened."""
    with Path("notes.txt").open("a") as notes:
        notes.write(f"{what}\n")


def handle(signum: int, _: object) -> None:
    note(f"the server's own {signum}")
    raise SystemExit(3)


if os.environ.get("AT_IMPORT"):
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
atexit.register(note, "atexit")


@asynccontextmanager
async def lifespan(_: FastMCP[Any]) -> AsyncIterator[None]:
    try:
        async with anyio.create_task_group():
            yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(float(os.environ.get("CLEANS_UP", "0")))
            note("cleaned up")
            raise RuntimeError("and failed")


mcp: FastMCP[None] = FastMCP("Stubborn", lifespan=lifespan)


@mcp.tool
def hold() -> None:
    """Hold a worker thread for ever, and two that are no daemons."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    POOL.submit(time.sleep, 600)
    time.sleep(600)


@mcp.tool
async def swallow() -> None:
    """Never be cancelled."""
    while True:
        with suppress(BaseException):
            await anyio.sleep(600)


@mcp.tool
async def block(seconds: float) -> str:
    """Block the event loop."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return "blocked"


@mcp.tool
async def take_signals() -> str:
    """Take SIGTERM away in each way that there is."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    return "taken"
