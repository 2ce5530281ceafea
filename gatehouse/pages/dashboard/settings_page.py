"""The page of settings: which are set, from where, and which are as they are by default. It changes none.

The rows are texts already: this page never holds a secret, and so cannot show one.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.visit import Visit


class SettingRow(Protocol):
    """One setting, as texts, which the room of settings makes."""

    @property
    def group(self) -> str:
        """The heading under which it stands. Rows of one group come one after another."""

    @property
    def name(self) -> str:
        """Its name, in upper case."""

    @property
    def meaning(self) -> str:
        """Its meaning, in a sentence or more."""

    @property
    def value(self) -> str:
        """The value as it would be written; of a secret, only that there is one; empty if there is none."""

    @property
    def source(self) -> str:
        """Where the value comes from."""

    @property
    def differs(self) -> bool:
        """True if it is not as it is by default."""


class SettingsGroup(NamedTuple):
    """The settings under one heading: those that differ from the default, and the others."""

    name: str
    differing: list[SettingRow]
    usual: list[SettingRow]


class SettingsPage:
    """The view. `rows` gives all settings, each time anew."""

    def __init__(self, rows: Callable[[], Sequence[SettingRow]]) -> None:
        self._rows = rows

    async def __call__(self, visit: Visit) -> Reply:
        rows = self._rows()
        return await visit.page(
            "settings.html",
            groups=list(grouped(rows)),
            differing=sum(row.differs for row in rows),
            total=len(rows),
        )


def grouped(rows: Sequence[SettingRow]) -> list[SettingsGroup]:
    """The rows under their headings, those that differ apart."""
    return [
        SettingsGroup(
            name,
            [row for row in of_group if row.differs],
            [row for row in of_group if not row.differs],
        )
        for name, found in groupby(rows, key=lambda row: row.group)
        for of_group in [list(found)]
    ]
