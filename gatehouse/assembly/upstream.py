"""Settings to parts: the upstream, and how the gate gets there."""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from gatehouse.assembly.location import shown_by
from gatehouse.downstream.hosted_start import HostedStart
from gatehouse.downstream.listeners import bind
from gatehouse.hosting.loading import IMPORT_THREADS
from gatehouse.hosting.port import Port
from gatehouse.hosting.runtimes import Direct
from gatehouse.hosting.server import HostedServer
from gatehouse.http.forward import SECRET_HEADER
from gatehouse.http.paths import ExposedPaths
from gatehouse.http.reply import CLOSE_CONNECTION
from gatehouse.identity.callers import Callers
from gatehouse.policy.strangers import Strangers
from gatehouse.process.fresh_start import seconds_since_start
from gatehouse.process.memory import settle_memory
from gatehouse.records.doubts import Doubts
from gatehouse.records.loggers import logger_of
from gatehouse.upstream.farewells import Farewells
from gatehouse.upstream.inprocess import Calls
from gatehouse.upstream.network import Transports
from gatehouse.upstream.outbound import Outbound
from gatehouse.upstream.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.http.fields import Headers
    from gatehouse.http.front_marks import FrontMarks
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.principal import Principal
    from gatehouse.records.record import Observer
    from gatehouse.settings.environment import Settings
    from gatehouse.upstream.base import Upstream

logger = logger_of("gate")

LOOK_AGAIN_SECONDS = 2.0
"""How often the gate looks for a server that runs elsewhere, until it has found it once."""


class UpstreamSide:
    """The MCP server behind the gate: hosted here, in this process or at a port, or elsewhere.

    `callers` tell it who asks, and a server that is hosted here what each may do; `lists` are those of the tokens file,
    by what they belong to. It gets nothing of what `marks` name. For `secret`, `upstream` and `started` see `House`. Raises
    CannotListenError.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        secret: str,
        callers: Callers,
        lists: Callable[[], Mapping[str, Grants]],
        marks: FrontMarks | None = None,
        upstream: Upstream | None,
        started: trio.Event | None,
    ) -> None:
        host, port = settings.upstream_host, settings.upstream_port
        calls = Calls(f"{host}:{port}") if settings.in_process else None
        self._settings = settings
        self.hosted: HostedServer | None = None
        """The server to host, its address bound but not listening yet; None if it runs elsewhere."""
        own_fields: Headers = []
        endpoint = settings.upstream_at.path.encode("ascii")
        self.exposed = ExposedPaths(settings.expose_paths, endpoint)
        """Paths there, outside the endpoint, that pass, too."""
        self.upstream: Upstream = upstream or calls or transports_for(settings)
        """The way there."""
        if settings.hosts_upstream:
            self.hosted = HostedServer(
                settings.mcp_app,
                settings.upstream_path,
                Direct(calls) if calls else Port(bind("UPSTREAM_PORT", host, port), secret),
                runtime=settings.runtime,
                lists=lists if settings.tokens_at else None,
                callers=callers if settings.has_principals else None,
                exposed=self.exposed,
            )
            started = self.hosted.started
            if calls is None:
                own_fields.append((SECRET_HEADER, secret.encode("ascii")))
        if not self.upstream.keep_alive:
            own_fields.append(CLOSE_CONNECTION)
        self.outbound = Outbound(
            self.upstream.authority,
            endpoint,
            own_fields + authorization_of(settings),
            callers=callers,
            shown=shown_by(settings),
            marks=marks,
        )
        """Makes the requests."""
        self.farewells = Farewells(self.upstream, self.outbound)
        """Ends the sessions there that the ledger drops."""
        self.started = already() if started is None else started
        """Set when the server is up. Nobody waits for one that runs elsewhere."""

    @property
    def where(self) -> str:
        """The server's address, if it runs elsewhere."""
        return str(self._settings.upstream_at)

    @cached_property
    def hosted_start(self) -> HostedStart:
        """Lets requests wait for it."""
        given = self._settings
        return HostedStart(
            self.started, seconds=given.start_seconds, max_requests=given.start_requests
        )

    @property
    def doubts(self) -> list[Observer]:
        """Observers of a server that runs elsewhere: they tell what may be wrong there."""
        return [] if self._settings.hosts_upstream else [Doubts(self.upstream.authority)]

    @cached_property
    def strangers(self) -> Strangers:
        """Bounds those who ask there without a token."""
        return Strangers(self._settings.expose_rate, self.started)

    async def settle(self) -> None:
        """Once the server is up, make less work for the garbage collector, and tell the log."""
        await self.started.wait()
        seconds = seconds_since_start()
        with suppress(Exception):  # the code that needs it tries again
            # The counters of failures and rates: imported now, they keep nobody waiting later.
            await IMPORT_THREADS.run(importlib.import_module, "throttled")
        settle_memory()
        if self.hosted is not None:
            self.upstream.reached.note(succeeded=True)  # at a port, nobody may have called yet
            logger.info("ready after %.1f s: %s", seconds, await self.hosted.described())
            return
        while not await self.upstream.is_reachable():
            if seconds:
                logger.warning(
                    "nobody takes connections at %s yet; until somebody does, calls get 502, and /ready says 503",
                    self.where,
                )
            seconds = 0.0
            await trio.sleep(LOOK_AGAIN_SECONDS)
        logger.info(
            "ready after %.1f s: the server at %s takes connections",
            seconds or seconds_since_start(),
            self.where,
        )


def callers_of(
    settings: Settings,
    tokens: Callable[[], Mapping[str, Grants]],
    still: Callable[[Principal], Grants | None],
) -> Callers:
    """The callers, as the upstream is told of them; for `tokens` and `still` see there."""
    return Callers(
        tokens,
        still,
        names=settings.hosts_upstream or settings.has_principals,
        kinds=settings.has_other_ways_in,
        ids=settings.hosts_upstream,
    )


def transports_for(settings: Settings) -> Transports:
    """The way over the network."""
    scheme, host, port, _ = settings.upstream_at
    return Transports(
        host,
        port,
        idle_seconds=settings.idle_seconds,
        tells_ids=settings.hosts_upstream,
        tls=Tls(host, settings.upstream_ca) if scheme == "https" else None,
    )


def authorization_of(settings: Settings) -> Headers:
    """The field with the gate's own credential at the server, if there is one."""
    given = settings.upstream_authorization
    return [(b"Authorization", given.get_secret_value().encode("ascii"))] if given else []


def already() -> trio.Event:
    """An event that is set."""
    event = trio.Event()
    event.set()
    return event
