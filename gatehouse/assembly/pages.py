"""Settings to parts: the pages, and with an authorization server those of its discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.table import Pages
from gatehouse.pages.ways_in import WaysIn
from gatehouse.pages.well_known import WellKnown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.http.paths import ExposedPaths
    from gatehouse.pages.landing import Landing
    from gatehouse.pages.table import Page
    from gatehouse.settings.environment import Settings


def pages_of(
    settings: Settings, table: Mapping[bytes, Page], landing: Landing, exposed: ExposedPaths
) -> Pages:
    """The pages of `table`, and those of discovery if clients are to be told of the authorization server."""
    if not settings.shows_discovery:
        return Pages(table, exposed)
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
        judge_methods=discovery.paths,
        not_found=discovery.elsewhere,
    )


def ways_in(settings: Settings) -> WaysIn:
    """The ways in that people are told of."""
    issuer = settings.auth_issuer if settings.shows_discovery else None
    return WaysIn(settings.takes_tokens, issuer or "", settings.front or "")
