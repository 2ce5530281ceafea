"""The hosted upstream: a FastMCP server as a task in our Trio nursery.

FastMCP's own server is uvicorn on asyncio, and tools may call asyncio as they like. trio-asyncio gives
them an asyncio loop inside Trio, so that any FastMCP server works here unchanged and still starts,
fails and stops with the rest of the program. A server that uses nothing of asyncio can run on Trio itself,
and either kind can be called by the gate directly instead of through a port (`inprocess`).
"""

from __future__ import annotations

import contextvars
import hmac
import importlib
import os
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import partial
from inspect import isroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio

from gatehouse import pinned
from gatehouse.errors import text_of
from gatehouse.hosting.contained import Containment, in_short
from gatehouse.hosting.escapes import close_nurseries, close_threads
from gatehouse.http import refusals
from gatehouse.http.forward import SECRET_HEADER
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads
from gatehouse.upstream.inprocess import TrioCalls

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    import uvicorn
    from fastmcp import FastMCP

    from gatehouse.identity.grants import Grants
    from gatehouse.upstream.inprocess import App

logger = logger_of("gate.upstream")

IMPORT_THREADS = OwnThreads("imports")

warn = partial(logger.warning, "%s")

KEEP_ALIVE_SECONDS = 20
"""Longer than `upstream.base.HOSTED_IDLE_SECONDS`, so that the gate always closes a connection first."""

REPORT_SECONDS = 30
"""How long listing the server's tools may take, for the report of unknown names."""

LISTING = "whether the server has what tokens' lists name is not known: listing what it has"

STOP_SECONDS = 0.4
"""How long the server may take to stop, even if the grace is used up. By then the gate has drained."""

CUT_SECONDS = 0.1
"""How long requests at the server's own port may then take before uvicorn cancels them."""

NOT_HERE = "signal only works in main thread"
"""The beginning of Python's ValueError if another thread installs a signal handler."""


SLOW_SECONDS = 10
"""An import that takes longer is told: perhaps it never ends."""

NOT_THEIRS = (
    "<frozen ",
    os.path.dirname(os.__file__) + os.sep,  # noqa: PTH120 - as it stands in tracebacks
    str(Path(__file__).parent.parent) + os.sep,
)
"""So the names of files begin that are Python's or the gate's, not the server's."""


class HostedServerError(Exception):
    """The hosted MCP server could not start, or stopped by itself.

    `faults` says so in words, a line each; `started` is True if it stopped by itself.
    """

    def __init__(self, *faults: str, started: bool) -> None:
        super().__init__(*faults)
        self.faults = faults
        self.started = started


