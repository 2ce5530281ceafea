"""Settings to parts: everything that runs later is built here, and nothing runs yet.

Programs and tests build their gate as a `House`. A new part comes into a list here: a verifier into
`verifiers`, a policy into `policies_of`, a page into `pages`, an observer into `observers`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from gate import Gate
from gatehouse.assembly.identity import IdentitySide
from gatehouse.assembly.location import origins_of
from gatehouse.assembly.noted import NOTHING_NOTED
from gatehouse.assembly.pages import pages_of, ways_in
from gatehouse.assembly.policies import policies_of
from gatehouse.assembly.tokens import tokens_tasks
from gatehouse.assembly.upstream import UpstreamSide, callers_of
from gatehouse.downstream.bodies import MAX_LARGEST_BODIES, Bodies
from gatehouse.downstream.connections import Connections
from gatehouse.downstream.descriptors import connections_within
from gatehouse.downstream.in_flight import InFlight
from gatehouse.downstream.places import Places
from gatehouse.http.reply import APART
from gatehouse.pages.figures import Figures
from gatehouse.pages.health import Readiness, alive
from gatehouse.pages.landing import Landing
from gatehouse.policy.seals import Seals
from gatehouse.policy.sessions import Sessions
from gatehouse.policy.shared_state import SharedState
from gatehouse.process.watchdog import Watchdog
from gatehouse.records import record
from gatehouse.records.loggers import logger_of
from gatehouse.tokens.contents import NOTHING, Contents

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from gatehouse.assembly.dashboard import DashboardSide
    from gatehouse.assembly.noted import Noted
    from gatehouse.pages.table import Page, Pages
    from gatehouse.policy.base import Policy
    from gatehouse.policy.origins import Origins
    from gatehouse.records.metrics import Metrics
    from gatehouse.records.record import Observer
    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.keyring import Keyring
    from gatehouse.upstream.base import Upstream


logger = logger_of("gate")


class House:
    """The parts of one program. Each is made once, when it is first asked for.

    The gate serves on `listeners`, and clients reach it at the URL `endpoint`. `contents` are those of the tokens
    file; `shared_token` is in force beside them. `secret` lets only this gate ask the server that it hosts at a
    port. No page shows a text that holds one of the `hidden` ones. The dashboard shows what was `noted` of the settings.
    Another shared state and another upstream may be given than those that the settings name, and for an upstream that is
    about to start, the event that tells when it is up.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: list[socket.socket],
        *,
        endpoint: str = "",
        contents: Contents = NOTHING,
        shared_token: str = "",
        secret: str = "",
        hidden: Sequence[str] = (),
        noted: Noted = NOTHING_NOTED,
        shared_state: SharedState | None = None,
        upstream: Upstream | None = None,
        started: trio.Event | None = None,
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        self.endpoint = endpoint or settings.public_endpoint
        self.contents = contents
        """The contents of the tokens file that are in force."""
        self.shared_token = shared_token
        self.hidden = hidden
        self.noted = noted
        self._asks_to_reload, self._asked_to_reload = trio.open_memory_channel[None](1)
        self._secret = secret
        self._given_shared_state = shared_state
        self._given_upstream, self._started = upstream, started

    @cached_property
    def gate(self) -> Gate:
        """The ASGI callable."""
        settings = self.settings
        return Gate(
            limits=settings.limits,
            hops=settings.hops,
            pages=self.pages,
            origins=self.origins,
            verifiers=self.identity.verifiers,
            bodies=Bodies(
                MAX_LARGEST_BODIES * settings.max_body_bytes,
                by_name=self.settings.has_principals or bool(self.upstream_side.exposed.open),
            ),
            strangers=self.upstream_side.strangers,
            policies=self.policies,
            hosted_start=self.upstream_side.hosted_start,
            upstream=self.upstream_side.upstream,
            outbound=self.upstream_side.outbound,
            observers=self.observers,
            records_calls=self.settings.record_calls,
            in_flight=self.in_flight,
            apart=APART if settings.has_dashboard else (),
            beside=[self.upstream_side.farewells.run],
        )

    @cached_property
    def origins(self) -> Origins:
        """The hosts by which clients may call the gate, and the pages that may."""
        return origins_of(self.settings)

    # Identity: who is this.

    @cached_property
    def identity(self) -> IdentitySide:
        """The ways in, and the people."""
        return IdentitySide(
            self.settings,
            self.contents,
            self.shared_token,
            self.endpoint,
            lambda: self.shared_state,
        )

    @property
    def keyring(self) -> Keyring:
        """The static tokens in force."""
        return self.identity.keyring

    # Policies: may they.

    @cached_property
    def shared_state(self) -> SharedState | None:
        """The state that several gates share; None if this one is alone."""
        url = self.settings.shared_state_url
        made = (
            SharedState(url.get_secret_value(), Seals(self.identity.shared_secrets))
            if url
            else None
        )
        return self._given_shared_state or made

    @cached_property
    def ledger(self) -> Sessions:
        """The sessions, and who opened them."""
        ledger = Sessions(self.shared_state)
        ledger.farewells = self.upstream_side.farewells
        return ledger

    @cached_property
    def policies(self) -> list[Policy]:
        """The rules for known principals."""
        return policies_of(self.settings, self.identity, self.ledger, self.shared_state)

    # Pages and observers: the answers of our own, and the records.

    @cached_property
    def landing(self) -> Landing:
        """The landing page."""
        verifiers, ways = self.identity.verifiers, ways_in(self.settings, self.endpoint)
        return Landing(self.endpoint, self.readiness, verifiers, self.origins, ways)

    @cached_property
    def readiness(self) -> Readiness:
        """The page for readiness."""
        return Readiness(self.upstream_side.upstream, self.in_flight, self.watchdog.facts)

    @cached_property
    def pages(self) -> Pages:
        """The gate's own pages, by their paths."""
        table: dict[bytes, Page] = {
            b"/": self.landing,
            b"/health": alive,
            b"/ready": self.readiness,
        }
        if self.metrics is not None:
            upstream = self.upstream_side.upstream
            table[b"/metrics"] = Figures(self.metrics, self.identity.metrics_verifiers, upstream)
        return pages_of(self, table)

    @cached_property
    def dashboard(self) -> DashboardSide | None:
        """The dashboard, if somebody may open it."""
        if not self.settings.has_dashboard:
            return None
        # Slow to import, so only for gates that have one.
        from gatehouse.assembly.dashboard import DashboardSide

        return DashboardSide(self)

    @cached_property
    def observers(self) -> list[Observer]:
        """Each of them gets the record of each request."""
        observers: list[Observer] = [record.write, *self.upstream_side.doubts]
        if self.metrics is not None:
            observers.append(self.metrics)
        if self.dashboard is not None:
            observers.append(self.dashboard.recent)
        return observers

    @cached_property
    def metrics(self) -> Metrics | None:
        """The figures, if somebody may read them."""
        if self.settings.metrics_token is None:
            return None
        # Slow to import, so only for gates that measure.
        from gatehouse.assembly.metrics import metrics_of

        return metrics_of(self)

    # The sides.

    @cached_property
    def connections(self) -> Connections:
        """The connections with clients: as many as there are file descriptors for."""
        possible, line = connections_within(self.settings.max_connections)
        if line:
            logger.warning(line)
        places = Places(possible, by_name=self.settings.has_principals)
        return Connections(self.settings.limits, places, hops=self.settings.hops)

    @cached_property
    def upstream_side(self) -> UpstreamSide:
        """The upstream, and how the gate gets there. Raises CannotListenError."""
        return UpstreamSide(
            self.settings,
            secret=self._secret,
            callers=callers_of(self.settings, lambda: self.keyring.grants, self.identity.still),
            lists=lambda: self.identity.lists,
            marks=self.identity.marks,
            upstream=self._given_upstream,
            started=self._started,
        )

    @cached_property
    def in_flight(self) -> InFlight:
        """The exchanges with the upstream that are not over."""
        return InFlight(
            self.identity.verifiers.in_force,
            upstream=self.upstream_side.upstream.authority,
            grace_seconds=self.settings.grace_seconds,
        )

    # Work beside the serving.

    @cached_property
    def watchdog(self) -> Watchdog:
        """Knows the times when the event loop stood still."""
        return Watchdog()

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """Work beside the serving, for ever: functions for tasks of their own."""
        tasks = [self.watchdog.run, *self.identity.tasks]
        if self.shared_state is not None:
            tasks.append(self.shared_state.keep)
        if self.dashboard is not None:
            tasks += self.dashboard.tasks
        return tasks + tokens_tasks(
            self.settings,
            self.identity.uses,
            self.contents,
            self.replace_tokens,
            self._asked_to_reload,
        )

    def reload_tokens(self) -> None:
        """Have the tokens file read now, if there is one."""
        with suppress(trio.WouldBlock):
            self._asks_to_reload.send_nowait(None)

    def replace_tokens(self, contents: Contents) -> None:
        """From now on, these contents of the tokens file are in force."""
        self.contents = contents
        self.identity.replace(contents)
        if self.shared_state is not None:
            self.shared_state.renew(self.identity.shared_secrets)
        self.ledger.forget_names(self.keyring.grants.keys())
