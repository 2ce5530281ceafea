"""`python run.py tokens`: the file it leaves behind, and what it says, shows and never shows."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.commands.durations import in_words, parse_duration
from gatehouse.commands.parser import parser, tokens_command
from gatehouse.commands.token_table import as_json, as_table, hints
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.tokens.editor import HEADER, NotChangedError, add, revoke, rotate
from gatehouse.tokens.last_use import BEGAN, write_last_use
from gatehouse.tokens.reader import (
    VALUE_PATTERN,
    Token,
    TokensError,
    TokenValue,
    digest_of,
    load_tokens,
)
from tests.harness.program import ROOT
from tests.harness.token_files import Written, token_files

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Ended = subprocess.CompletedProcess[str]
SECRET = f"mcpgate_{'hunter2' * 6}"


def value(number: int = 0, **times: Any) -> TokenValue:
    return TokenValue(digest_of(f"value {number}"), **times)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


BOTH = f"""\
# Who may come in.

# --- people ---

[tokens.alice]   # since 2026
note = "her laptop"    # not the old one

# the first one
[[tokens.alice.values]]
digest = "sha256:{"a" * 64}"
created = 2026-01-01T00:00:00Z
# the second one
[[tokens.alice.values]]
digest = "sha256:{"b" * 64}"
expires = 2027-01-01T00:00:00Z   # with her contract

# Bob is away in May.
[tokens.bob]

[[tokens.bob.values]]
digest = "sha256:{"c" * 64}"

# The end.
"""


# The file


def test_adding_puts_a_table_at_the_end(path: Path) -> None:
    path.write_text(BOTH)
    token = Token(
        "carol",
        (value(created=NOW, not_before=NOW + DAY, expires=NOW + 2 * DAY),),
        Grants(tools=("list_*", "get"), prompts=()),
        "60/min",
        LANES,
        'a "phone"\n',
    )
    add(path, token)
    assert (
        path.read_text()
        == f"""\
{BOTH}
[tokens.carol]
note = "a \\"phone\\"\\n"
tools = ["list_*", "get"]
prompts = []
rate = "60/min"
lanes = ["header", "query"]

