"""The tokens file at the start: it must leave a way in, and not one for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.assembly.noted import NOTHING_NOTED
from gatehouse.assembly.start import tell_sources
from gatehouse.assembly.tokens import first_contents
from gatehouse.settings.environment import Settings
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.file import TokensError

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = '[[people]]\nmatch = "alice@example.com"\n'
SCOPES = '[scopes."mcp:write"]\n'
ISSUER = {"auth_issuer": "https://as.example", "public_url": "https://gate.example"}
OPEN = {**ISSUER, "auth_issuer": "https://accounts.google.com"}
CLOUDFLARE = {"front": "cloudflare", "front_team": "acme", "front_audience": "a" * 64}


def settings(folder: Path, text: str, given: dict[str, Any]) -> Settings:
    file = folder / "tokens.toml"
    file.write_text(text)
    return Settings(_env_file=None, tokens_file=file, **given)


@pytest.mark.parametrize(
    ("text", "given"),
    [("# nobody\n", ISSUER), (PEOPLE, ISSUER), (SCOPES, ISSUER), (PEOPLE, OPEN), (SCOPES, {**OPEN, "people": "alice"}), (PEOPLE, CLOUDFLARE)],
)  # fmt: skip
def test_with_another_way_in_the_file_needs_no_tokens(
    tmp_path: Path, text: str, given: dict[str, Any]
) -> None:
    assert first_contents(settings(tmp_path, text, given), "").tokens == ()


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        (PEOPLE, {}, "has no tokens; make one with"),
        (SCOPES, {}, "has no tokens; make one with"),
        (SCOPES, OPEN, "anybody can join that issuer"),
        ('\n[[people]]\nmatch = "alice"\n', CLOUDFLARE, "line 3: match: means nobody, since"),
        ('[[people]]\nmatch = "org:acme"\n', CLOUDFLARE, "line 2: match: means nobody, since"),
        (
            PEOPLE,
            {**ISSUER, "shared_state_url": "redis://127.0.0.1:6379/0"},
            "SHARED_STATE_URL: gates trust",
        ),
    ],
)
def test_a_file_that_lets_in_nobody_or_anybody_or_seals_nothing_ends_the_start(
    tmp_path: Path, text: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(TokensError, match=words):
        first_contents(settings(tmp_path, text, given), "")


def test_people_and_scopes_that_mean_nothing_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = "its scopes and people let nobody in"
    for given, times in (({"mcp_auth_token": "x" * 40}, 1), (ISSUER, 0)):
        caplog.clear()
        judged = settings(tmp_path, PEOPLE, given)
        tell_sources(judged, first_contents(judged, "a token"), NOTHING_NOTED)
        assert caplog.text.count(told) == times
        assert "lists anybody" not in caplog.text
    tell_sources(judged, Contents(), NOTHING_NOTED)
    assert told not in caplog.text
    assert caplog.text.count("everybody may come in") == 1
