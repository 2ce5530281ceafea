"""The page of people: who came in by a sign-in or through the front, and the end of all that they have open.

One person may come in several ways: with access tokens, through a front, by a sign-in in a browser. Of one issuer, and
with one `sub`, they are one line here: their ids differ in the kind only. Machines, which act for themselves, are on
the page like people. Apps that a person has let in are on a page of their own (`apps.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gatehouse.http.paths import DASHBOARD
from gatehouse.identity.arrivals import KEEP_SECONDS
from gatehouse.pages.dashboard.notices import IN_MEMORY
from gatehouse.pages.dashboard.printable import printable
from gatehouse.pages.dashboard.visit import HOME, OF_PERSON, see
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gatehouse.apps.grants import Grants
    from gatehouse.downstream.in_flight import InFlight
    from gatehouse.http.reply import Reply
    from gatehouse.identity.arrivals import Arrival, Arrivals
    from gatehouse.identity.people import People
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.policy.sessions import Sessions

logger = logger_of("gate.dashboard")

PATH = (DASHBOARD + b"/people").decode()

MAX_ROWS = 200
"""How many lines a page has, those who came last; all others are found by their names."""

MAX_FIND_LENGTH = 100
"""How much of a text to look for counts."""

WAYS = {"oauth": "access token", "front": "the front", "person": "signed in here"}
"""The ways to come in, by the kind that an id begins with."""

BY_APP = "an app"
"""The first of them, where the gate itself gives access tokens to apps."""

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Known:
    """One person or machine, with all ways by which they came, the latest first."""

    key: str
    """The part of an id after the kind."""
    arrivals: list[Arrival] = field(default_factory=list)
    listed: bool = False
    """True if they would be let in now."""
    admin: bool = False
    """True if they may open the dashboard."""
    sessions: int = 0
    streams: int = 0
    requests: int = 0
    """Their sessions of MCP, event streams, and other requests in flight, all of this moment."""
    apps: int = 0
    """How many apps they have let in."""

    @property
    def subject(self) -> Subject:
        """The facts about them, as they were told last."""
        return self.arrivals[0].subject

    @property
    def name(self) -> str:
        """Their name for people: visible ASCII."""
        return name_of(self.subject)

    @property
    def issuer(self) -> str:
        """The one who vouches for them."""
        return printable(self.subject.issuer)

    @property
    def apps_link(self) -> str:
        """Where their apps are."""
        return OF_PERSON + self.key

    @property
    def last(self) -> float:
        """The Unix time when they were last here."""
        return self.arrivals[0].last

    @property
    def ways(self) -> list[tuple[str, float]]:
        """The kinds of ways by which they came, and when last by each."""
        return [(each.subject.kind, each.last) for each in self.arrivals]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """All that is known of them, in words."""
        about = self.subject
        client = "" if about.is_machine else about.client
        named = (
            ("sub", about.sub),
            ("User name", about.username),
            ("Address", about.email),
            ("Client id", about.client if about.is_machine else ""),
            ("Last with the app", client),
            ("Organisations", ", ".join(sorted(about.orgs))),
        )
        return [(term, printable(value)) for term, value in named if value]

    def is_meant_by(self, text: str) -> bool:
        """True if the text is part of something that is known of them."""
        about = self.subject
        told = (self.name, about.issuer, about.sub, about.username, about.email, about.client)
        return any(text in value.lower() for value in (*told, *about.orgs))


class PeoplePage:
    """The view `show`, and the action `end`.

    `lets_in` tells whether a subject would be let in now, and `is_admin` whether it may open the dashboard. `end_browsers`
    ends all sessions in browsers of the person of that id, and returns True if they stay ended after a restart; it is
    None if the front alone signs people in. `grants` are of the apps that people let in; None if they can let none in. With
    `signed_in_only`, nobody comes by another way than a sign-in in a browser; with `several_gates`, others have sessions
    of their own.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        people: People,
        *,
        ledger: Sessions,
        in_flight: InFlight,
        lets_in: Callable[[Subject], bool],
        is_admin: Callable[[Subject], bool],
        end_browsers: Callable[[str], Awaitable[bool]] | None,
        grants: Grants | None = None,
        signed_in_only: bool = False,
        several_gates: bool = False,
    ) -> None:
        self._arrivals = arrivals
        self._people = people
        self._ledger = ledger
        self._in_flight = in_flight
        self._lets_in = lets_in
        self._is_admin = is_admin
        self._end_browsers = end_browsers
        self._grants = grants
        self._ways = WAYS if grants is None else {**WAYS, "oauth": BY_APP}
        self._signed_in_only = signed_in_only
        self._several_gates = several_gates

    async def show(self, visit: Visit) -> Reply:
        """The page: all who came, or those in whose names a text stands that is looked for."""
        find = looked_for(visit.exchange.request.query)
        return await visit.page(
            "people.html",
            late=partial(self._found, find, self._in_flight_now()),
            find=find,
            open_list=self._people.is_open and not self._signed_in_only,
            signed_in_only=self._signed_in_only,
            by_session=self._end_browsers is not None,
            ways=self._ways,
            has_apps=self._grants is not None,
            several_gates=self._several_gates,
            days=round(KEEP_SECONDS / 86_400),
        )

    async def end(self, visit: Visit, form: Form) -> Reply:
        """End all that one person or machine has open: sessions, streams and calls, sessions in browsers, and the grants of
        their apps, which would come back otherwise.
        """
        known = self._find(form.text("person"))
        if known is None:
            return visit.see(
                PATH, "Nobody is known here by that any more. Nothing was done.", is_warning=True
            )
        ids = [f"{kind}:{known.key}" for kind in WAYS]
        # First the grants, or an app comes in again between.
        apps_last = self._grants is None or await self._grants.end_all(f"oauth:{known.key}")
        sessions = sum(map(self._ledger.end_all, ids))
        requests = sum(map(self._in_flight.end_all, ids))
        end_browsers = self._end_browsers
        browsers_last = end_browsers is None or await end_browsers(f"person:{known.key}")
        more = "" if end_browsers is None else ", and every session in a browser"
        more += "" if self._grants is None else ", and all apps"
        logger.warning(
            "%s ended all that %s had open: sessions %d, requests in flight %d%s",
            visit.visitor.name,
            known.subject.shown,
            sessions,
            requests,
            more,
        )
        if (
            visit.visitor.session and visit.visitor.id in ids
        ):  # their own, too: no page could tell it
            lasts = browsers_last and apps_last
            return see(f"{HOME}?bye-everywhere{'' if lasts else IN_MEMORY}")
        again = (
            " They may come again; the page says how to keep them out."
            if self._may_come(known)
            else ""
        )
        memory = _memory(browsers_last=browsers_last, apps_last=apps_last)
        ended = f"sessions: {sessions}, requests in flight: {requests}{more}"
        return visit.see(PATH, f"Ended for {known.name}: {ended}.{again}{memory}")

    def _find(self, key: str) -> Known | None:
        """The one with that key, if they are known."""
        if not _KEY.fullmatch(key):
            return None
        found = (self._arrivals.of(f"{kind}:{key}") for kind in WAYS)
        return next(iter(grouped(each for each in found if each)), None)

    def _may_come(self, known: Known) -> bool:
        return any(self._lets_in(each.subject) for each in known.arrivals)

    def _found(self, find: str, in_flight: tuple[Counter[str], Counter[str]]) -> dict[str, Any]:
        """Those whom a text means, the first MAX_ROWS of them with what they may do and what they hold now."""
        everybody, wanted = grouped(self._arrivals.all()), find.lower()
        found = [each for each in everybody if not find or each.is_meant_by(wanted)]
        streams, requests = in_flight
        grants = self._grants.all() if self._grants else []
        apps = Counter(key_of(each.grant.person) for each in grants)
        for known in found[:MAX_ROWS]:
            known.listed = self._may_come(known)
            known.admin = any(self._is_admin(each.subject) for each in known.arrivals)
            known.sessions = sum(self._ledger.number_of(f"{kind}:{known.key}") for kind in WAYS)
            known.streams, known.requests = streams[known.key], requests[known.key]
            known.apps = apps[known.key]
        return {"rows": found[:MAX_ROWS], "found": len(found), "all": len(everybody)}

    def _in_flight_now(self) -> tuple[Counter[str], Counter[str]]:
        """How many streams, and how many other requests, each has now, by their keys."""
        streams: Counter[str] = Counter()
        requests: Counter[str] = Counter()
        for exchange in self._in_flight:
            key = exchange.id.partition(":")[2]
            (streams if exchange.carries_events else requests)[key] += 1
        return streams, requests