[[tokens.carol.values]]
digest = "sha256:{digest_of("value 0").hex()}"
created = 2026-11-24T12:00:00Z
not_before = 2026-11-25T12:00:00Z
expires = 2026-11-26T12:00:00Z
"""
    )
    assert load_tokens(path)[-1] == token


def test_adding_makes_a_missing_file_for_its_owner_only(path: Path) -> None:
    add(path, Token("alice", (value(created=NOW),)))
    assert path.read_text().startswith("# The named tokens of the gate")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_tokens(path) == (Token("alice", (value(created=NOW),)),)


def test_revoking_takes_out_a_table_with_its_values_and_leaves_the_other_comments(
    path: Path,
) -> None:
    path.write_text(BOTH)
    revoke(path, "alice")
    before, after = BOTH.split("\n[tokens.alice]")[0], BOTH[BOTH.index("\n# Bob") :]
    assert path.read_text() == before + after


def test_rotating_ends_the_old_values_and_adds_one(path: Path) -> None:
    path.write_text(BOTH)
    rotate(path, "alice", value(created=NOW), now=NOW, end=NOW + 7 * DAY)
    first, second = "created = 2026-01-01T00:00:00Z\n", "expires = 2027-01-01T00:00:00Z   # with"
    assert path.read_text() == BOTH.replace(
        first, first + "expires = 2026-12-01T12:00:00Z\n"
    ).replace(second, "expires = 2026-12-01T12:00:00Z   # with").replace(
        "contract\n",
        f'contract\n\n[[tokens.alice.values]]\ndigest = "sha256:{value().digest.hex()}"\n'
        "created = 2026-11-24T12:00:00Z\n",
    )


@pytest.mark.parametrize(
    ("times", "overlap", "then"),
    [
        ({}, 7 * DAY, {"expires": NOW + 7 * DAY}),
        ({}, 0 * DAY, {"expires": NOW}),
        ({"expires": NOW + 8 * DAY}, 7 * DAY, {"expires": NOW + 7 * DAY}),
        ({"expires": NOW + 6 * DAY}, 7 * DAY, {"expires": NOW + 6 * DAY}),
        ({"expires": NOW}, 7 * DAY, None),
        ({"expires": NOW - DAY}, 0 * DAY, None),
        ({"not_before": NOW + DAY}, 7 * DAY, {"not_before": NOW + DAY, "expires": NOW + 7 * DAY}),
        ({"not_before": NOW + 7 * DAY}, 7 * DAY, None),
        ({"not_before": NOW}, 0 * DAY, None),
    ],
)
def test_after_the_overlap_there_is_only_the_new_value(
    path: Path, times: dict[str, datetime], overlap: timedelta, then: dict[str, datetime] | None
) -> None:
    add(path, Token("alice", (value(1, **times),)))
    changed = rotate(path, "alice", value(2, created=NOW), now=NOW, end=NOW + overlap)
    left = () if then is None else (value(1, **then),)
    assert changed.values == (*left, value(2, created=NOW))
    assert load_tokens(path) == (changed,)


def test_one_value_can_be_revoked_and_the_last_one_only_with_its_name(path: Path) -> None:
    path.write_text(BOTH)
    revoke(path, "alice", "aaaaaaaa")
    start, end = BOTH.index("[[tokens.alice"), BOTH.index("# the second")
    assert path.read_text() == BOTH[:start] + BOTH[end:]
    with pytest.raises(NotChangedError, match=r"python run\.py tokens revoke alice$"):
        revoke(path, "alice", "BBBBBBBB")


def test_a_value_id_must_be_of_one_value(path: Path) -> None:
    path.write_text(BOTH.replace("b" * 64, "a" * 63 + "b"))
    with pytest.raises(NotChangedError, match="two values begin so"):
        revoke(path, "alice", "aaaaaaaa")
    with pytest.raises(NotChangedError, match="has no such value; it has: aaaaaaaa, aaaaaaaa"):
        revoke(path, "alice", "cccccccc")
    revoke(path, "alice", "a" * 63 + "b")


@given(
    written=token_files(only_tables=True), data=st.data(), newline=st.sampled_from(["\n", "\r\n"])
)
@settings(max_examples=60)
def test_a_change_leaves_every_line_that_it_is_not_about(
    written: Written, data: st.DataObject, newline: str
) -> None:
    # So that each line can be told from the others.
    written.lines = [(owner, f"{line} # {at}") for at, (owner, line) in enumerate(written.lines)]
    text = written.text.replace("\n", newline)
    name = data.draw(st.sampled_from(["nobody", *(token.name for token in written.tokens)]))
    others = [token for token in written.tokens if token.name != name]
    their_lines = [line for owner, line in written.lines if owner != name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.toml"
        path.write_bytes(text.encode())
        if name == "nobody":
            add(path, Token(name, (value(1),)))
            assert path.read_bytes().startswith(text.encode())
        rotate(path, name, value(2), now=NOW, end=NOW + DAY)
        lines = path.read_bytes().decode().split(newline)
        assert [line for line in lines if line in their_lines] == their_lines
        assert [token for token in load_tokens(path) if token.name != name] == others
        revoke(path, name)
        left = "".join(line + newline for line in their_lines)
        assert path.read_bytes().decode() == (left if left.strip() else HEADER)


@pytest.mark.parametrize(
    "text",
    [
        f"""tokens.alice.values = [{{digest = "sha256:{"a" * 64}"}}]""",
        f"""[tokens]\nalice = {{values = [{{digest = "sha256:{"a" * 64}"}}]}}""",
        f"""tokens = {{alice = {{values = [{{digest = "sha256:{"a" * 64}"}}]}}}}""",
    ],
)
def test_what_is_written_inline_is_left_to_be_changed_by_hand(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(TokensError, match="change this one by hand"):
        rotate(path, "alice", value(), now=NOW, end=NOW)
    assert path.read_text() == text


def test_a_file_that_is_faulty_is_left_alone(path: Path) -> None:
    path.write_text("[tokens.alice]\n")
    with pytest.raises(TokensError, match="line 1: values: there are none"):
        add(path, Token("bob", (value(),)))
    assert path.read_text() == "[tokens.alice]\n"


def test_nothing_is_written_that_would_be_refused(path: Path) -> None:
    path.write_text(BOTH)
    for wrong in (
        Token("x y", (value(),)),
        Token("carol", ()),
        Token("carol", (TokenValue(b"\xcc" * 32),)),
        Token("carol", (value(not_before=NOW, expires=NOW),)),
        Token("carol", (value(),), note=SECRET),
    ):
        with pytest.raises(TokensError):
            add(path, wrong)
    with pytest.raises(TokensError, match="would become larger"):
        add(path, Token("carol", (value(),), note="x" * 2**20))
    assert path.read_text() == BOTH


def test_a_last_line_without_an_end_is_no_trouble(path: Path) -> None:
    path.write_text(BOTH.rstrip())
    add(path, Token("carol", (value(),)))
    assert path.read_text().startswith(BOTH)
    assert len(load_tokens(path)) == 3


def test_mode_and_link_stay_as_they_are(path: Path) -> None:
    there = path.parent / "there"
    there.mkdir()
    real = there / "real.toml"
    real.write_text(BOTH)
    real.chmod(0o640)
    path.symlink_to("there/real.toml")
    revoke(path, "bob")
    assert path.is_symlink()
    assert [token.name for token in load_tokens(real)] == ["alice"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(file.name for file in there.iterdir()) == ["real.toml", "real.toml.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays_the_same(path: Path) -> None:
    path.write_text(BOTH)
    os.chown(path, 12345, 54321)
    revoke(path, "bob")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_missing_folder_is_a_fault_in_words(path: Path) -> None:
    with pytest.raises(TokensError, match="its folder does not exist; make that first"):
        add(path.parent / "no" / "tokens.toml", Token("alice", (value(),)))


def test_what_the_disk_refuses_is_a_fault_in_words_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_text(BOTH)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TokensError, match=r"cannot be changed \(No space left on device\)"):
        revoke(path, "bob")
    assert path.read_text() == BOTH
    assert not path.with_name("tokens.toml.new").exists()


def script(code: str, path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Python code that finds `path`, `arguments` and all of the token file's functions."""
    start = (
        "import sys, os, signal; from pathlib import Path;"
        "from gatehouse.tokens.editor import *; from gatehouse.tokens.reader import *;"
        "path, *arguments = Path(sys.argv[1]), *sys.argv[2:]\n"
    )
    return subprocess.Popen([sys.executable, "-c", start + code, path, *arguments], cwd=ROOT)


