"""The first page: is the server up, what is going on, and what was.

The page stands as it is without scripts. With them it asks for news every two seconds: the facts at the top, the rows
of new requests, and now and then the part with the plots. News are data, and the script makes text of them, except
that part, which is a template like any page.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.http.reply import Reply, json_reply
from gatehouse.pages.dashboard.plot import HEIGHT, WIDTH, plots_of
from gatehouse.pages.dashboard.reasons import meaning_of
from gatehouse.pages.dashboard.rows import (
    NOBODY,
    OUTCOMES,
    Filters,
    filters_in,
    parameters,
    rows_of,
)
from gatehouse.pages.dashboard.templates import lasting
from gatehouse.pages.dashboard.visit import HOME
from gatehouse.records.recent import MAX_REQUESTS, reasons_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.pages.dashboard.rows import Row
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.pages.health import Readiness, State, Status
    from gatehouse.records.recent import Recent
    from gatehouse.upstream.inventory import Inventory

HERE_SECONDS = 10.0
"""How long somebody counts as being at the dashboard after their last request: with scripts they ask every two seconds."""

MAX_HERE = 100
"""How many people are counted. Few may open the dashboard."""

MAX_NAMES = 5
"""How many of them are named."""

STATES: dict[Status, tuple[str, str]] = {
    "ready": ("up", "good"),
    "starting": ("starting", "warn"),
    "unreachable": ("not reachable", "bad"),
    "stopping": ("stopping", "warn"),
}
"""The words for each state, and their mark."""

NEVER_REACHED = ("not reached yet", "bad")
"""The same for a server that somebody else runs: nobody here knows whether it is starting."""

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server behind the gate, as far as the page tells of it."""

    readiness: Readiness
    inventory: Inventory
    name: Callable[[], str]
    """Its name as the gate knows it; empty if the gate does not."""
    hosted: bool
    """True if this program runs it."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Numbers of this moment."""

    requests: Callable[[], int]
    """The requests that are being carried."""
    streams: Callable[[], int]
    """Those of them that are event streams."""
    sessions: Callable[[], int | None]
    """MCP's sessions; None if nobody counts them."""
    connections: Callable[[], int]


class Fact(NamedTuple):
    """A fact at the top of the page. All texts may hold what a server chose, and none is markup."""

    key: str
    term: str
    text: str
    mark: str = ""
    """How it is marked, as the style sheet knows it."""
    at: str = ""
    """The moment that it tells of, as in `2026-11-27T08:24:12Z`."""
    shown_at: str = ""
    """The same for people, in UTC."""


