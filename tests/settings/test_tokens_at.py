"""The file with named tokens: TOKENS_FILE, or the one that the dashboard makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gatehouse.settings import sign_in
from gatehouse.settings.environment import Settings

PERSON: dict[str, Any] = {
    "sign_in": "https://id.example",
    "sign_in_client_id": "gate",
    "sign_in_client_secret": "a secret of the client",
    "public_url": "https://gate.example",
    "admins": "sub:1",
}
SPACE: dict[str, Any] = {"space_id": "me/gate", "space_host": "me-gate.hf.space"}


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Space where a bucket may be mounted."""
    monkeypatch.setattr(sign_in, "SPACE_DATA", tmp_path / "data")
    return tmp_path / "data"


def test_without_a_dashboard_only_the_setting_names_a_file(tmp_path: Path) -> None:
    assert settings().tokens_at is None
    assert settings(**{**PERSON, "admins": ""}).tokens_at is None
    assert not settings().has_principals
    assert settings(tokens_file=tmp_path / "mine").tokens_at == tmp_path / "mine"


def test_the_dashboard_has_one_in_the_folder_of_the_start_wherever_a_server_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = settings(**PERSON)
    assert (given.tokens_at, given.has_principals) == (tmp_path / "tokens.toml", True)
    monkeypatch.chdir("/")
    assert given.tokens_at == tmp_path / "tokens.toml"


def test_a_file_that_is_named_is_used_by_the_dashboard_too(tmp_path: Path) -> None:
    assert settings(**PERSON, tokens_file=tmp_path / "mine").tokens_at == tmp_path / "mine"


def test_in_a_space_it_lies_in_the_bucket_if_one_is_mounted(data: Path) -> None:
    here = Path("tokens.toml").absolute()
    assert settings(**PERSON, **SPACE).tokens_at == here
    data.write_text("no folder")
    assert settings(**PERSON, **SPACE).tokens_at == here
    data.unlink()
    data.mkdir()
    assert settings(**PERSON, **SPACE).tokens_at == data / "tokens.toml"
    assert settings(**PERSON).tokens_at == here, "only a Space has such a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_the_program_may_not_be_changed_a_space_has_it_at_home_but_for_one_that_it_brings(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "app"
    for folder in (data, program):
        folder.mkdir(mode=0o500)
    monkeypatch.chdir(program)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings(**PERSON, **SPACE).tokens_at == tmp_path / "tokens.toml"
    assert settings(**PERSON).tokens_at == program / "tokens.toml"
    program.chmod(0o700)
    (program / "tokens.toml").touch()
    program.chmod(0o500)
    assert settings(**PERSON, **SPACE).tokens_at == program / "tokens.toml"


def test_last_uses_do_not_go_where_the_tokens_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [words for _, words in settings(**PERSON, state_db="tokens.toml").disagreements()]
    assert any("STATE_DB: is the same file" in each for each in words)
