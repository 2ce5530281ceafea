"""The settings of apps, judged together with those of the ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gatehouse.http.address import is_loopback
from gatehouse.identity.clock import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.settings.environment import Settings

MAX_AHEAD_SECONDS = 300.0
"""How far REVOKE_BEFORE may lie ahead: somebody else's clock may be ahead of this one."""


def app_disagreements(settings: Settings) -> Iterator[tuple[set[str], str]]:
    """Settings of apps that do not go together with others: their names, and a sentence."""
    if settings.sign_in_apps:
        yield from _against(settings)
    public = urlsplit(settings.public_origin)
    # At the dashboard's own origin, `sign_in_faults` says the same of the dashboard.
    is_another = settings.public_origin != settings.dashboard_origin
    in_clear = public.scheme == "http" and not is_loopback(public.hostname or "")
    if settings.lets_apps_in and is_another and in_clear:
        yield (
            {"public_url", "sign_in"},
            (
                "PUBLIC_URL: must begin with https:// where apps sign in, since whoever is on the way could read their tokens; http:// "
                "is for this machine (127.0.0.1, localhost)"
            ),
        )
    if settings.revoke_before is None:
        return
    if settings.sign_in is None:
        yield (
            {"revoke_before", "sign_in"},
            "REVOKE_BEFORE: means nothing without SIGN_IN; set that, too, or take REVOKE_BEFORE away",
        )
    if settings.ended_before > clock() + MAX_AHEAD_SECONDS:
        yield (
            {"revoke_before"},
            "REVOKE_BEFORE: is still to come; set the moment of now, in UTC (Z at its end), or an earlier one",
        )


def _against(settings: Settings) -> Iterator[tuple[set[str], str]]:
    if settings.sign_in is None:
        yield (
            {"sign_in_apps", "sign_in"},
            "SIGN_IN_APPS: people let apps in by signing in, and nobody can; set SIGN_IN, too, or take SIGN_IN_APPS away",
        )
    if settings.auth_issuer is not None:
        yield (
            {"sign_in_apps", "auth_issuer"},
            (
                "SIGN_IN_APPS: excludes AUTH_ISSUER, since clients look at one authorization server only. Take SIGN_IN_APPS away, "
                "and apps sign in at AUTH_ISSUER; or take AUTH_ISSUER away, and they sign in here"
            ),
        )
    if settings.behind_front and settings.sign_in is not None:
        yield (
            {"sign_in_apps", "front", "front_required"},
            (
                "SIGN_IN_APPS: excludes FRONT_REQUIRED, since the front lets in nobody who has not signed in there, and an app has "
                "not. Take SIGN_IN_APPS away, or set FRONT_REQUIRED=false"
            ),
        )
