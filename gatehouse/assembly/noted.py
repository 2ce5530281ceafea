"""The facts about the settings that are known at the start only, before secrets are taken out of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.settings.env_file import read_env_file
from gatehouse.settings.notes import read_notes
from gatehouse.settings.shown import shown_settings

if TYPE_CHECKING:
    from gatehouse.settings.environment import Settings
    from gatehouse.settings.shown import ShownSetting


class Noted(NamedTuple):
    """The facts. None of them holds a secret."""

    sources: str = ""
    """A sentence about where settings come from."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is probably not what was meant."""
    settings: tuple[ShownSetting, ...] = ()
    """All settings, if there is a dashboard to show them."""


NOTHING_NOTED = Noted()


def noted_of(settings: Settings) -> Noted:
    """The facts about these settings."""
    sources, notes = read_notes(settings)
    shown = shown_settings(settings, read_env_file(Path(".env"))) if settings.has_dashboard else ()
    return Noted(sources, tuple(notes), tuple(shown))
