"""Settings to parts: the dashboard, and signing in before it.

Only a gate with a dashboard imports this module, since its parts take a while to import. A new page of the dashboard is
a view, or an action, in the tables of `DashboardSide`.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.assembly.pages import ways_in
from gatehouse.assembly.tokens import parser_of
from gatehouse.doctor.checkup import Checkup
from gatehouse.doctor.running import examine_running
from gatehouse.http.paths import DASHBOARD, NOW
from gatehouse.identity.arrivals import Arrivals
from gatehouse.identity.principal import GATE
from gatehouse.pages.dashboard.apps import AppsPage
from gatehouse.pages.dashboard.check import CheckPage
from gatehouse.pages.dashboard.connect import Connect
from gatehouse.pages.dashboard.dashboard import Dashboard
from gatehouse.pages.dashboard.door import Door
from gatehouse.pages.dashboard.entry import Entry
from gatehouse.pages.dashboard.now import Now, Server, Traffic
from gatehouse.pages.dashboard.people import PeoplePage
from gatehouse.pages.dashboard.settings_page import SettingsPage
from gatehouse.pages.dashboard.shell import Shell
from gatehouse.pages.dashboard.templates import prepare
from gatehouse.pages.dashboard.tokens import Tokens
from gatehouse.pages.dashboard.visit import OWN
from gatehouse.pages.landing import UNNAMED
from gatehouse.policy.failures import Failures
from gatehouse.records.recent import Recent
from gatehouse.records.redact import Redactor
from gatehouse.signin.ended import Ended
from gatehouse.signin.provider import Provider
from gatehouse.signin.sessions import PURPOSE, BrowserSessions
from gatehouse.signin.sign_in import SignIn
from gatehouse.signin.visitors import Visitors, named_orgs
from gatehouse.tokens.places import NAME, Place
from gatehouse.tokens.value import digest_of
from gatehouse.upstream.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.assembly.house import House
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.dashboard.visit import Action, View

LOGIN_PURPOSE = "login"
"""The purpose of the seal around a sign-in that is under way."""


class DashboardSide:
    """The dashboard of one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._settings = settings = house.settings
        self._sealing = house.identity.sealing
        self._ended = Ended(settings.state_db, before=settings.ended_before)
        self._arrivals = house.identity.arrivals or Arrivals()
        self._people = house.identity.who_signs_in
        self._apps = house.identity.apps
        self.recent = Recent()
        """The last requests: an observer."""
        self._checkup = Checkup(
            partial(examine_running, settings, house.noted.sources, house.noted.notes),
            house.endpoint,
            hidden=house.hidden,
            behind_front=settings.front is not None and settings.front_required,
        )

    @property
    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """Functions for tasks: which sessions were ended is written down, this gate is looked at when somebody asks for
        that, and the templates are made ready.
        """
        return [self._ended.keep, self._checkup.keep, prepare]

    # The person.

    @cached_property
    def sessions(self) -> BrowserSessions | None:
        """The sessions of people in their browsers; None if the front alone knows people: then there is no sign-in, either,
        and nobody who comes past the front can begin one.
        """
        if self._settings.sign_in is None or self._settings.behind_front:
            return None
        return BrowserSessions(
            self._sealing.sealer(PURPOSE),
            self._sealing.jar,
            self._ended,
            issuer=self._settings.sign_in_issuer,
            orgs=lambda: named_orgs(self._people),
        )

    @cached_property
    def visitors(self) -> Visitors:
        """Knows who is at the dashboard."""
        return Visitors(
            self._people,
            self.sessions,
            self._house.identity.assertions,
            front_required=self._settings.behind_front,
            secret=self._sealing.secret,
        )

    @cached_property
    def sign_in(self) -> SignIn:
        """Leads people to the provider and back."""
        settings = self._settings
        provider = Provider(
            self._house.identity.ask,
            settings.sign_in_issuer,
            *settings.sign_in_client,
            scopes=settings.scopes_for(person.match for person in self._house.contents.people),
            leeway=settings.auth_leeway_seconds,
        )
        sealer = self._sealing.sealer(LOGIN_PURPOSE)
        return SignIn(provider, sealer, self._sealing.jar, origin=self._sealing.origin)

    def _lets_in(self, subject: Subject) -> bool:
        """True if the subject would be let in now, by the way in of its kind."""
        if subject.kind == "person":
            return self.visitors.may_sign_in(subject)
        return self._house.identity.lets_in(subject)

    # The pages.

    @cached_property
    def page(self) -> Dashboard:
        """All paths of the dashboard."""
        entry = self.entry
        return Dashboard(
            self.door,
            self._views,
            self._actions,
            open_views=entry.views if entry else {},
            open_actions=entry.actions if entry else {},
            shell=self.shell,
        )

    @cached_property
    def shell(self) -> Shell:
        """All that the pages share."""
        settings = self._settings
        return Shell(
            self._views.keys(),
            name=self._name,
            provider=settings.sign_in_at if self.sessions else "",
            front=settings.front or "",
        )

    @cached_property
    def door(self) -> Door:
        """The questions before a page is shown, or a form counts."""
        return Door(
            origin=self._sealing.origin,
            origins=self._house.origins,
            visitors=self.visitors,
            notices=self.shell.notices,
            own_page=self.shell.own_page,
            came=self._arrivals.signed_in,
        )

    @cached_property
    def entry(self) -> Entry | None:
        """The pages of the sign-in; None if the front alone signs people in."""
        if self.sessions is None:
            return None
        return Entry(
            sign_in=self.sign_in,
            sessions=self.sessions,
            visitors=self.visitors,
            door=self.door,
            notices=self.shell.notices,
            failures=Failures(self._settings.failure_rate),
            came=self._arrivals.signed_in,
        )

    @property
    def _views(self) -> Mapping[bytes, View]:
        return {
            DASHBOARD: self._now.page,
            NOW: self._now.news,
            **self._tokens.views,
            DASHBOARD + b"/people": self._people_page.show,
            **({OWN.encode(): self._apps_page.show} if self._apps_page else {}),
            DASHBOARD + b"/connect": self._connect,
            DASHBOARD + b"/check": self._check.show,
            DASHBOARD + b"/settings": SettingsPage(lambda: self._house.noted.settings),
        }

    @property
    def _actions(self) -> Mapping[bytes, Action]:
        return {
            **self._tokens.actions,
            DASHBOARD + b"/people/end": self._people_page.end,
            **(self._apps_page.actions if self._apps_page else {}),
            DASHBOARD + b"/check": self._check.start,
        }

    @cached_property
    def _now(self) -> Now:
        house, side = self._house, self._house.upstream_side
        server = Server(
            readiness=house.readiness,
            inventory=Inventory(side.upstream, side.outbound, side.farewells, GATE),
            name=self._name,
            hosted=side.hosted is not None,
        )
        traffic = Traffic(
            requests=lambda: len(house.in_flight),
            streams=lambda: house.in_flight.open_streams,
            sessions=lambda: house.ledger.known,
            connections=lambda: len(house.connections.open),
        )
        return Now(self.recent, server, traffic, Redactor(house.hidden))

    @cached_property
    def _tokens(self) -> Tokens:
        house, settings = self._house, self._settings
        place = settings.tokens_place or Place(settings.tokens_at or Path(NAME))
        return Tokens(
            place.path,
            parse=parser_of(settings, place.path),
            in_force=lambda: house.contents,
            changed=house.reload_tokens,
            uses=lambda: house.keyring.used,
            state_db=settings.state_db,
            shared=digest_of(house.shared_token) if house.shared_token else b"",
            endpoint=house.endpoint,
            url_keys=settings.allow_query_key,
            server=self._name,
            in_space=settings.in_space,
            aside=place.aside,
        )

    @cached_property
    def _people_page(self) -> PeoplePage:
        house = self._house
        return PeoplePage(
            self._arrivals,
            house.identity.people,
            ledger=house.ledger,
            in_flight=house.in_flight,
            lets_in=self._lets_in,
            is_admin=self.visitors.is_admin,
            end_browsers=self.sessions.end_all if self.sessions else None,
            grants=self._apps.grants if self._apps else None,
            signed_in_only=not self._settings.believes_others,
            several_gates=house.shared_state is not None,
        )

    @cached_property
    def _apps_page(self) -> AppsPage | None:
        if self._apps is None:
            return None
        return AppsPage(
            self._apps.grants,
            self._apps.approvals,
            several_gates=self._house.shared_state is not None,
        )

    @cached_property
    def _connect(self) -> Connect:
        house = self._house
        takes_url_keys = lambda: house.identity.verifiers.takes_url_keys  # noqa: E731
        return Connect(
            house.endpoint, self._name, ways_in(self._settings, house.endpoint), takes_url_keys
        )

    @cached_property
    def _check(self) -> CheckPage:
        return CheckPage(self._checkup)

    def _name(self) -> str:
        """The server's own name; empty while nobody knows it."""
        name = self._house.landing.name
        return "" if name == UNNAMED else name