class HostedServer:
    """Runs the FastMCP server that an import string such as `mcp_app:mcp` names.

    Its requests come in by `door`: at a port of its own (`Port`), or as calls from the gate.
    `grants` gives the grants of each name at any time; None if tokens have no names.
    """

    def __init__(
        self,
        import_string: str,
        path: str,
        door: Door,
        *,
        grants: Callable[[], Mapping[str, Grants]] | None = None,
    ) -> None:
        self.import_string = import_string
        self.path = path
        self.started = trio.Event()
        self._door = door
        self._grants = grants
        self._containment = Containment()
        self._over = trio.Event()
        self._told_to_stop = False

    async def run(self, on_import: Callable[[str], None] = lambda _: None) -> None:
        """Serve until `stop` is called; `on_import` gets the server's name once it is known.

        Raises HostedServerError if the server cannot start, or ends by itself.
        """
        pinned.leave_trio_threads_unnamed(warn)
        # In a thread, because the import takes seconds, and the gate answers meanwhile.
        context = contextvars.copy_context()
        try:
            server = await IMPORT_THREADS.run(context.run, load_server, self.import_string)
        except HostedServerError as error:
            if error.__cause__ is None or not text_of(error.__cause__).startswith(NOT_HERE):
                raise
            # It installs a signal handler, which works in this thread only; the gate has to wait.
            logger.info(
                "%s wants signals, so it is imported a second time, in the main thread, and the gate answers "
                "nobody meanwhile",
                self.import_string,
            )
            server = context.run(load_server, self.import_string)
        for (
            variable,
            value,
        ) in context.items():  # its requests find the values that its import has set
            variable.set(value)
        try:
            on_import(server.name)
            self._lock(server)
            self._contain(server)
            await self._serve(server)
        except BaseException as error:
            own = beside(trio.Cancelled, error)
            if own is None:
                raise
            if not self._told_to_stop:
                raise self._failed(own) from error
            # FastMCP 4.1 itself closes a task group of a lifespan in the wrong order.
            logger.error(
                "the server %s failed when it stopped: %s", self.import_string, in_short(leaf(own))
            )
        finally:
            self._over.set()
        if not self._told_to_stop:
            raise HostedServerError(
                f"MCP_APP: the server {self.import_string} stopped by itself", started=True
            )

    async def stop(self, seconds: float) -> None:
        """Let the server end its own way for so many seconds; then `run` has returned or may be cancelled."""
        self._told_to_stop = True
        self._containment.ending = True
        if self.started.is_set():
            self._door.stop()
            with trio.move_on_after(max(seconds, STOP_SECONDS)) as patience:
                await self._over.wait()
            if patience.cancelled_caught:
                logger.warning(
                    "the server %s has not stopped in the %.1f s that it had: it is cut, whatever its "
                    "lifespan or its tools still do",
                    self.import_string,
                    max(seconds, STOP_SECONDS),
                )

    def _lock(self, server: FastMCP[Any]) -> None:
        """Put the lock into the server, which keeps each name to its grants."""
        grants = self._grants
        if grants is None:
            return
        # Imported here, not at the top: it takes FastMCP with it.
        from fastmcp import FastMCP

        from gatehouse.hosting import tool_lock

        if not isinstance(server, FastMCP):
            raise HostedServerError(
                f"MCP_APP: {self.import_string} is no FastMCP server, so with TOKENS_FILE it cannot be "
                "told who may call what",
                started=False,
            )
        tool_lock.lock(server, lambda name: grants().get(name))

    def _contain(self, server: FastMCP[Any]) -> None:
        """Keep each request's errors within it. This must be outermost, so call it after `_lock`."""
        from fastmcp import FastMCP

        if isinstance(server, FastMCP):
            messages = server._mcp_server.middleware  # noqa: SLF001 - nothing public has it
            messages.insert(0, self._containment.on_message_in)

    async def _report_unknown_names(self, server: FastMCP[Any]) -> None:
        """Log the names in tokens' lists that match nothing, now and after each change; in the server's own runtime."""
        import anyio

        from gatehouse.hosting import tool_lock

        reported: Mapping[str, Grants] | None = None
        while self._grants is not None:
            grants = self._grants()
            if grants is not reported:
                reported = grants
                with anyio.move_on_after(REPORT_SECONDS) as patience:
                    question = partial(tool_lock.unknown_names, server, grants)
                    for sentence in await self._containment.ask(LISTING, question) or ():
                        logger.warning("%s", sentence)
                if patience.cancelled_caught:
                    logger.error("%s took more than %d s", LISTING, REPORT_SECONDS)
            await anyio.sleep(1)

    def _failed(self, error: BaseException) -> HostedServerError:
        cause = leaf(error)
        started = self.started.is_set()
        if faults := getattr(cause, "faults", None):  # a server's own settings, told like ours
            return HostedServerError(*faults, started=started)
        what = "died" if started else "could not start"
        return HostedServerError(
            f"MCP_APP: the server {self.import_string} {what}: {in_a_line(cause)}", started=started
        )

    async def _serve(self, server: FastMCP[Any]) -> None:
        # Imported here, not at the top: it takes FastMCP with it.
        from gatehouse.hosting.caller import WithCaller, judge_auth

        judge_auth(server, self.import_string)
        app = server.http_app(path=self.path)

        async def serve() -> None:
            import anyio

            async with app.router.lifespan_context(app), anyio.create_task_group() as group:
                group.start_soon(self._report_unknown_names, server)
                try:
                    await self._door.serve(
                        self._containment.asgi(WithCaller(app)), self.started.set
                    )
                finally:
                    self._containment.ending = True
                group.cancel_scope.cancel()

        async def serve_on_asyncio() -> None:
            pinned.keep_anyio_threads(warn)
            close_threads()
            await serve()

        if isinstance(self._door, TrioCalls):
            close_nurseries()
            import asyncio

            asyncio.set_event_loop(
                None
            )  # else it would make a loop that never runs for code that asks for one
            await serve()
            return
        # Imported here, not at the top: the import is slow, and by now the gate is up.
        from gatehouse.hosting.loops import aio_as_trio, open_loop

        async with open_loop():
            await aio_as_trio(serve_on_asyncio)()


