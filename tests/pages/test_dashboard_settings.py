"""The page of settings: those that differ stand apart, each says where it comes from, and every text is text."""

from __future__ import annotations

import re
from typing import NamedTuple

from gatehouse.pages.dashboard.settings_page import SettingsPage, grouped
from tests.harness.dashboard import Browser


class Row(NamedTuple):
    group: str
    name: str
    value: str
    source: str
    differs: bool
    meaning: str = ""


ROWS = [
    Row("Tokens", "MCP_AUTH_TOKEN", "set", "the environment", True),
    Row("Tokens", "QUERY_RATE", "", "default", False, "How often <b>it</b> may come."),
    Row("Places", "PORT", "7860", "default", False, "The port."),
    Row("Names", "PUBLIC_URL", "<i>x</i>", ".env", True),
]


async def test_each_setting_is_shown_once_with_where_it_comes_from() -> None:
    browser = Browser({b"/dashboard/settings": SettingsPage(lambda: ROWS)})
    answer = await browser.get("/dashboard/settings")
    assert "2 of 4 settings differ" in answer.words
    assert re.findall(r"<h2>(\w+)</h2>", answer.text) == ["Tokens", "Places", "Names"]
    for row in ROWS:
        assert answer.text.count(f"<code>{row.name}</code>") == 1
    assert "1 more, as by default" in answer.words
    assert "1, all as by default" in answer.words
    assert ">the environment<" in answer.text
    assert "&lt;i&gt;x&lt;/i&gt;" in answer.text
    assert "<b>it</b>" not in answer.text
    assert "QUERY_RATE none" in answer.words


async def test_a_program_without_settings_has_a_page() -> None:
    browser = Browser({b"/dashboard/settings": SettingsPage(list)})
    assert "No settings." in (await browser.get("/dashboard/settings")).words


def test_groups_keep_their_order_and_part_what_differs() -> None:
    groups = grouped(ROWS)
    assert [(g.name, len(g.differing), len(g.usual)) for g in groups] == [
        ("Tokens", 1, 1),
        ("Places", 0, 1),
        ("Names", 1, 0),
    ]
