"""The hosted upstream: a FastMCP server as a task in our Trio nursery.

FastMCP's own server is uvicorn on asyncio, and tools may call asyncio as they like. trio-asyncio gives
them an asyncio loop inside Trio, so that any FastMCP server works here unchanged and still starts,
fails and stops with the rest of the program. A server that uses nothing of asyncio can run on Trio itself.
The gate calls either kind directly (`runtimes`), or one on asyncio through a port (`port`).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from gatehouse import pinned
from gatehouse.errors import sole_cause, without_kind
from gatehouse.hosting.contained import Containment, in_short
from gatehouse.hosting.faults import HostedServerError, in_a_line
from gatehouse.hosting.loading import imported
from gatehouse.hosting.routes import tell_hidden
from gatehouse.hosting.runtimes import run_on_asyncio, run_on_trio, warn
from gatehouse.http.mcp import printable
from gatehouse.http.paths import ExposedPaths
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastmcp import FastMCP

    from gatehouse.hosting.port import Door
    from gatehouse.identity.callers import Callers
    from gatehouse.identity.grants import Grants

logger = logger_of("gate.upstream")

COUNT_SECONDS = 5.0
"""How long listing the server's tools may take, which only the line that says «ready» waits for."""

MIN_STOP_SECONDS = 0.4
"""How long the server may take to stop, even if the grace is used up. By then the gate has drained."""