def test_two_programs_at_once_lose_nothing(path: Path) -> None:
    code = """
for number in range(20):
    add(path, Token(f"{arguments[0]}{number}", (TokenValue(digest_of(make_value())),)))
"""
    both = [script(code, path, name) for name in ("a", "b")]
    assert [program.wait(20) for program in both] == [0, 0]
    names = {token.name for token in load_tokens(path)}
    assert names == {f"{name}{number}" for name in ("a", "b") for number in range(20)}


@pytest.mark.parametrize("call", ["os.fdopen", "os.fchmod", "os.fsync", "Path.replace"])
def test_a_program_that_is_killed_leaves_the_whole_old_file(path: Path, call: str) -> None:
    path.write_text(BOTH)
    code = f"""
{call} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
revoke(path, "alice")
"""
    assert script(code, path).wait(20) == -signal.SIGKILL
    assert path.read_text() == BOTH
    revoke(path, "bob")  # what the killed one has left behind is not in the way
    assert not path.with_name("tokens.toml.new").exists()


def test_a_program_that_is_killed_later_leaves_the_whole_new_file(path: Path) -> None:
    path.write_text(BOTH)
    code = """
def replace(*paths, replace=Path.replace):
    replace(*paths)
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = replace
revoke(path, "alice")
"""
    assert script(code, path).wait(20) == -signal.SIGKILL
    assert [token.name for token in load_tokens(path)] == ["bob"]


