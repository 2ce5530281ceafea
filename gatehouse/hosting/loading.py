"""Imports the server that an import string such as `mcp_app:mcp` names.

The import finds all as it is in a program of its own: the main thread, no event loop that runs, asyncio as the
server's requests will find it, and the context that these will have. The gate answers nobody meanwhile. The slow
part, the import of FastMCP itself, is therefore done in a thread first.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from functools import partial
from inspect import isroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from sniffio import thread_local as current_library

from gatehouse import pinned
from gatehouse.hosting import modules
from gatehouse.hosting.faults import HostedServerError, in_a_line
from gatehouse.hosting.import_advice import advice_on, of_fastmcp
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from fastmcp import FastMCP

logger = logger_of("gate.upstream")

IMPORT_THREADS = OwnThreads("imports")

RUNTIME_NAME = "UPSTREAM_RUNTIME"
"""A server's module may have this name, which says where the server runs unless the setting of that name does."""

RUNTIMES = ("asyncio", "trio")

OURS_TOO = (
    "encodings.idna",
    "fastmcp.server.http",
    "gatehouse.hosting.asyncio_loop",
    "gatehouse.hosting.loops",
    "gatehouse.hosting.own_runs",
    "gatehouse.hosting.own_auth",
    "gatehouse.hosting.tool_lock",
    "gatehouse.hosting.unknown_names",
    "gatehouse.hosting.wrong_runtime",
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
    """The server. The gate answers until its own module is imported. Raises HostedServerError in words."""
    for ours in OURS_TOO:
        try:
            await IMPORT_THREADS.run(importlib.import_module, ours)
        except Exception as error:  # a setting that FastMCP does not take, or a package that is not as it was pinned
            raise HostedServerError(*of_fastmcp(error), started=False) from error
    from gatehouse.hosting import loops

    loops.prepare()
    return load_server(import_string)


def load_server(import_string: str) -> Loaded:
    """Import the FastMCP server `module:name`, in this thread. Raises HostedServerError in words.

    The watchdog knows the import by this function's name and its parameter's.
    """
    from gatehouse.hosting.own_runs import refuse_own_runs, refusing_own_runs

    module_name, _, name = import_string.partition(":")
    modules.let_servers_be_found()
    modules.refuse_hidden(module_name)
    with refusing_own_runs(import_string):
        try:
            with as_in_a_program_of_its_own():
                module = importlib.import_module(module_name)
                server = getattr(module, name, None)  # the module may make it only now
                refuse_own_runs(server)
        except ModuleNotFoundError as error:
            if error.name != module_name.partition(".")[0] and error.name != module_name:
                raise cannot_import(import_string, error) from error
            raise HostedServerError(modules.not_there(module_name, name), started=False) from None
        except BaseException as error:
            raise cannot_import(import_string, error) from error
    modules.tell_hidden(logger)
    if isinstance(server, type) or not callable(getattr(server, "http_app", None)):
        raise HostedServerError(no_server(import_string, module, server), started=False)
    return Loaded(server, runtime_of(module))  # type: ignore[arg-type]


@contextmanager
def as_in_a_program_of_its_own() -> Iterator[None]:
    """Let code find no event loop that runs in this thread: it may run one of its own."""
    run_of_trio = pinned.run_of_trio(partial(logger.warning, "%s"))
    library, current_library.name = current_library.name, None
    hidden = dict(run_of_trio)
    run_of_trio.clear()
    try:
        yield
    finally:
        run_of_trio.update(hidden)
        current_library.name = library


def runtime_of(module: ModuleType) -> str:
    """The runtime that a server's module asks for. Raises HostedServerError for one that is not known."""
    runtime = str(getattr(module, RUNTIME_NAME, ""))
    if runtime in {"", *RUNTIMES}:
        return runtime
    raise HostedServerError(
        f"MCP_APP: {RUNTIME_NAME} in {module.__name__} must be {' or '.join(RUNTIMES)}, not {printable(runtime)}",
        started=False,
    )


def no_server(import_string: str, module: ModuleType, found: object) -> str:
    """The sentence for a module whose `name` is no FastMCP server, with the servers that it has."""
    from fastmcp import FastMCP

    module_name, _, name = import_string.partition(":")
    has = [key for key, value in list(vars(module).items()) if isinstance(value, FastMCP)]
    if found is None:
        told = f"{module_name} has no {name}"
    elif hasattr(found, "streamable_http_app"):
        told = f"{import_string} is a server of the MCP SDK's own; make it with: from fastmcp import FastMCP"
    else:
        told = f"{import_string} is no FastMCP server but a {type(found).__name__}"
    if has:
        told += f"; did you mean {' or '.join(f'MCP_APP={module_name}:{key}' for key in has)}?"
    elif isroutine(found):
        told += f", which the gate does not call: put mcp = {name}() into {module_name}, and set MCP_APP={module_name}:mcp"
    elif found is None:
        told += ", and no FastMCP object at all: give it mcp = FastMCP(...)"
    return f"MCP_APP: {told}"


def cannot_import(import_string: str, error: BaseException) -> HostedServerError:
    """The fault for an import that has failed."""
    told = f"MCP_APP: importing {import_string} failed: {in_a_line(error)}{advice_on(error)}"
    return HostedServerError(f"{told}{modules.hidden_too()}", started=False)