def key_of(subject: Subject) -> str:
    """The person or machine behind a subject, whatever the way by which they come: the part of its id after the kind."""
    return subject.id.partition(":")[2]


def name_of(subject: Subject) -> str:
    """The name of a subject without its kind: visible ASCII."""
    return subject.shown.partition(":")[2] or subject.shown


def grouped(arrivals: Iterable[Arrival]) -> list[Known]:
    """People and machines, the latest first, each with the latest way first."""
    found: dict[str, Known] = {}
    for arrival in sorted(arrivals, key=lambda each: -each.last):
        key = key_of(arrival.subject)
        found.setdefault(key, Known(key)).arrivals.append(arrival)
    return list(found.values())


def looked_for(query: bytes) -> str:
    """The text that a query looks for; empty if it looks for none."""
    found = parse_qs(query.decode("latin-1"), errors="replace").get("find", [""])[0]
    return "".join(each for each in found[:MAX_FIND_LENGTH] if each.isprintable()).strip()


def _memory(*, browsers_last: bool, apps_last: bool) -> str:
    """The sentence about ends that a restart would forget; empty if there are none."""
    forgotten = [
        *(["of those in browsers"] if not browsers_last else []),
        *(["of apps"] if not apps_last else []),
    ]
    if not forgotten:
        return ""
    return f" A restart of the gate would forget the end {' and '.join(forgotten)}."
