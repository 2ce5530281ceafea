"""Settings of apps: when people may let some in, and what does not go together with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.harness.judged import faults, settings_of, without_settings

if TYPE_CHECKING:
    from pathlib import Path

SIGN_IN = {
    "SIGN_IN": "https://sso.example",
    "SIGN_IN_CLIENT_ID": "gate",
    "SIGN_IN_CLIENT_SECRET": "S3cret-of-the-client-with-40-characters!",
    "ADMINS": "alice@example.com",
}
OUTSIDE = {**SIGN_IN, "HOST": "0.0.0.0", "PUBLIC_URL": "https://gate.example.com"}
SPACE = {
    "SPACE_ID": "me/gate",
    "SPACE_HOST": "me-gate.hf.space",
    "SPACE_CREATOR_USER_ID": "5f0c1d",
    "OAUTH_CLIENT_ID": "1d5f",
    "OAUTH_CLIENT_SECRET": "S3cret-of-the-space-with-38-characters",
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
    "SIGN_IN": "huggingface",
}
ISSUER = {"AUTH_ISSUER": "https://as.example"}
FRONT = {"FRONT": "cloudflare", "FRONT_AUDIENCE": "a1b2c3", "FRONT_TEAM": "acme"}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


@pytest.mark.parametrize("given", [SIGN_IN, OUTSIDE, SPACE], ids=["here", "outside", "space"])
def test_where_people_sign_in_they_may_let_apps_in(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(monkeypatch, given)
    assert settings.lets_apps_in
    assert settings.shows_discovery
    assert settings.has_other_ways_in
    assert not settings.believes_others
    assert not settings.makes_token
    off = settings_of(monkeypatch, {**given, "SIGN_IN_APPS": "false"})
    assert not off.lets_apps_in
    assert not off.shows_discovery


@pytest.mark.parametrize("others", [ISSUER, FRONT], ids=["issuer", "front"])
def test_beside_another_authorization_server_or_a_required_front_they_do_not(
    others: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not settings_of(monkeypatch, {**OUTSIDE, **others}).lets_apps_in


def test_beside_a_front_that_nobody_needs_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**OUTSIDE, **FRONT, "FRONT_REQUIRED": "false", "SIGN_IN_APPS": "true"}
    assert settings_of(monkeypatch, given).lets_apps_in


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**OUTSIDE, **ISSUER, "SIGN_IN_APPS": "true"}, "SIGN_IN_APPS: excludes AUTH_ISSUER"),
        ({**OUTSIDE, **FRONT, "SIGN_IN_APPS": "true"}, "SIGN_IN_APPS: excludes FRONT_REQUIRED"),
        (
            {"SIGN_IN_APPS": "true"},
            "SIGN_IN_APPS: people let apps in by signing in, and nobody can",
        ),
        ({**OUTSIDE, "SIGN_IN_APPS": "perhaps"}, "SIGN_IN_APPS: "),
        ({"REVOKE_BEFORE": "2026-11-27"}, "REVOKE_BEFORE: means nothing without SIGN_IN"),
        ({**OUTSIDE, "REVOKE_BEFORE": "2999-01-01"}, "REVOKE_BEFORE: is still to come"),
        ({**OUTSIDE, "REVOKE_BEFORE": "yesterday"}, "REVOKE_BEFORE: must be a day"),
        ({**OUTSIDE, "REVOKE_BEFORE": "2026-13-27"}, "REVOKE_BEFORE: must be a day"),
    ],
)
def test_what_does_not_go_together_is_told(
    given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = faults(monkeypatch, given)
    assert any(each.startswith(words) for each in told), told


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-27", datetime(2026, 11, 27, tzinfo=UTC)),
        ("2026-11-27T18:00:00Z", datetime(2026, 11, 27, 18, tzinfo=UTC)),
        ("2026-11-27 18:00", datetime(2026, 11, 27, 18, tzinfo=UTC)),
        (
            " 2026-11-27t20:00:00.5+02:00 ",
            datetime(2026, 11, 27, 18, tzinfo=UTC) + timedelta(seconds=0.5),
        ),
    ],
)
def test_a_moment_is_read_as_people_write_it(
    text: str, moment: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(
        monkeypatch, {**SPACE, "REVOKE_BEFORE": text.replace("2026-11", "2025-11")}
    )
    assert settings.revoke_before == moment.replace(year=2025)
    assert settings.ended_before == moment.replace(year=2025).timestamp()


def test_without_one_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch, SPACE).ended_before == 0