class Door(Protocol):
    """The way by which the requests of a hosted server come in."""

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        """Let requests in to `app` until `stop` is called; call `started` once they can come."""

    def stop(self) -> None:
        """Let `serve` return."""


class Port:
    """A port of the server's own, with FastMCP's own server: uvicorn, in trio-asyncio's loop.

    `listeners` are bound already. Requests without `secret` are turned away.
    """

    def __init__(self, listeners: list[socket.socket], secret: str) -> None:
        self._listeners = listeners
        self._secret = secret
        self._uvicorn: uvicorn.Server | None = None

    async def serve(self, app: App, started: Callable[[], None]) -> None:
        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals are for run.py to handle

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                started()

        self._uvicorn = Server(
            uvicorn.Config(
                FromGateOnly(app, self._secret),
                lifespan="off",  # run by our caller, so that its errors reach us as they are
                log_config=None,
                access_log=False,  # it would log the query; the gate has logged the request already
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=CUT_SECONDS,  # type: ignore[arg-type]  # for asyncio.wait_for
            )
        )
        try:
            await self._uvicorn.serve(sockets=self._listeners)
        finally:
            for listener in self._listeners:  # it has not closed them if it was cancelled
                listener.close()

    def stop(self) -> None:
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True


class FromGateOnly:
    """ASGI middleware that lets in only requests with the secret that the gate adds, else 403.

    The port is open to everybody on this machine, tools included: one that can be talked into fetching
    a URL would otherwise reach its own server without a token. The secret is made anew at each start,
    and taken off here, so that the server never sees it.
    """

    def __init__(self, app: App, secret: str) -> None:
        self._app = app
        self._secret = secret.encode("ascii")
        self._name = SECRET_HEADER.lower()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        shown = [value for name, value in scope["headers"] if name == self._name]
        if len(shown) == 1 and hmac.compare_digest(shown[0], self._secret):
            headers = [pair for pair in scope["headers"] if pair[0] != self._name]
            await self._app({**scope, "headers": headers}, receive, send)
        else:
            await turn_away(scope, send)


async def turn_away(scope: Any, send: Any) -> None:
    """Answer 403 to a request that does not come from the gate."""
    if scope["type"] == "http":
        reply = refusals.NOT_FROM_GATE
        start = {"type": "http.response.start", "status": reply.status, "headers": reply.fields()}
        await send(start)
        await send({"type": "http.response.body", "body": reply.body})
    else:
        await send({"type": "websocket.close", "code": 1008})


def beside(kind: type[BaseException], error: BaseException) -> BaseException | None:
    """The error, or the part of its group, that is not of this kind; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kind)[1]
    return None if isinstance(error, kind) else error


def leaf(error: BaseException) -> BaseException:
    """The error that a group of groups holds, if it holds just one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


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


def load_server(import_string: str) -> FastMCP[Any]:
    """Import the FastMCP server `module:name`. Raises HostedServerError in words."""
    for ours in OURS_TOO:
        importlib.import_module(ours)
    from gatehouse.hosting import loops

    loops.prepare()
    module_name, _, name = import_string.partition(":")
    try:
        with a_loop_as_in_the_main_thread(), told_if_slow(import_string):
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
    return server  # type: ignore[no-any-return]


@contextmanager
def told_if_slow(import_string: str) -> Iterator[None]:
    """Log a line if the import takes long, from a thread of its own: the import may keep this one for ever."""
    sentence = "importing %s has not ended after %g s (does it call mcp.run() at import?)"
    timer = threading.Timer(SLOW_SECONDS, logger.warning, (sentence, import_string, SLOW_SECONDS))
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


def in_a_line(error: BaseException) -> str:
    """An error as one line: type, text and place, the innermost one in the server's own code if there is any."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    place = "".join(f" ({frame.filename}, line {frame.lineno})" for frame in (own or frames)[-1:])
    text = "; ".join(text_of(error).split("\n"))
    return f"{type(error).__name__}: {text}{place}"
