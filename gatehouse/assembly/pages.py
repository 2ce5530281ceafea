"""Settings to parts: the pages, and with an authorization server those of its discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.assembly.location import dashboard_origin
from gatehouse.http.paths import DASHBOARD
from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.table import Pages
from gatehouse.pages.ways_in import WaysIn
from gatehouse.pages.well_known import WellKnown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.http.paths import ExposedPaths
    from gatehouse.pages.dashboard.dashboard import Dashboard
    from gatehouse.pages.landing import Landing
    from gatehouse.pages.table import Page
    from gatehouse.settings.environment import Settings


def pages_of(
    settings: Settings,
    table: Mapping[bytes, Page],
    landing: Landing,
    exposed: ExposedPaths,
    *,
    dashboard: Dashboard | None,
) -> Pages:
    """The pages of `table`, those of the dashboard, and those of discovery if clients are to be told of the authorization
    server.
    """
    own = dashboard.paths if dashboard else frozenset[bytes]()
    if dashboard:
        table = {**table, **dict.fromkeys(own, dashboard)}
    dress = dashboard.dress if dashboard else None
    if not settings.shows_discovery:
        return Pages(table, exposed, judge_methods=own, dress=dress)
    discovery = WellKnown(
        settings.public_origin,
        settings.auth_issuer or "",
        settings.needed_scopes,
        introspects=settings.auth_introspection_url is not None,
        name=lambda: "" if landing.name == UNNAMED else landing.name,
    )
    return Pages(
        {**table, **dict.fromkeys(discovery.paths, discovery)},
        exposed,
        judge_methods=discovery.paths | own,
        not_found=discovery.elsewhere,
        dress=dress,
    )


def ways_in(settings: Settings, endpoint: str) -> WaysIn:
    """The ways in that people are told of, where clients reach the gate at `endpoint`."""
    issuer = settings.auth_issuer if settings.shows_discovery else None
    origin = dashboard_origin(settings, endpoint)
    at = origin + DASHBOARD.decode() if settings.has_dashboard else ""
    return WaysIn(settings.takes_tokens, issuer or "", settings.front or "", at)
