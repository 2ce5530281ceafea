"""Settings of apps: when people may let some in, and what does not go together with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatehouse.assembly.location import endpoint_at, issuer_at
from gatehouse.settings.environment import KNOWN
from gatehouse.settings.misspelt import meant
from gatehouse.tokens import places
from tests.harness.judged import faults, notes, settings_of, without_settings

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
        # The dashboard stays at the Space's own host, while apps come by PUBLIC_URL.
        ({**SPACE, "PUBLIC_URL": "http://gate.example.com"}, "PUBLIC_URL: must begin with https"),
        ({**OUTSIDE, "PUBLIC_URL": "http://gate.example.com"}, "PUBLIC_URL: must begin with https"),
        ({**SIGN_IN, "HOST": "0.0.0.0"}, "PUBLIC_URL: is missing, and SIGN_IN needs it"),
        ({**OUTSIDE, "AUTH_ISSUER": "https://gate.example.com"}, "AUTH_ISSUER: is the gate itself"),
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


@pytest.mark.parametrize(
    ("more", "issuer"),
    [
        ({}, "https://me-gate.hf.space"),
        ({"ALLOWED_HOSTS": "*.hf.space"}, "https://me-gate.hf.space"),
        ({"PUBLIC_URL": "https://gate.example.com"}, "https://gate.example.com"),
    ],
    ids=["alone", "hosts of a pattern", "another address"],
)
def test_in_a_space_apps_are_told_an_address_that_others_can_call(
    more: dict[str, str], issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(monkeypatch, {**SPACE, **more})
    assert issuer_at(settings, endpoint_at(settings, [])) == issuer
    assert settings.dashboard_origin == "https://me-gate.hf.space"


def test_on_this_machine_an_address_without_tls_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (SIGN_IN, {**SIGN_IN, "PUBLIC_URL": "http://127.0.0.1:7860"}):
        settings = settings_of(monkeypatch, given)
        assert issuer_at(settings, endpoint_at(settings, [])) == "http://127.0.0.1:7860"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**SPACE, "PEOPLE": "*"}, "so that everybody may sign in, and come in by an app"),
        (
            {**SPACE, "PUBLIC_URL": "https://gate.example.com"},
            "and people let apps in at that host",
        ),
        ({**OUTSIDE, "STATE_DB": ""}, "STATE_DB: is empty"),
    ],
)
def test_what_apps_are_hardly_meant_to_do_is_told(
    given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(words in note for note in notes(monkeypatch, given)) == 1
    off = notes(monkeypatch, {**given, "SIGN_IN_APPS": "false"})
    assert not any(words in note for note in off)


def test_a_space_whose_bucket_is_not_used_for_what_has_ended_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = tmp_path / "data"
    bucket.mkdir()
    monkeypatch.setattr(places, "SPACE_DATA", bucket)

    def told(**more: str) -> bool:
        return any(note.startswith("STATE_DB") for note in notes(monkeypatch, {**SPACE, **more}))

    assert not told()  # there is none, and the remark on tokens says so
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == bucket)
    assert told()
    assert not told(STATE_DB=str(bucket / "state.sqlite3"))
    assert not told(SIGN_IN_APPS="false")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("SIGN_IN_FOR_APPS", "SIGN_IN_APPS"),
        ("SIGNIN_APPS", "SIGN_IN_APPS"),
        ("REVOKED_BEFORE", "REVOKE_BEFORE"),
        ("REVOKE_ALL_BEFORE", "REVOKE_BEFORE"),
    ],
)
def test_names_that_are_nearly_right_are_told(name: str, setting: str) -> None:
    assert meant(name, KNOWN) == setting
