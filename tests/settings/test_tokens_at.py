"""The file with named tokens: TOKENS_FILE, or the one that the dashboard makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gatehouse.settings.environment import Settings
from gatehouse.settings.notes import effects
from gatehouse.tokens import places

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
    monkeypatch.setattr(places, "SPACE_DATA", tmp_path / "data")
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


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Folders that nobody may write, root neither."""
    folders: set[Path] = set()
    access = os.access

    def asked(path: Path, mode: int) -> bool:
        return access(path, mode) and not (mode & os.W_OK and Path(path) in folders)

    monkeypatch.setattr("os.access", asked)
    return folders


class Machine(NamedTuple):
    """The folders of a container, in which the program starts in `program`, and keeps its state in `home`."""

    data: Path
    program: Path
    home: Path

    def settings(self, **given: Any) -> Settings:
        return settings(**PERSON, **{"state_db": self.home / "state.sqlite3", **SPACE, **given})


@pytest.fixture
def space(
    data: Path, tmp_path: Path, locked: set[Path], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A Space without a bucket: the folder of the program cannot be written, the home can."""
    space = Machine(data, tmp_path / "app", tmp_path / "home")
    for folder in (space.program, space.home):
        folder.mkdir()
    locked.add(space.program)
    monkeypatch.chdir(space.program)
    return space


def remarks(given: Settings) -> list[str]:
    return [each for each in effects(given) if each.startswith("TOKENS_FILE: is not set")]


def test_in_a_space_it_lies_in_the_bucket_if_one_is_mounted(space: Machine) -> None:
    space.data.write_text("no folder")
    assert space.settings().tokens_at == space.home / "tokens.toml"
    space.data.unlink()
    space.data.mkdir()
    assert space.settings().tokens_at == space.data / "tokens.toml"
    assert space.settings(space_id="").tokens_at == space.home / "tokens.toml", (
        "elsewhere that folder may be anybody's"
    )


def test_without_a_bucket_it_lies_beside_the_state_and_the_log_says_that_it_is_lost(
    space: Machine, locked: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = space.settings()
    assert given.tokens_at == space.home / "tokens.toml"
    (remark,) = remarks(given)
    assert "are gone at the next restart of the Space" in remark
    assert remarks(space.settings(space_id="")) == []
    monkeypatch.setattr("os.path.ismount", lambda folder: folder == space.home)
    assert remarks(given) == []
    space.data.mkdir()
    locked.add(space.data)
    assert space.settings().tokens_at == space.home / "tokens.toml", "it is mounted to be read only"


def test_without_a_state_it_lies_at_home(space: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(space.home))
    assert space.settings(state_db="").tokens_at == space.home / "tokens.toml"


def test_a_folder_that_everybody_may_write_gets_none_since_anybody_could_put_one_there(
    space: Machine,
) -> None:
    space.home.chmod(0o1777)
    (space.home / "tokens.toml").touch()
    assert space.settings(space_id="").tokens_at == space.program / "tokens.toml"


def test_a_file_that_is_there_goes_before_a_place_for_a_new_one(space: Machine) -> None:
    (space.program / "tokens.toml").touch()
    given = space.settings()
    assert given.tokens_at == space.program / "tokens.toml"
    assert remarks(given) == []
    space.data.mkdir()
    assert space.settings().tokens_at == space.program / "tokens.toml"


def test_the_files_of_a_space_do_not_undo_what_the_bucket_says_and_the_log_warns_of_them(
    space: Machine,
) -> None:
    space.data.mkdir()
    for folder in (space.data, space.program):
        (folder / "tokens.toml").touch()
    given = space.settings()
    assert given.tokens_at == space.data / "tokens.toml"
    (remark,) = remarks(given)
    assert f"those of {space.program / 'tokens.toml'} are not" in remark
    assert "also those that were revoked since, are good again" in remark


def test_last_uses_do_not_go_where_the_tokens_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [words for _, words in settings(**PERSON, state_db="tokens.toml").disagreements()]
    assert any("STATE_DB: is the same file" in each for each in words)
