"""The page of apps at a whole gate: whoever let an app in takes it away there, and with it all that the app has open."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import trio

from gatehouse.pages.dashboard.shell import NAVIGATION
from gatehouse.pages.dashboard.visit import HOME, OWN
from tests.harness.identity.app import aside
from tests.harness.identity.app_gates import app_at, open_to_apps, person_at
from tests.harness.identity.app_person import forms_of
from tests.harness.identity.house import PUBLIC
from tests.harness.identity.openid_provider import OpenIDProvider, openid_provider
from tests.harness.wire import Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.harness.identity.app_person import AppPerson
    from tests.harness.wire import Head

APPS = PUBLIC + OWN


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    with openid_provider() as found:
        yield found


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


def press(person: AppPerson, page: httpx.Response, path: str) -> httpx.Response:
    """The page that comes after the first button of that kind."""
    action, fields = next(form for form in forms_of(page) if form[0] == path)
    answer = person.post(page, action, fields)
    assert answer.status_code == 303
    return person.get(urljoin(PUBLIC, answer.headers["Location"]))


@pytest.mark.parametrize("action", ["end", "end-all"])
async def test_an_app_that_its_person_takes_away_loses_its_stream_at_once_and_nobody_elses(
    provider: OpenIDProvider, action: str
) -> None:
    async with open_to_apps(provider) as house:
        with (
            app_at(house) as hers,
            person_at(house) as alice,
            app_at(house) as his,
            person_at(house) as bob,
        ):
            await aside(hers.sign_in, alice)
            provider.person = "bob"
            await aside(his.sign_in, bob)
            house.upstream.script = stream_events
            async with (await house.connect()).stream as stream:
                peer = Peer(stream)
                bearer = f"Authorization: Bearer {his.tokens['access_token']}".encode()
                await peer.send(house.raw(b"/mcp", bearer, token=False))
                await peer.head()
                assert (await peer.chunk()).startswith(b"data: 1\n\n")
                page = await aside(bob.get, APPS)
                assert (page.status_code, page.text.count("from 127.0.0.1")) == (200, 1)
                said = await aside(press, bob, page, f"/dashboard/apps/{action}")
                assert "revoked" in said.text
                with trio.fail_after(5):
                    while await peer.chunk():
                        pass
            house.upstream.script = answer(b"{}")
            assert (await aside(his.ask)).status_code == 401
            assert (await aside(hers.ask)).status_code == 200


async def test_an_admin_ends_a_person_and_their_apps_do_not_come_back(
    provider: OpenIDProvider,
) -> None:
    async with open_to_apps(provider) as house:
        with app_at(house) as his, person_at(house) as bob, person_at(house) as alice:
            provider.person = "bob"
            await aside(his.sign_in, bob)
            provider.person = "alice"
            await aside(alice.open, f"{PUBLIC}/dashboard/sign-in?to=/dashboard/people")
            page = await aside(alice.get, f"{PUBLIC}/dashboard/people?find=bob")
            said = await aside(press, alice, page, "/dashboard/people/end")
            assert "and all apps" in said.text
            assert (await aside(his.ask)).status_code == 401
            assert (await aside(his.refresh)).json()["error"] == "invalid_grant"
            assert (await aside(bob.get, APPS)).status_code == 401


async def test_whoever_may_only_sign_in_sees_their_own_apps_and_no_other_page(
    provider: OpenIDProvider,
) -> None:
    async with open_to_apps(provider) as house:
        with (
            app_at(house, name="Agent of alice") as hers,
            person_at(house) as alice,
            person_at(house) as bob,
        ):
            await aside(hers.sign_in, alice)
            provider.person = "bob"
            there = await aside(bob.open, f"{PUBLIC}/dashboard/sign-in")
            assert there.status_code == 200
            assert there.url.path == "/dashboard/apps"
            assert "You have let no app in." in there.text
            assert "Agent of alice" not in there.text
            for path, _ in NAVIGATION:
                if path not in {HOME, OWN}:
                    found = await aside(bob.get, PUBLIC + path)
                    assert found.status_code == 403, path
                    assert "Agent of alice" not in found.text