# The command line


class Tool:
    """The `tokens` command with its own file, and what it has said."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Run it; what went to stdout and to stderr."""
        try:
            options = parser().parse_args(["tokens", *arguments])
            ended = tokens_command(options, self.path, self.path.with_name("state.sqlite3"))
        except SystemExit as error:
            ended = int(error.code or 0)
        said = self._capsys.readouterr()
        assert ended == status, said.err
        return said.out, said.err


@pytest.fixture
def tool(path: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(path, capsys)


def test_a_value_is_shown_once_alone_on_stdout_and_stored_nowhere(tool: Tool) -> None:
    for arguments in (["add", "alice"], ["rotate", "alice"]):
        out, err = tool(*arguments)
        assert re.fullmatch(r"mcpgate_[A-Za-z0-9_-]{43}\n", out)
        made = out.strip()
        assert VALUE_PATTERN.search(err) is None
        for word in ("keep it", "not stored", "Authorization: Bearer VALUE", "X-API-Key: VALUE"):
            assert word in err
        assert load_tokens(tool.path)[0].values[-1].digest == digest_of(made)
        assert all(made.encode() not in file.read_bytes() for file in tool.path.parent.iterdir())
        assert made not in "".join(tool("list")) + "".join(tool("list", "--json"))


def test_what_a_token_may_do_is_said_when_it_is_made(tool: Tool) -> None:
    options = ["--tools", "list_*, get", "--tools", "put", "--rate", "60/min", "--query"]
    times = ["--not-before", "12h", "--expires", "2126-11-24T12:00:00+02:00"]
    _, err = tool("add", "alice", *options, *times, "--note", "her laptop")
    assert "resources and prompts are refused altogether" in err
    assert "URLs show up in logs" in err
    (alice,) = load_tokens(tool.path)
    assert alice.grants == Grants(tools=("list_*", "get", "put"))
    assert (alice.rate, alice.lanes, alice.note) == ("60/min", LANES, "her laptop")
    (made,) = alice.values
    assert made.created is not None
    assert made.not_before == made.created + timedelta(hours=12)
    assert made.expires == datetime(2126, 11, 24, 10, tzinfo=UTC)


def test_a_token_without_options_is_made_without_warnings(tool: Tool) -> None:
    _, err = tool("add", "alice")
    assert "refused" not in err
    assert "URL" not in err


def test_rotating_says_how_long_the_old_value_is_good_for(tool: Tool) -> None:
    tool("add", "alice")
    old = load_tokens(tool.path)[0].values[0].id
    assert f"The old value {old} expires in 7 days." in tool("rotate", "alice")[1]
    assert (
        f"The old value {old} is not valid any more."
        in tool("rotate", "alice", "--overlap", "0s", "--expires", "2w")[1]
    )
    ends = [value.expires is not None for value in load_tokens(tool.path)[0].values]
    assert ends == [True, True, True]


def test_revoking_takes_the_name_away(tool: Tool) -> None:
    tool("add", "alice")
    tool("add", "bob")
    _, err = tool("revoke", "alice")
    assert "alice: the token is revoked" in err
    assert [token.name for token in load_tokens(tool.path)] == ["bob"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["add", "bob"], 1, "python run.py tokens rotate bob"),
        (["rotate", "eve"], 1, "eve: there is no such name"),
        (["revoke", "eve"], 1, "eve: there is no such name"),
        (["revoke", "bob", "--value", "00000000"], 1, "has no such value; it has: cccccccc"),
        (["revoke", "bob", "--value", "cccccccc"], 1, "has only this value"),
        (["add", "default"], 2, "default is the name of MCP_AUTH_TOKEN"),
        (["add", "a b"], 2, "a name has 1 to 64 of"),
        (["add", "eve", "--expires", "soon"], 2, "must be a span from now, such as 12h, 30d"),
        (["add", "eve", "--expires", "2126-11-24"], 2, "a date and time such as"),
        (["add", "eve", "--expires", "2126-11-24T12:00:00"], 2, "a date and time such as"),
        (["add", "eve", "--expires", "2025-11-24T12:00:00Z"], 2, "lies in the past"),
        (["add", "eve", "--expires", "1d", "--not-before", "2d"], 2, "before --not-before"),
        (["add", "eve", "--expires", "999999999s", "--not-before", "999999w"], 2, "too far away"),
        (["rotate", "bob", "--expires", "0s"], 2, "lies in the past"),
        (["rotate", "bob", "--overlap", "7"], 2, "write a number and a unit, such as 90s, 15m"),
        (["rotate", "bob", "--overlap", "999999w"], 2, "--overlap: is too far away"),
        (["add", "eve", "--rate", "fast"], 2, "must be a rate such as 60/min"),
        (["add", "eve", "--note", "a\x1b[2J"], 2, "printable characters only"),
        (["add", "eve", "--tools", "a\n"], 2, "printable characters only"),
        (["revoke", "bob", "--value", "ccc"], 2, "must be the id of a value, 8 hex digits"),
        ([], 2, "the following arguments are required: COMMAND"),
        (["show"], 2, "invalid choice"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_changes_nothing(
    tool: Tool, arguments: list[str], status: int, words: str
) -> None:
    tool.path.write_text(BOTH)
    out, err = tool(*arguments, status=status)
    assert out == ""
    assert words in err
    assert tool.path.read_text() == BOTH


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", SECRET],
        ["rotate", SECRET],
        ["revoke", SECRET],
        ["revoke", "bob", "--value", SECRET],
        ["add", "eve", "--note", f"it is {SECRET}"],
        ["add", "eve", "--tools", SECRET],
        ["add", "eve", "--rate", SECRET],
        ["add", "eve", "--expires", SECRET],
        ["rotate", "bob", "--overlap", SECRET],
        ["add", "eve", SECRET],
        ["add", "eve", f"--{SECRET}"],
        [SECRET],
    ],
)
def test_a_value_given_by_mistake_is_refused_and_not_repeated(
    tool: Tool, arguments: list[str]
) -> None:
    _, err = tool(*arguments, status=2)
    assert "hunter2" not in err
    assert not tool.path.exists()