class Now:
    """The page, and its news. `redact` blanks secrets in texts that clients chose."""

    def __init__(
        self, recent: Recent, server: Server, traffic: Traffic, redact: Callable[[str], str]
    ) -> None:
        self._recent = recent
        self._server = server
        self._traffic = traffic
        self._redact = redact
        self._here: dict[str, tuple[str, float]] = {}

    async def page(self, visit: Visit) -> Reply:
        """The view at `/dashboard`."""
        self._note(visit)
        filters = filters_in(parameters(visit.exchange.request.query))
        facts = await self._facts()
        seen = self._recent.after(0)
        hour = self._hour()

        def found() -> dict[str, Any]:
            rows = rows_of(reversed(seen), self._redact)
            return {
                **hour(),
                "rows": [row for row in rows if filters.let(row)],
                "kept": len(rows),
                "names": names_in(rows, filters),
            }

        return await visit.page(
            "now.html",
            facts=facts,
            late=found,
            last=seen[-1].number if seen else 0,
            run=self._recent.run,
            most=MAX_REQUESTS,
            filters=filters,
            outcomes=OUTCOMES,
            nobody=NOBODY,
        )

    async def news(self, visit: Visit) -> Reply:
        """The view at `/dashboard/now.json`: what is new since the request with the number `after` of the run `run`.

        The filters are those of the page. With `hour`, the part with the plots is there, too.
        """
        self._note(visit)
        given = parameters(visit.exchange.request.query)
        filters = filters_in(given)
        number = given.get("after", "")
        after = int(number) if number.isascii() and number.isdecimal() else 0
        same = given.get("run") == self._recent.run
        facts = await self._facts()
        last, seen = self._recent.last, self._recent.after(after if same else 0)
        hour = self._hour() if "hour" in given else None
        content: dict[str, Any] = {
            "run": self._recent.run,
            "last": last,
            "kept": min(last, MAX_REQUESTS),
            "facts": [fact._asdict() for fact in facts],
        }

        def told() -> Reply:
            rows = rows_of(seen, self._redact)
            content["rows"] = [row._asdict() for row in rows if filters.let(row)]
            if hour is not None:
                content["hour"] = visit.shell.templates.text("now_hour.html", hour())
            return json_reply(200, content)

        return told() if not seen and hour is None else await visit.shell.aside.run(told)

    async def _facts(self) -> list[Fact]:
        """The facts at the top."""
        state = await self._server.readiness.state()
        found = await self._server.inventory.found()
        name = self._server.name() or found.name
        elsewhere = state.status == "starting" and not self._server.hosted
        words, mark = NEVER_REACHED if elsewhere else STATES[state.status]
        sessions = self._traffic.sessions()
        return [
            Fact("server", "Server", self._redact(name) or UNKNOWN),
            Fact("state", "State", words, mark),
            self._since(state),
            Fact("tools", "Tools", UNKNOWN if found.tools is None else str(found.tools)),
            Fact("requests", "Requests in flight", str(self._traffic.requests())),
            Fact("streams", "Open streams", str(self._traffic.streams())),
            Fact("sessions", "MCP sessions", "not counted" if sessions is None else str(sessions)),
            Fact("connections", "Connections", str(self._traffic.connections())),
            Fact("here", "At the dashboard", self._who_is_here()),
        ]

    def _since(self, state: State) -> Fact:
        term = "Up for" if self._server.hosted else "Reached for"
        if state.status == "unreachable":
            term = "Not reachable for"
        if state.since is None:
            return Fact("since", term, "not yet" if state.status == "starting" else UNKNOWN)
        there = time.gmtime(state.since)
        return Fact(
            "since",
            term,
            lasting(max(0.0, time.time() - state.since)),
            at=time.strftime("%Y-%m-%dT%H:%M:%SZ", there),
            shown_at=time.strftime("%Y-%m-%d %H:%M UTC", there),
        )

    def _hour(self) -> Callable[[], dict[str, Any]]:
        """Finds the names for the part with the plots; a thread may call it."""
        minutes = self._recent.minutes()
        reasons = reasons_in(minutes).most_common()
        return lambda: {
            "plots": plots_of(minutes),
            "width": WIDTH,
            "height": HEIGHT,
            "reasons": [
                (reason, link_to(reason), count, meaning_of(reason)) for reason, count in reasons
            ],
        }

    def _note(self, visit: Visit) -> None:
        """Somebody is here."""
        now = time.monotonic()
        if len(self._here) >= MAX_HERE and visit.visitor.id not in self._here:
            self._here = {
                who: there for who, there in self._here.items() if there[1] > now - HERE_SECONDS
            }
        if len(self._here) < MAX_HERE or visit.visitor.id in self._here:
            name = visit.visitor.name
            self._here[visit.visitor.id] = name.partition(":")[2] or name, now

    def _who_is_here(self) -> str:
        since = time.monotonic() - HERE_SECONDS
        names = sorted(name for name, last in self._here.values() if last > since)
        more = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
        return ", ".join([*names[:MAX_NAMES], *more])


def link_to(text: str) -> str:
    """The page with the requests that have this text."""
    return f"{HOME}?{Filters(text=text).query}#requests"


def names_in(rows: list[Row], filters: Filters) -> list[str]:
    """The names to choose from: those that the requests have, and the one that is chosen."""
    names = {row.name for row in rows if row.name} | {filters.name}
    return sorted(names - {"", NOBODY})
