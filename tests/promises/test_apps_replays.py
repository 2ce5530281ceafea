"""Codes and tokens of apps: each is good once or for its time, for one app, one place, one gate and one use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.identity.app import aside
from tests.harness.identity.app_gates import open_to_apps
from tests.harness.identity.app_stage import SESSION, Stage, stage
from tests.harness.identity.house import PUBLIC, as_if_later

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx

GRANT_DAYS, REFRESH_DAYS, DAY = 90, 30, 86_400.0


@pytest.fixture
def cast() -> Iterator[Stage]:
    with stage() as cast:
        yield cast


@pytest.fixture
async def open_cast(cast: Stage) -> AsyncIterator[Stage]:
    """With a gate, and an app that is registered."""
    async with cast.gate(failure_rate="off"):
        await aside(cast.app.discover)
        await aside(cast.app.register)
        yield cast


def refused(answer: httpx.Response, error: str = "invalid_grant", status: int = 400) -> bool:
    """True if the answer is that error, and keeps to RFC 6749 section 5.2."""
    assert answer.headers["Cache-Control"] == "no-store", answer.headers
    return bool((answer.status_code, answer.json().get("error")) == (status, error))


async def coming_back(cast: Stage) -> str:
    """The URL with a code, to which the person is led back."""
    return await aside(cast.person.go, cast.app.authorization_url())


async def test_a_code_that_comes_twice_ends_all_that_it_gave(open_cast: Stage) -> None:
    app, there = open_cast.app, await coming_back(open_cast)
    assert (await aside(app.redeem, there)).status_code == 200
    first = app.tokens
    assert (await aside(app.ask)).status_code == 200
    assert refused(await aside(app.redeem, there))
    gone = await aside(app.ask, token=first["access_token"])
    assert gone.status_code == 401
    assert 'error="invalid_token"' in gone.headers["WWW-Authenticate"]
    assert refused(await aside(app.refresh))


async def test_a_code_is_of_no_use_without_its_verifier_or_to_another_app_and_is_not_used_up(
    open_cast: Stage,
) -> None:
    app, there = open_cast.app, await coming_back(open_cast)
    thief = open_cast.another_app()
    await aside(thief.discover)
    await aside(thief.register)
    for changes in (
        {"client_id": thief.client_id},
        {"code_verifier": "v" * 43},
        {"code_verifier": app.verifier.lower()},
        {"redirect_uri": "http://127.0.0.1:8/callback"},
    ):
        assert refused(await aside(app.redeem, there, **changes))
    assert refused(await aside(app.redeem, there, code_verifier=None), "invalid_request")
    wrong = {"resource": "https://other.example/mcp"}
    assert refused(await aside(app.redeem, there, **wrong), "invalid_target")
    assert (await aside(app.redeem, there)).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None, "code_challenge": None},
        {"code_challenge": ""},
        {"code_challenge": "short"},
        {"state": None},
        {"resource": None},
        {"resource": "https://other.example/mcp"},
        {"response_type": "token"},
        {"response_type": "code token"},
    ],
)
async def test_nobody_is_asked_about_a_request_with_less_protection(
    open_cast: Stage, changes: dict[str, str | None]
) -> None:
    url = open_cast.app.authorization_url(**changes)
    answer = await aside(open_cast.person.open, url)
    assert "error=" in answer.headers["Location"]
    assert "code=" not in answer.headers["Location"]
    assert open_cast.person.questions == []


async def test_a_refresh_token_that_comes_twice_ends_its_grant_whoever_brings_it(
    open_cast: Stage,
) -> None:
    app = open_cast.app
    await aside(app.redeem, await coming_back(open_cast))
    stolen = app.tokens["refresh_token"]
    for _ in range(2):
        assert (await aside(app.refresh)).status_code == 200
    last = app.tokens
    assert refused(await aside(app.refresh, refresh_token=stolen))
    assert refused(await aside(app.refresh, refresh_token=last["refresh_token"]))
    assert (await aside(app.ask, token=last["access_token"])).status_code == 401


async def test_two_windows_of_an_app_may_use_the_last_refresh_token_at_once(
    open_cast: Stage,
) -> None:
    app = open_cast.app
    await aside(app.redeem, await coming_back(open_cast))
    old = app.tokens["refresh_token"]
    for _ in range(3):
        assert (await aside(app.refresh, refresh_token=old)).status_code == 200
        assert (await aside(app.ask)).status_code == 200
    assert (await aside(app.refresh)).status_code == 200


async def test_nothing_does_for_another_use(open_cast: Stage) -> None:
    app, there = open_cast.app, await coming_back(open_cast)
    code = app.code_in(there)
    await aside(app.redeem, there)
    access, refresh = app.tokens["access_token"], app.tokens["refresh_token"]
    cookies = open_cast.person.http.cookies
    kept = [cookies[name] for name in (SESSION, "__Host-gate-apps")]
    for other in (refresh, code, app.client_id, *kept):
        assert (await aside(app.ask, token=other)).status_code == 401
    for other in (access, code, app.client_id, *kept):
        assert refused(await aside(app.refresh, refresh_token=other))
    for carrier in ({"X-API-Key": access}, {}):
        url = app.endpoint if carrier else f"{app.endpoint}?key={access}"
        answer = await aside(app.http.post, url, headers=carrier, json={})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mcp"'
    fields = {"Authorization": f"Bearer {access}", "Cookie": f"{SESSION}={access}"}
    assert (await aside(app.http.get, f"{PUBLIC}/dashboard", headers=fields)).status_code == 401
    assert (await aside(app.ask)).status_code == 200


async def test_a_token_of_one_gate_is_no_token_of_another_with_the_same_secret(
    cast: Stage,
) -> None:
    """Two servers of one operator, which are one client at the provider."""
    other = "https://other.example"
    async with (
        cast.gate(failure_rate="off"),
        open_to_apps(cast.provider, public_url=other) as second,
    ):
        await aside(cast.app.sign_in, cast.person)
        cast.roads[other] = second.url
        there = cast.another_app()
        there.endpoint = f"{other}/mcp"
        await aside(there.discover)
        assert (await aside(there.ask, token=cast.app.tokens["access_token"])).status_code == 401
        there.client_id, there.tokens = cast.app.client_id, cast.app.tokens
        assert refused(await aside(there.refresh), "invalid_client", 401)
        await aside(there.register)
        assert refused(await aside(there.refresh))
        assert (await aside(cast.app.refresh)).status_code == 200


async def test_tokens_end_in_their_time_and_a_grant_in_its_own(
    open_cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_cast.app
    await aside(app.redeem, await coming_back(open_cast))
    assert app.tokens["expires_in"] in range(890, 901)
    with as_if_later(monkeypatch, 901):
        for _ in range(3):
            assert (await aside(app.ask)).status_code == 401
        assert (await aside(app.refresh)).status_code == 200
        assert (await aside(app.ask)).status_code == 200
    for days in (29, 58, 87):
        with as_if_later(monkeypatch, days * DAY):
            assert (await aside(app.refresh)).status_code == 200
    with as_if_later(monkeypatch, GRANT_DAYS * DAY - 300):
        assert (await aside(app.refresh)).status_code == 200
        assert app.tokens["expires_in"] <= 300
    with as_if_later(monkeypatch, GRANT_DAYS * DAY + 1):
        assert refused(await aside(app.refresh))
        assert (await aside(app.ask)).status_code == 401


async def test_a_grant_that_nobody_uses_for_a_month_is_over(
    open_cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, there = open_cast.app, await coming_back(open_cast)
    with as_if_later(monkeypatch, 61):
        assert refused(await aside(app.redeem, there))
    await aside(app.redeem, there)
    with as_if_later(monkeypatch, REFRESH_DAYS * DAY + 1):
        assert refused(await aside(app.refresh))
