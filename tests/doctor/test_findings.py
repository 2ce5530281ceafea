"""Findings: each word has its level and remedy in the documents, and nothing secret or odd reaches the screen."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING

import pytest

from gatehouse.doctor.catalogue import CATALOGUE
from gatehouse.doctor.command import tell
from gatehouse.doctor.finding import MAX_SEEN_LENGTH, Finding, Level, fine, found, without, worst
from gatehouse.doctor.report import as_json, as_text
from gatehouse.doctor.target import read_target
from gatehouse.doctor.tokens import read_tokens
from tests.harness.program import ROOT, TOKEN

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_has_each_word_with_its_level_and_remedy() -> None:
    page = (ROOT / "docs/doctor.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert {word: (level, remedy) for word, level, remedy in rows} == CATALOGUE


def test_each_word_of_the_catalogue_is_said() -> None:
    said = {
        node.value
        for path in (ROOT / "gatehouse/doctor").glob("*.py")
        if path.name != "catalogue.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    }
    assert CATALOGUE.keys() - said == set()


def test_the_worst_comes_first_and_no_cursor_moves() -> None:
    findings = [fine("good"), found("slow", "\x1b[2Jevil"), found("open", "to all")]
    lines = as_text("http://x/mcp", findings).splitlines()
    assert [line.split()[0] for line in lines if line[:1].isalpha()] == [
        *("http://x/mcp", "warning", "note", "ok")
    ]
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == "0 errors, 1 warning, 1 note, 1 ok"
    assert worst(findings) == Level.WARNING


def test_json_has_all_members_of_a_finding() -> None:
    content = json.loads(as_json("x", [Finding("ok", Level.OK, "seen", "", "way")]))
    assert content == {
        "subject": "x",
        "worst": "ok",
        "findings": [{"check": "way", "level": "ok", "word": "ok", "seen": "seen", "remedy": ""}],
    }


@pytest.mark.parametrize("secret", [TOKEN, "short"])
def test_no_secret_is_told(secret: str) -> None:
    assert secret not in without([secret, ""], f"it said {secret}!")


def test_a_long_text_of_the_servers_is_cut_and_no_half_of_a_secret_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = "a" * (MAX_SEEN_LENGTH - 10) + TOKEN + "a" * 100_000
    tell("http://x/mcp", [fine(seen)], [TOKEN], json=True)
    told = capsys.readouterr().out
    assert len(told) < 2 * MAX_SEEN_LENGTH
    assert TOKEN[:8] not in told


@pytest.mark.parametrize(
    ("url", "whole", "key"),
    [
        ("https://x.example", "https://x.example/mcp", ""),
        ("http://127.0.0.1:7860/mcp/", "http://127.0.0.1:7860/mcp/", ""),
        (
            f"https://[::1]:8443/a?key={TOKEN}&b=1".replace("+", "%2B"),
            "https://[::1]:8443/a",
            TOKEN,
        ),
        ("https://x.example:443/mcp", "https://x.example/mcp", ""),
    ],
)
def test_the_url_is_read_and_its_key_taken_off(url: str, whole: str, key: str) -> None:
    target, found_key = read_target(url)
    assert (target.url, found_key) == (whole, key)


@pytest.mark.parametrize(
    "url",
    ["x", "ftp://x", "https://", "https://u:s3cret@x/mcp", "http://x:s3cret/", "http://s3cret ä/"],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]") as refused:
        read_target(url)
    assert "s3cret" not in str(refused.value)


def test_tokens_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens"
    file.write_text("# two\n\n first \nsecond\n")
    monkeypatch.setenv("GATE_TOKEN", "third")
    assert read_tokens(str(file)) == ("first", "second")
    assert read_tokens(None) == ("third",)
    monkeypatch.setenv("SECOND_GATE_TOKEN", "fourth")
    assert read_tokens(None) == ("third", "fourth")


@pytest.mark.parametrize("text", ["", "s3cret s3cret", "s3cret\ns3cret\ns3cret", "s3crét"])
def test_a_token_file_that_is_none_is_refused_without_repeating_it(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ValueError, match="token") as refused:
        read_tokens(str(file))
    assert "s3cr" not in str(refused.value)
