"""Imports the server that an import string such as `mcp_app:mcp` names."""

from __future__ import annotations

import contextvars
import importlib
import sys
import threading
from contextlib import contextmanager
from inspect import isroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.errors import text_of
from gatehouse.hosting.faults import HostedServerError, in_a_line
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from fastmcp import FastMCP

logger = logger_of("gate.upstream")

IMPORT_THREADS = OwnThreads("imports")

NOT_HERE = "signal only works in main thread"
"""The beginning of Python's ValueError if another thread installs a signal handler."""

RUNTIME_NAME = "UPSTREAM_RUNTIME"
"""A server's module may have this name, which says where the server runs unless the setting of that name does."""

RUNTIMES = ("asyncio", "trio")

SLOW_IMPORT_SECONDS = 10
"""An import that takes longer is told: perhaps it never ends."""

OURS_TOO = (
    "encodings.idna",
    "fastmcp.server.http",
    "gatehouse.hosting.tool_lock",
    "gatehouse.hosting.loops",
    "throttled",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""The modules that the gate imports late, but before the server: that may put a folder with a `throttled.py` into
`sys.path`."""


class Loaded(NamedTuple):
    """A server that has been imported."""

    server: FastMCP[Any]
    runtime: str
    """The runtime that its module asks for; empty if it does not say."""


async def imported(import_string: str) -> Loaded:
    """The server, imported while the gate answers. Raises HostedServerError in words.

    Its requests find the context variables that its import has set.
    """
    context = contextvars.copy_context()
    try:
        loaded = await IMPORT_THREADS.run(context.run, load_server, import_string)
    except HostedServerError as error:
        if error.__cause__ is None or not text_of(error.__cause__).startswith(NOT_HERE):
            raise
        # It installs a signal handler, which works in this thread only; the gate has to wait.
        logger.info(
            "%s wants signals, so it is imported a second time, in the main thread, and the gate answers "
            "nobody meanwhile",
            import_string,
        )
        loaded = context.run(load_server, import_string)
    for variable, value in context.items():
        variable.set(value)
    return loaded


def load_server(import_string: str) -> Loaded:
    """Import the FastMCP server `module:name`. Raises HostedServerError in words."""
    for ours in OURS_TOO:
        importlib.import_module(ours)
    from gatehouse.hosting import loops

    loops.prepare()
    module_name, _, name = import_string.partition(":")
    try:
        with a_loop_as_in_the_main_thread(), logged_if_slow(import_string):
            module = importlib.import_module(module_name)
            server = getattr(module, name, None)  # the module may make it only now
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0] and error.name != module_name:
            raise _cannot_import(import_string, error) from error
        raise HostedServerError(
            f"MCP_APP: there is no module {module_name} to import {import_string} from",
            started=False,
        ) from None
    except BaseException as error:
        raise _cannot_import(import_string, error) from error
    if server is None:
        raise HostedServerError(f"MCP_APP: {module_name} has no {name}", started=False)
    if not callable(getattr(server, "http_app", None)):
        advice = "; name the object it returns" if isroutine(server) else ""
        raise HostedServerError(
            f"MCP_APP: {import_string} is no FastMCP server but a {type(server).__name__}{advice}",
            started=False,
        )
    return Loaded(server, runtime_of(module))


def runtime_of(module: ModuleType) -> str:
    """The runtime that a server's module asks for. Raises HostedServerError for one that is not known."""
    runtime = str(getattr(module, RUNTIME_NAME, ""))
    if runtime in {"", *RUNTIMES}:
        return runtime
    raise HostedServerError(
        f"MCP_APP: {RUNTIME_NAME} in {module.__name__} must be {' or '.join(RUNTIMES)}, not {printable(runtime)}",
        started=False,
    )


@contextmanager
def logged_if_slow(import_string: str) -> Iterator[None]:
    """Log a line if the import takes long, from a thread of its own: the import may keep this one for ever."""
    sentence = "importing %s has not ended after %g s (does it call mcp.run() at import?)"
    timer = threading.Timer(
        SLOW_IMPORT_SECONDS, logger.warning, (sentence, import_string, SLOW_IMPORT_SECONDS)
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def a_loop_as_in_the_main_thread() -> Iterator[None]:
    """Let `asyncio.get_event_loop()` return a loop that does not run yet, as in a program's first thread."""
    import asyncio

    loop = asyncio.new_event_loop()
    holders = sys.getrefcount(loop)
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        if sys.getrefcount(loop) == holders:  # nobody has asked for it and kept it
            loop.close()


def _cannot_import(import_string: str, error: BaseException) -> HostedServerError:
    return HostedServerError(
        f"MCP_APP: importing {import_string} failed: {in_a_line(error)}", started=False
    )
