"""Gates that let apps in: a whole one in this process, and the settings for one that is a program."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.harness.house import House, open_house
from tests.harness.identity.app import App
from tests.harness.identity.app_person import AppPerson, Decision
from tests.harness.identity.house import PUBLIC
from tests.harness.identity.openid_provider import ALICE, BOB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.identity.openid_provider import OpenIDProvider

SECRET = "sign-in-secret-of-the-tests-that-outlives-each-gate"


def signs_in_at(provider: OpenIDProvider, **more: str) -> dict[str, str]:
    """The environment of a program whose people sign in at that provider and let apps in. Alice is an admin, and Bob one
    of the people; `more` is added.
    """
    return {
        "PUBLIC_URL": "http://127.0.0.1:{port}",
        "SIGN_IN": provider.issuer,
        "SIGN_IN_CLIENT_ID": provider.client_id,
        "SIGN_IN_CLIENT_SECRET": provider.client_secret,
        "SIGN_IN_SECRET": SECRET,
        "SIGN_IN_APPS": "true",
        "ADMINS": f"sub:{ALICE['sub']}",
        "PEOPLE": f"sub:{BOB['sub']}",
        "STATE_DB": "",
        **more,
    }


@asynccontextmanager
async def open_to_apps(provider: OpenIDProvider, **settings: Any) -> AsyncIterator[House]:
    """A gate at PUBLIC whose people sign in at that provider and let apps in: Alice, who is an admin, and Bob."""
    given = {name.lower(): value for name, value in signs_in_at(provider).items()}
    whole = {**given, "public_url": PUBLIC, "sign_in_apps": True, **settings}
    async with open_house(background=True, **whole) as house:
        yield house


def roads_to(house: House) -> dict[str, str]:
    """Where the gate at PUBLIC is really served."""
    return {PUBLIC: house.url}


def app_at(house: House, **given: Any) -> App:
    """An app of somebody who has pasted the URL of that gate."""
    return App(f"{PUBLIC}/mcp", roads=roads_to(house), **given)


def person_at(house: House, says: Decision = "allow") -> AppPerson:
    """A person whose browser knows that gate."""
    return AppPerson(says=says, roads=roads_to(house))
