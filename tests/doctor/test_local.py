"""The doctor's look at this machine: each fault has its word."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from gatehouse import advice
from gatehouse.doctor import local
from gatehouse.doctor.finding import Finding
from gatehouse.settings.environment import Settings
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def words(findings: Iterable[Finding]) -> set[str]:
    return {finding.word for finding in findings if finding.level}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests stand in a folder of their own, and nothing looks at ports: that takes a socket."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "taken", lambda *_: "")


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]


def test_a_machine_in_order_has_no_fault() -> None:
    assert words(local.examine_machine()) == set()


def test_faults_and_notes_of_settings_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_FILE", "x")
    monkeypatch.setenv("PORT", "many")
    (tmp_path / ".env").write_text(f"MCP_AUTH_TOKEN={TOKEN}\n")
    (tmp_path / ".env").chmod(0o644)
    findings = local.examine_machine()
    assert words(findings) == {"setting-wrong", "setting-odd", "file-readable"}
    assert TOKEN not in str(findings)


def test_an_env_file_without_secrets_may_be_read_by_others(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TOKENS_FILE=tokens.toml\nMCP_AUTH_TOKEN=\n")
    file.chmod(0o644)
    assert words(local.files(settings())) == set()
    file.write_text("TOKENS_FILE=tokens.toml\nTHEIR_API_KEY=x\n")
    assert words(local.files(settings())) == {"file-readable"}


def test_a_weak_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_AUTH_TOKEN", "a" * 40)
    assert words(local.settings_in_force()) == {"setting-odd"}


def test_files_that_others_may_change_are_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("")
    file.chmod(0o666)
    there = settings(tokens_file=file, state_db=tmp_path / "nowhere/state")
    assert words(local.files(there)) == {"file-writable", "state-unwritable"}
    file.chmod(0o600)
    file.write_text("nonsense")
    assert words(local.files(settings(tokens_file=file))) == {"tokens-wrong"}


@pytest.mark.parametrize(("answers", "word"), [(True, "gate-running"), (False, "port-taken")])
def test_a_taken_port_is_told(monkeypatch: pytest.MonkeyPatch, answers: bool, word: str) -> None:
    monkeypatch.setattr(local, "taken", lambda *_: "Address already in use")
    monkeypatch.setattr(local, "is_gate", lambda *_: answers)
    assert words(local.ports(settings())) == {word}


def changed_pins(path: Path) -> None:
    path.write_text('trio==0.1 ; python_version >= "3" \\\n    --hash=sha256:0\nnot-there==1.0\n')


def old_python(path: Path) -> None:
    sys.version_info = (3, 9, 1)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [(changed_pins, {"package-differs", "package-missing"}), (old_python, {"python-unfit"})],
)
def test_versions_that_differ_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    expected: set[str],
) -> None:
    monkeypatch.setattr(sys, "version_info", sys.version_info)
    monkeypatch.setattr(local, "PINS", tmp_path / "requirements.txt")
    spoil(tmp_path / "requirements.txt")
    assert words(local.versions(settings())) == expected


def test_a_server_that_is_not_there_and_a_full_disk_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert words(local.server(settings(mcp_app="not_there.at_all:mcp"))) == {"server-missing"}
    assert words(local.server(settings(mcp_app=""))) == set()
    monkeypatch.setattr(local, "MIN_FREE_MIB", 10**9)
    assert words(local.disk(settings())) == {"disk-low"}


def test_a_clock_before_the_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert words(local.clock(settings())) == {"clock-behind"}


def test_the_pins_are_those_of_this_program() -> None:
    assert local.PINS == advice.ROOT / "requirements.txt"
