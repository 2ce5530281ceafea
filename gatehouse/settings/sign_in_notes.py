"""Remarks on signing in: settings that are allowed, and hardly meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gatehouse.identity.matches import EVERYBODY, key_of
from gatehouse.settings.identity_kinds import shown
from gatehouse.settings.lists import open_providers, untold_by_front, untold_by_provider
from gatehouse.tokens.places import SPACE_DATA, has_bucket, is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.settings.environment import Settings

ONE_ISSUERS_OWN = {"username", "sub", "org"}
"""The kinds of facts that mean somebody else at another issuer. An address is the same person's everywhere."""


def on_dashboard(settings: Settings) -> Iterator[str]:
    """A sentence for each thing about signing in, and about the dashboard, that does not do what it seems to."""
    if settings.sign_in is not None and settings.behind_front:
        yield (
            "SIGN_IN: nobody signs in there, since FRONT_REQUIRED has people sign in at the front; set FRONT_REQUIRED=false if they "
            "may come past the front"
        )
    if "SIGN_IN" in open_providers(settings) and "*" in settings.people:
        by_apps = ", and come in by an app" if settings.lets_apps_in else ""
        yield f"PEOPLE: has *, and anybody can join SIGN_IN, so that everybody may sign in{by_apps}"
    if not settings.has_dashboard:
        return
    if any(key_of(match) == EVERYBODY for match in settings.admins):
        yield "ADMINS: has *, so that everybody who signs in may make tokens and take them away"
    if settings.public_url and settings.public_url != settings.dashboard_origin:
        by_apps = ", and people let apps in at that host," if settings.lets_apps_in else ""
        yield (
            f"PUBLIC_URL: is not where the dashboard is: that is at {settings.dashboard_origin}/dashboard{by_apps or ','} since "
            "Hugging Face sends people back only to the Space's own host"
        )
    yield from _memory_of_apps(settings)
    yield from _other_persons(settings)
    yield from _tokens_file(settings)
    if settings.expose_paths:
        yield (
            "EXPOSE_PATHS: a page of the server's is of the dashboard's origin, so that a script in it can do there what the one "
            "who opens the page may do; expose no page whose scripts you do not trust"
        )


def _memory_of_apps(settings: Settings) -> Iterator[str]:
    """A sentence if a restart forgets which apps were taken away, and need not. Several gates remind each other."""
    if not settings.lets_apps_in or settings.shared_state_url is not None:
        return
    if settings.state_db is None:
        yield (
            "STATE_DB: is empty, so that a restart forgets which apps were taken away, and an app that has kept its token is in again; "
            "name a file on a disk that lasts"
        )
    elif settings.in_space and not is_mounted(settings.state_db.absolute()) and has_bucket():
        yield (
            "STATE_DB: is on the Space's own disk, so that a restart forgets which apps were taken away, and an app that has kept its "
            f"token is in again; set it to {SPACE_DATA / settings.state_db.name}, in the bucket"
        )


def _tokens_file(settings: Settings) -> Iterator[str]:
    """A sentence about a tokens file in a Space that does not last, or is there twice."""
    place = settings.tokens_place
    if place is None or not settings.in_space:
        return
    if place.aside is not None:
        yield (
            f"TOKENS_FILE: is not set; the tokens of {place.path} are in force, and those of {place.aside} are not. Delete "
            f"{place.aside.name} in the Files tab of the Space: its tokens, also those that were revoked since, are good again "
            "whenever the Space starts without its bucket"
        )
    elif os.access(place.path.parent, os.W_OK) and not is_mounted(place.path):
        yield (
            f"TOKENS_FILE: is not set, and tokens made at the dashboard are gone at the next restart of the Space, since {place.path} "
            "is on its own disk; mount a storage bucket at /data that can be written"
        )


def _other_persons(settings: Settings) -> Iterator[str]:
    """A sentence for each list with a name that two issuers know, since each means somebody else by it."""
    provider, front = untold_by_provider(settings), untold_by_front(settings)
    for name, matches in (("PEOPLE", settings.people), ("ADMINS", settings.admins)):
        for match in matches:
            kind = key_of(match).kind
            others = [] if settings.sign_in is None or kind in provider else ["SIGN_IN"]
            if settings.auth_issuer not in {None, settings.sign_in} and name == "PEOPLE":
                others.append("AUTH_ISSUER")
            if settings.front is not None and kind not in front:
                others.append("FRONT")
            if kind in ONE_ISSUERS_OWN and "SIGN_IN" in others and len(others) > 1:
                yield (
                    f"{name}: {shown(match)} means whoever is so called at {' or '.join(others)}, and these may be several people; "
                    "an e-mail address means one"
                )