def test_without_a_tokens_file_it_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokens_command(parser().parse_args(["tokens", "list"]), None, None) == 2
    assert "put TOKENS_FILE=tokens.toml into .env" in capsys.readouterr().err


def test_a_faulty_file_is_told_with_its_lines_and_status_2(tool: Tool) -> None:
    tool.path.write_text("[tokens.alice]\n[tokens.bob]\n")
    for arguments in (["list"], ["add", "eve"], ["rotate", "bob"], ["revoke", "bob"]):
        _, err = tool(*arguments, status=2)
        assert [line.partition(": ")[0] for line in err.splitlines()] == [
            f"{tool.path}, line 1",
            f"{tool.path}, line 2",
        ]


def test_a_missing_file_is_told_with_the_command_that_makes_it(tool: Tool) -> None:
    for arguments in (["list"], ["rotate", "bob"], ["revoke", "bob"]):
        assert "python run.py tokens add NAME" in tool(*arguments, status=2)[1]


def test_ctrl_c_ends_it_without_a_traceback(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gatehouse.tokens.editor.add", interrupt)
    assert tool("add", "alice", status=130) == ("", "")


def test_help_says_what_the_program_is_and_how_to_use_it(tool: Tool) -> None:
    whole = parser().format_help()
    assert parser().parse_args([]).command is None
    for words in ("authenticating reverse proxy", ".env", "README.md", "tokens add alice"):
        assert words in whole
    assert "TOKENS_FILE" in tool("--help")[0]
    for action in ("add", "list", "rotate", "revoke"):
        assert action in tool("--help")[0]
        assert f"usage: python run.py tokens {action}" in tool(action, "--help")[0]


# What a list shows

LISTED = (
    Token(
        "alice",
        (
            value(1, created=NOW - 30 * DAY, expires=NOW + 12 * DAY),
            value(2, created=NOW - 10 * DAY),
        ),
        Grants(tools=("list_*", "get"), resources=()),
        "60/min",
        LANES,
        "her laptop\x1b[2J\u202e",
    ),
    Token("bob", (value(3, expires=NOW - 3 * DAY), value(4, not_before=NOW + DAY))),
)


def test_the_table_has_a_line_for_each_value() -> None:
    used = {value(1).digest: NOW.timestamp() - 7200, value(2).digest: NOW.timestamp()}
    ids = [value(number).id for number in range(5)]
    rows = [re.split(r" {2,}", row) for row in as_table(LISTED, used, NOW).splitlines()]
    rights = ["header, query", "tools list_*, get", "60/min", "her laptop\\x1b[2J\\u202e"]
    assert rows == [
        ["NAME", "VALUE", "AGE", "VALID", "LAST USE", "LANES", "FOR", "RATE", "NOTE"],
        ["alice", ids[1], "30 days", "expires in 12 days", "2 hours ago", *rights],
        ["alice", ids[2], "10 days", "does not expire", "0 seconds ago"],
        ["bob", ids[3], "unknown", "expired 3 days ago", "never", "header", "everything", "none"],
        ["bob", ids[4], "unknown", "begins in 24 hours, does not expire", "never"],
    ]


def test_without_a_record_the_last_use_is_unknown() -> None:
    assert as_table(LISTED, {}, NOW).count("unknown") == 6
    assert list(hints(LISTED[:1], {}, NOW)) == []


def ago(days: float) -> float:
    return (NOW - days * DAY).timestamp()


@pytest.mark.parametrize(
    ("old", "old_used", "new_used", "hint"),
    [
        ({"created": NOW - 30 * DAY}, 9, 1, "old value {} unused for 9 days, safe to drop"),
        ({"created": NOW - 30 * DAY}, 7, 0, "old value {} unused for 7 days, safe to drop"),
        ({"created": NOW - 30 * DAY}, None, 1, "old value {} never used, safe to drop"),
        ({}, 9, 1, "old value {} unused for 9 days, safe to drop"),
        ({"expires": NOW - 2 * DAY}, 1, 3, "value {} expired 2 days ago, safe to drop"),
        ({"created": NOW - 30 * DAY}, 6.9, 1, ""),
        ({"created": NOW - 6 * DAY}, None, 1, ""),
        ({"created": NOW - 30 * DAY}, 9, None, ""),
        ({"created": NOW - 30 * DAY}, 8, 9, ""),
        ({"created": NOW - 1 * DAY}, 9, 1, ""),
        ({}, None, 1, ""),
    ],
)
def test_a_value_that_can_go_is_named_with_the_command_for_it(
    old: dict[str, datetime], old_used: float | None, new_used: float | None, hint: str
) -> None:
    token = Token("alice", (value(1, **old), value(2, created=NOW - 5 * DAY)))
    used = {0: old_used, 1: new_used}
    last_use = {
        token.values[number].digest: ago(days) for number, days in used.items() if days is not None
    }
    last_use[BEGAN] = ago(20)
    command = f"python run.py tokens revoke alice --value {value(1).id}"
    wanted = [f"alice: {hint.format(value(1).id)}: {command}"] if hint else []
    assert list(hints([token], last_use, NOW)) == wanted


def test_a_value_that_may_have_been_used_before_the_record_began_is_not_called_unused() -> None:
    old, new = value(1, created=NOW - 30 * DAY), value(2, created=NOW - 5 * DAY)
    last_use = {new.digest: ago(1), BEGAN: ago(6)}
    assert list(hints([Token("alice", (old, new))], last_use, NOW)) == []
    assert "unknown" in as_table([Token("alice", (old, new))], last_use, NOW)


def test_a_name_with_nothing_left_is_to_be_renewed_or_dropped() -> None:
    token = Token("alice", (value(1, expires=NOW), value(2, expires=NOW - DAY)))
    (hint,) = hints([token], {}, NOW)
    assert "python run.py tokens rotate alice" in hint
    assert hint.endswith("python run.py tokens revoke alice")


def test_the_list_for_programs_has_the_same() -> None:
    used = {value(1).digest: NOW.timestamp()}
    listed = json.loads(as_json(LISTED, used, NOW))
    alice, bob = listed["tokens"]
    assert alice["values"][0] == {
        "id": value(1).id,
        "valid": True,
        "created": "2026-10-25T12:00:00Z",
        "not_before": None,
        "expires": "2026-12-06T12:00:00Z",
        "last_use": "2026-11-24T12:00:00Z",
    }
    assert (alice["tools"], alice["prompts"], bob["tools"]) == (["list_*", "get"], [], None)
    assert [each["valid"] for each in bob["values"]] == [False, False]
    assert bob["values"][0]["last_use"] == "never"
    assert listed["hints"] == list(hints(LISTED, used, NOW))


def test_the_list_is_made_from_the_file_and_the_record_of_uses(tool: Tool) -> None:
    tool.path.write_text(BOTH)
    ends = {digest: datetime.now(UTC).timestamp() - 7200 for digest in (b"\xaa" * 32, b"\xbb" * 32)}
    write_last_use(tool.path.with_name("state.sqlite3"), ends)
    out, _ = tool("list")
    rows = out.splitlines()
    assert ["2 hours ago" in row for row in rows] == [False, True, True, False]
    assert json.loads(tool("list", "--json")[0])["tokens"][1]["values"][0]["last_use"] == "never"


def test_a_list_of_nothing_says_what_to_do(tool: Tool) -> None:
    tool.path.write_text("")
    out, err = tool("list")
    assert out == ""
    assert "python run.py tokens add NAME" in err


# Spans


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        (" 2w ", timedelta(weeks=2)),
        ("0s", timedelta(0)),
    ],
)
def test_a_span_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1 d", "1y", "1d2h", "٣d"])
def test_other_spans_are_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and a unit, such as 90s, 15m, 12h, 30d"):
        parse_duration(text)
    with pytest.raises(ValueError, match="is too long"):
        parse_duration("999999999w")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 seconds"),
        (1, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (3600, "60 minutes"),
        (7200, "2 hours"),
        (36 * 3600, "2 days"),
        (30 * 86_400 - 1, "30 days"),
    ],
)
def test_spans_are_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


