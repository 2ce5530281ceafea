"""Stops a server that runs itself while it is imported: it would listen where no gate stands before it, or read stdin.

The names are looked up before the import: if one is missing, the program does not start.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer

from gatehouse.hosting.contained import place_of_caller
from gatehouse.hosting.faults import HostedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OF_FASTMCP = ("run", "run_async", "run_stdio_async", "run_http_async")
WAYS: tuple[tuple[Any, str], ...] = (
    *((FastMCP, name) for name in OF_FASTMCP),
    *((MCPServer, name) for name in ("run", "run_stdio_async", "run_streamable_http_async")),
    *((uvicorn.Server, name) for name in ("run", "serve")),
    (uvicorn, "run"),
)
"""All ways in which a server may run itself."""


class RunsItselfError(BaseException):
    """Ends the call that would run the server. No `except Exception` in the server's code keeps it."""


@contextmanager
def refusing_own_runs(import_string: str) -> Iterator[None]:
    """Until the block ends, let no server run itself.

    Raises HostedServerError at the end if one has tried, whatever its code made of the error, and in whatever thread.
    """
    tried: list[str] = []
    over = threading.Event()
    usual = [(owner, name, getattr(owner, name)) for owner, name in WAYS]
    for owner, name, function in usual:
        setattr(owner, name, refusal(name, function, tried, over))
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        if not tried:
            raise
        error = raised
    finally:
        over.set()
        for owner, name, function in usual:
            setattr(owner, name, function)
    if tried:
        raise HostedServerError(
            f"MCP_APP: {import_string} runs a server itself when it is imported, by {tried[0]}; it would listen without "
            'the gate, which hosts it already. Put that call under: if __name__ == "__main__":',
            started=False,
        ) from error


def refusal(
    name: str, usual: Callable[..., Any], tried: list[str], over: threading.Event
) -> Callable[..., Any]:
    """In place of a function, one that raises RunsItselfError, and adds to `tried` who has called it, until it is over.

    The server's module may keep it, by `from uvicorn import run`.
    """

    def refuse(*args: Any, **options: Any) -> Any:
        if over.is_set():
            return usual(*args, **options)
        tried.append(f"{name}()")  # before what takes time: this may be another thread
        tried[-1] += place_of_caller()
        raise RunsItselfError

    return refuse


def refuse_own_runs(server: object) -> None:
    """Let the hosted server never run itself: a thread that its import has started may call `run` only now."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            "the gate hosts this server already, which therefore must not run itself"
        )

    if isinstance(server, FastMCP):
        for name in OF_FASTMCP:
            setattr(server, name, refuse)
