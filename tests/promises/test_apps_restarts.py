"""Gates that end and begin, and their disks: nobody who let an app in is signed out, and what a lost memory costs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from tests.harness.identity.app import aside
from tests.harness.identity.app_stage import Stage, stage
from tests.harness.identity.house import PUBLIC, as_if_later
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx


@pytest.fixture
def cast() -> Iterator[Stage]:
    with stage() as cast:
        yield cast


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


def error_in(answer: httpx.Response) -> str:
    return str(answer.json().get("error", ""))


async def test_a_restart_at_any_step_of_the_way_loses_nothing(cast: Stage) -> None:
    """With no disk at all, as in a Space."""
    app, person = cast.app, cast.person
    async with cast.gate():
        await aside(app.discover)
    async with cast.gate():
        assert (await aside(app.register)).status_code == 201
    async with cast.gate():
        to_provider = await aside(person.get, app.authorization_url())
        assert to_provider.headers["Location"].startswith(cast.provider.issuer)
    async with cast.gate():
        back = await aside(person.get, to_provider.headers["Location"])
        came = await aside(person.get, back.headers["Location"])
        assert came.headers["Location"].endswith("/authorize/resume")
    async with cast.gate():
        question = await aside(person.get, urljoin(PUBLIC, came.headers["Location"]))
        assert question.status_code == 200
    async with cast.gate():
        done = await aside(person.decide, question)
    async with cast.gate():
        assert (await aside(app.redeem, done.headers["Location"])).status_code == 200
    for _ in range(2):
        async with cast.gate():
            assert (await aside(app.ask)).status_code == 200
            assert (await aside(app.refresh)).status_code == 200
    async with cast.gate():  # and comes again without a question
        await aside(app.redeem, await aside(person.go, app.authorization_url()))
        assert (await aside(app.revoke)).status_code == 200
        assert (await aside(app.ask)).status_code == 401


async def test_with_its_disk_a_gate_remembers_what_was_used_and_what_has_ended(
    cast: Stage, file: Path
) -> None:
    app, thief = cast.app, cast.another_app()
    async with cast.gate(state_db=file):
        await aside(app.sign_in, cast.person)
        used = app.tokens["refresh_token"]
        await aside(app.refresh)
        thief.client_id, thief.server, thief.tokens = app.client_id, app.server, app.tokens
        there = await aside(cast.person.go, app.authorization_url())
        await aside(app.redeem, there)
        await aside(app.revoke)
        ended = app.tokens
    async with cast.gate(state_db=file):
        assert error_in(await aside(app.redeem, there)) == "invalid_grant"
        assert error_in(await aside(app.refresh, refresh_token=ended["refresh_token"]))
        assert (await aside(app.ask, token=ended["access_token"])).status_code == 401
        assert (await aside(thief.ask)).status_code == 200
        await aside(thief.refresh)
        assert error_in(await aside(thief.refresh, refresh_token=used)) == "invalid_grant"
        assert (await aside(thief.ask)).status_code == 401


async def test_a_lost_disk_signs_nobody_out_and_a_moment_cuts_off_what_it_has_forgotten(
    cast: Stage, file: Path, tmp_path: Path
) -> None:
    app = cast.app
    async with cast.gate(state_db=file):
        await aside(app.sign_in, cast.person)
        await aside(app.revoke)
        assert error_in(await aside(app.refresh)) == "invalid_grant"
    async with cast.gate(
        state_db=tmp_path / "new"
    ):  # this is what remains, as docs/security.md says
        assert (await aside(app.refresh)).status_code == 200
        assert (await aside(app.ask)).status_code == 200
    now = datetime.now(UTC)
    async with cast.gate(state_db=tmp_path / "newer", revoke_before=now):
        assert error_in(await aside(app.refresh)) == "invalid_grant"
        assert (await aside(app.ask)).status_code == 401
        page = await aside(cast.person.get, f"{PUBLIC}/dashboard")
        assert page.status_code == 401
        # Approvals are over, too; and whoever comes now, stays.
        await aside(app.redeem, await aside(cast.person.go, app.authorization_url()))
        assert len(cast.person.questions) == 2
        assert (await aside(app.ask)).status_code == 200
    async with cast.gate(revoke_before=now - timedelta(days=1)):
        assert (await aside(app.refresh)).status_code == 200


async def test_after_another_secret_clients_are_told_to_register_anew(cast: Stage) -> None:
    app = cast.app
    async with cast.gate():
        await aside(app.sign_in, cast.person)
    async with cast.gate(sign_in_secret="another-secret-of-the-tests-0123456789abcdef"):
        assert (await aside(app.ask)).status_code == 401
        refused = await aside(app.refresh)
        assert (refused.status_code, error_in(refused)) == (401, "invalid_client")
        page = await aside(cast.person.get, app.authorization_url())
        assert page.status_code == 400
        assert "not known here" in page.text
        app.client_id = ""
        await aside(app.sign_in, cast.person)
        assert (await aside(app.ask)).status_code == 200


async def test_while_the_provider_is_away_apps_go_on_and_nobody_new_comes_in(
    cast: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with cast.gate():
        await aside(cast.app.sign_in, cast.person)
        cast.provider.stop()
    async with cast.gate():  # which has never heard of the provider
        assert (await aside(cast.app.refresh)).status_code == 200
        assert (await aside(cast.app.ask)).status_code == 200
        assert (await aside(cast.app.ask, token=TOKEN)).status_code == 200
        again = cast.another_app()
        await aside(again.discover)
        await aside(again.register)
        # Whoever is signed in lets apps in; a stranger gets one page with one link, and no app an answer.
        assert (await aside(cast.person.open, again.authorization_url())).status_code == 200
        page = await aside(cast.another_browser().get, again.authorization_url())
        assert page.status_code in {502, 503}
        assert "You are not signed in" in page.text
        assert "Location" not in page.headers
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]


async def test_a_clock_that_was_ahead_makes_no_token_that_lives_on(
    cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cast.gate():
        await aside(cast.app.sign_in, cast.person)
        with as_if_later(monkeypatch, 7200):
            await aside(cast.app.redeem, await aside(cast.person.go, cast.app.authorization_url()))
            assert (await aside(cast.app.ask)).status_code == 200
    async with cast.gate():
        assert (await aside(cast.app.ask)).status_code == 401
        assert error_in(await aside(cast.app.refresh)) == "invalid_grant"
