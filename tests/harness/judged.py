"""Settings of an environment, and how they are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.settings.environment import KNOWN, Settings, SettingsError, load_settings
from gatehouse.settings.notes import read_notes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest


def without_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take all settings out of the environment, and what a Space gives; go to a folder without `.env`."""
    for name in {*KNOWN, *(each.upper() for each in Settings.model_fields)}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)


def faults(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> list[str]:
    """The faults of these settings; the environment is then as before."""
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            load_settings()
        except SettingsError as error:
            return error.faults
    return []


def notes(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> list[str]:
    """The remarks on these settings, which must be good; the environment is then as before."""
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return read_notes(load_settings())[1]


def settings_of(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    """These settings, which must be good; the environment is then as before."""
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return load_settings()
