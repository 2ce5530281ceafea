"""Settings to parts: the pages, and with an authorization server those of its discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.assembly.location import dashboard_origin, issuer_at
from gatehouse.http.paths import DASHBOARD
from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.table import Pages
from gatehouse.pages.ways_in import WaysIn
from gatehouse.pages.well_known import WellKnown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.assembly.house import House
    from gatehouse.pages.table import Page
    from gatehouse.settings.environment import Settings


def pages_of(house: House, table: Mapping[bytes, Page]) -> Pages:
    """The pages of `table`, those of the dashboard and of apps, and those of discovery if clients are to be told of an
    authorization server.
    """
    settings, identity, exposed = house.settings, house.identity, house.upstream_side.exposed
    dashboard, apps = None, _pages_of_apps(house)
    own = frozenset(apps)
    if house.dashboard is not None:
        dashboard = house.dashboard.page
        own |= dashboard.paths
        table = {**table, **apps, **dict.fromkeys(dashboard.paths, dashboard)}
    dress = dashboard.dress if dashboard else None
    if not settings.shows_discovery:
        return Pages(table, exposed, judge_methods=own, dress=dress)
    issuer = issuer_at(settings, house.endpoint)
    discovery = WellKnown(
        issuer,
        settings.auth_issuer or issuer,
        identity.scopes_to_ask_for,
        introspects=identity.introspects,
        name=lambda: "" if house.landing.name == UNNAMED else house.landing.name,
    )
    return Pages(
        {**table, **dict.fromkeys(discovery.paths, discovery)},
        exposed,
        judge_methods=discovery.paths | own,
        not_found=discovery.elsewhere,
        dress=dress,
    )


def _pages_of_apps(house: House) -> Mapping[bytes, Page]:
    if house.identity.apps is None or house.dashboard is None:
        return {}
    from gatehouse.assembly.apps import pages_of_apps

    return pages_of_apps(house, house.identity.apps, house.dashboard)


def ways_in(settings: Settings, endpoint: str) -> WaysIn:
    """The ways in that people are told of, where clients reach the gate at `endpoint`."""
    issuer = settings.auth_issuer if settings.shows_discovery else None
    provider = settings.sign_in_at if settings.lets_apps_in else ""
    origin = dashboard_origin(settings, endpoint)
    at = origin + DASHBOARD.decode() if settings.has_dashboard else ""
    return WaysIn(settings.takes_tokens, issuer or "", settings.front or "", provider, at)