class HostedServer:
    """Runs the FastMCP server that an import string such as `mcp_app:mcp` names.

    Its requests come in by `door`: at a port of its own (`Port`), or as calls from the gate (`Direct`). It runs on
    `runtime`, asyncio or trio; if that is empty, on what its module asks for, or else on asyncio.
    `lists` gives the lists of the tokens file at any time, by what they belong to; None without such a file. `callers`
    knows who is let in; None if there is but one token.
    """

    def __init__(
        self,
        import_string: str,
        path: str,
        door: Door,
        *,
        runtime: str = "",
        lists: Callable[[], Mapping[str, Grants]] | None = None,
        callers: Callers | None = None,
        exposed: ExposedPaths = ExposedPaths(()),  # noqa: B008 - it never changes
    ) -> None:
        self.import_string = import_string
        self.path = path
        self.started = trio.Event()
        self.name = ""
        self._door = door
        self._runtime = runtime
        self._lists, self._callers = lists, callers
        self._exposed = exposed
        self._containment = Containment()
        self._over = trio.Event()
        self._told_to_stop = False
        self._tools: str | None = None
        self._counted = trio.Event()

    async def described(self) -> str:
        """The server that is up, in words: its name, where it runs, and how many tools it has."""
        await self._counted.wait()
        tools = f", {self._tools}" if self._tools else ""
        runtime = "trio" if self._on_trio else "asyncio"
        return f"{printable(self.name)} ({self.import_string}) on {runtime}{tools}"

    async def run(self, on_import: Callable[[str], None] = lambda _: None) -> None:
        """Serve until `stop` is called; `on_import` gets the server's name once it is known.

        Raises HostedServerError if the server cannot start, or ends by itself.
        """
        pinned.leave_trio_threads_unnamed(warn)
        server, asked = await imported(self.import_string)
        self._on_trio = (self._runtime or asked) == "trio"
        pinned.leave_unused_rules_unread(warn)
        try:
            self.name = server.name
            on_import(server.name)
            self._lock(server)
            self._contain(server)
            if logger.isEnabledFor(logging.DEBUG):
                from gatehouse.hosting.to_client import tie_texts_to_requests

                tie_texts_to_requests()
            await self._serve(server)
        except BaseException as error:
            own = without_kind(error, trio.Cancelled)
            if own is None:
                raise
            if not self._told_to_stop:
                raise self._failed(own) from error
            # FastMCP 4.1 itself closes a task group of a lifespan in the wrong order.
            logger.error(
                "the server %s failed when it stopped: %s",
                self.import_string,
                in_short(sole_cause(own)),
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
            seconds = max(seconds, MIN_STOP_SECONDS)
            with trio.move_on_after(seconds) as patience:
                await self._over.wait()
            if patience.cancelled_caught:
                logger.warning(
                    "the server %s has not stopped in the %.1f s that it had: it is cut, whatever its "
                    "lifespan or its tools still do",
                    self.import_string,
                    seconds,
                )

    def _lock(self, server: FastMCP[Any]) -> None:
        """Put the lock into the server, which keeps each caller to its grants."""
        if self._callers is None:
            return
        # Imported here, not at the top: it takes FastMCP with it.
        from fastmcp import FastMCP

        from gatehouse.hosting import tool_lock

        if not isinstance(server, FastMCP) and self._lists is None:
            return  # nobody has lists
        if not isinstance(server, FastMCP):
            raise HostedServerError(
                f"MCP_APP: {self.import_string} is no FastMCP server, so with TOKENS_FILE it cannot be "
                "told who may call what",
                started=False,
            )
        tool_lock.lock(server, self._callers)

    def _contain(self, server: FastMCP[Any]) -> None:
        """Keep each request's errors within it. This must be outermost, so call it after `_lock`."""
        from fastmcp import FastMCP

        if isinstance(server, FastMCP):
            if self._on_trio:
                from gatehouse.hosting.wrong_runtime import WrongRuntime

                server.add_middleware(WrongRuntime())
            # Nothing public has it. A name that is missing here stops the start.
            messages = server._mcp_server.middleware  # noqa: SLF001
            messages.insert(0, self._containment.on_message_in)

    async def _serve(self, server: FastMCP[Any]) -> None:
        # Imported here, not at the top: these take FastMCP with them.
        from gatehouse.hosting.caller import WithCaller
        from gatehouse.hosting.own_auth import judge_auth
        from gatehouse.hosting.unknown_names import report

        saying_why = judge_auth(server, self.import_string)
        app = server.http_app(path=self.path)
        inner = self._containment.asgi(WithCaller(saying_why(app), self._exposed.needs_no_token))
        tell_hidden(app.routes, self.path, self._exposed)

        async def serve() -> None:
            import anyio

            async with app.router.lifespan_context(app), anyio.create_task_group() as group:
                group.start_soon(self._count, server)
                if self._lists is not None:
                    group.start_soon(report, server, self._lists, self._containment)
                try:
                    await self._door.serve(inner, self._is_up)
                finally:
                    self._containment.ending = True
                group.cancel_scope.cancel()

        await (run_on_trio if self._on_trio else run_on_asyncio)(serve)

    def _is_up(self) -> None:
        import fastmcp

        if not fastmcp.settings.stateless_http:
            logger.info(
                "the server %s keeps sessions: after each restart of the gate, a bridge that cannot open a new one "
                "(supergateway) needs a restart, too; FASTMCP_STATELESS_HTTP=true does without sessions",
                self.import_string,
            )
        self.started.set()

    async def _count(self, server: FastMCP[Any]) -> None:
        """Count the tools, in the server's own runtime."""
        import anyio

        try:
            with anyio.move_on_after(COUNT_SECONDS):
                told = "listing the server's tools at the start"
                self._tools = await self._containment.ask(told, partial(tools_of, server))
        finally:
            self._counted.set()

    def _failed(self, error: BaseException) -> HostedServerError:
        cause = sole_cause(error)
        started = self.started.is_set()
        if faults := getattr(cause, "faults", None):  # a server's own settings, told like ours
            return HostedServerError(*faults, started=started)
        what = "died" if started else "could not start"
        told = f"MCP_APP: the server {self.import_string} {what}: {in_a_line(cause)}"
        if self._on_trio:
            from gatehouse.hosting.wrong_runtime import ADVICE, needs_asyncio

            told += f"; {ADVICE}" if needs_asyncio(cause) else ""
        return HostedServerError(told, started=started)


async def tools_of(server: FastMCP[Any]) -> str:
    """How many tools the server has, in words; empty for one that is not FastMCP's.

    Only its own are counted: to ask a mounted or proxied server may take long, or start it.
    """
    if not hasattr(server, "local_provider"):
        return ""
    own = len(await server.local_provider.list_tools())
    told = f"{own} tool{'' if own == 1 else 's'}"
    return told if len(server.providers) == 1 else f"{told}, and those of other servers"