# As a program


def program(
    folder: Path, *arguments: str, behind: str = "", stdout: int = subprocess.PIPE
) -> Ended:
    """`python run.py tokens ...`, with a shell's redirection behind it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {behind}', "sh", sys.executable, ROOT / "run.py", *arguments],
        cwd=folder,
        env={**kept, "TOKENS_FILE": "tokens.toml"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_whole_program_makes_a_token_and_tells_where(tmp_path: Path) -> None:
    made = program(tmp_path, "tokens", "add", "alice")
    assert made.returncode == 0
    assert made.stderr.startswith(f"alice: is in {tmp_path / 'tokens.toml'} now.\n")
    (alice,) = load_tokens(tmp_path / "tokens.toml")
    assert alice.values[0].digest == digest_of(made.stdout.strip())


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (">/dev/full", "the value could not be shown, and is lost; this makes another one:"),
        (">&-", "stdout: is closed"),
    ],
)
def test_a_value_that_cannot_be_shown_is_told_without_a_traceback(
    tmp_path: Path, behind: str, words: str
) -> None:
    ended = program(tmp_path, "tokens", "add", "alice", behind=behind)
    assert ended.returncode == 1
    assert words in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["tokens", "list"], ["--help"]])
def test_nobody_reading_on_is_no_traceback(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "tokens.toml").write_text(BOTH)
    reading, writing = os.pipe()
    os.close(reading)
    ended = program(tmp_path, *arguments, stdout=writing)
    os.close(writing)
    assert ended.stderr == ""
