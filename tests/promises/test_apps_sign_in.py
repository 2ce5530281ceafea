"""Apps sign in: from the URL alone to a call, and on to the end of the grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gatehouse.identity.principal import Principal
from tests.harness.identity.app import aside
from tests.harness.identity.app_gates import app_at, open_to_apps, person_at
from tests.harness.identity.openid_provider import OpenIDProvider, openid_provider
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    with openid_provider() as found:
        yield found


async def test_the_url_alone_lets_an_app_in(provider: OpenIDProvider) -> None:
    async with open_to_apps(provider) as house:
        with app_at(house) as app, person_at(house) as person:
            await aside(app.sign_in, person)
            assert len(person.questions) == 1
            assert "app of the tests" in person.questions[0]
            good = await aside(app.ask)
            assert good.status_code == 200, good.text
            old = app.tokens
            assert (await aside(app.refresh)).status_code == 200
            assert app.tokens["refresh_token"] != old["refresh_token"]
            assert (await aside(app.ask)).status_code == 200
            assert (await aside(app.revoke)).status_code == 200
            gone = await aside(app.ask)
            assert gone.status_code == 401
            assert 'error="invalid_token"' in gone.headers["WWW-Authenticate"]
            assert "resource_metadata=" in gone.headers["WWW-Authenticate"]
            refused = await aside(app.refresh)
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_work_that_a_hosted_server_still_does_for_an_app_may_do_nothing_once_its_grant_ends(
    provider: OpenIDProvider,
) -> None:
    async with open_to_apps(provider) as house:
        with app_at(house) as app, person_at(house) as person:
            await aside(app.sign_in, person)
            token = f"Bearer {app.tokens['access_token']}".encode()
            identity = house.parts.identity
            who = await identity.verifiers.identify(request_of([(b"Authorization", token)]))
            assert isinstance(who, Principal)
            assert identity.still(who) is not None
            assert (await aside(app.revoke)).status_code == 200
            assert identity.still(who) is None
