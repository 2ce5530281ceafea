"""`run.py tokens`: what it says, shows and never shows."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse import advice
from gatehouse.commands.for_clients import written_name
from gatehouse.commands.parser import parser
from gatehouse.commands.tokens import tokens_command
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.identity.rate import OFF
from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.snippets import CLIENTS
from gatehouse.settings.environment import Settings
from gatehouse.tokens.last_use import write_last_use
from gatehouse.tokens.reader import load_tokens
from gatehouse.tokens.value import VALUE_PATTERN, TokenValue, digest_of
from tests.harness.token_files import BOTH

if TYPE_CHECKING:
    from pathlib import Path

SECRET = f"mcpgate_{'hunter2' * 6}"


def value(number: int = 0, **times: Any) -> TokenValue:
    return TokenValue(digest_of(f"value {number}"), **times)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


class Tool:
    """The `tokens` command with its own file, and what it has said."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.given: dict[str, Any] = {}
        """Settings beside those of files."""
        self._capsys = capsys

    @property
    def settings(self) -> Settings:
        files: dict[str, Any] = {
            "tokens_file": self.path,
            "state_db": self.path.with_name("state.sqlite3"),
        }
        return Settings(_env_file=None, **files, **self.given)

    def __call__(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Run it; what went to stdout and to stderr."""
        try:
            options = parser().parse_args(["tokens", *arguments])
            ended = tokens_command(options, self.settings)
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
        for word in (
            "Keep the value",
            "not stored",
            "Authorization: Bearer VALUE",
            "X-API-Key: VALUE",
        ):
            assert word in err
        assert load_tokens(tool.path)[0].values[-1].digest == digest_of(made)
        assert all(made.encode() not in file.read_bytes() for file in tool.path.parent.iterdir())
        assert made not in "".join(tool("list")) + "".join(tool("list", "--json"))


def test_without_a_tokens_file_the_slip_in_its_name_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN_FILE", "tokens.toml")
    assert tokens_command(parser().parse_args(["tokens", "list"]), Settings(_env_file=None)) == 2
    told = capsys.readouterr().err
    assert told.startswith("TOKENS_FILE: is not set")
    assert "TOKEN_FILE: is in the environment, but is no setting; did you mean TOKENS_FILE?" in told


def test_a_setting_in_the_place_of_an_option_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--port", "8080"], ["serve"], ["token", "list"], ["tokens", "--port", "1"]):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(arguments)
        assert ended.value.code == 2
        told = "Settings are no options; they come from the environment or .env: PORT=8080 "
        assert (told in capsys.readouterr().err) is (arguments[0] != "tokens")


def test_a_date_is_the_end_of_that_day_or_its_beginning_and_a_rate_may_be_off(tool: Tool) -> None:
    times = ["--not-before", "2126-12-24", "--expires", "2126-12-24"]
    tool("add", "eve", *times, "--rate", "off")
    tool("rotate", "eve", "--expires", " 2127-01-31 ")
    token = load_tokens(tool.path)[0]
    day, end = datetime(2126, 12, 24, tzinfo=UTC), datetime(2126, 12, 25, tzinfo=UTC)
    assert [(value.not_before, value.expires) for value in token.values] == [
        (None, datetime(2127, 2, 1, tzinfo=UTC))
    ]
    assert token.rate == OFF
    assert 'rate = "off"' in tool.path.read_text()
    assert json.loads(tool("list", "--json")[0])["tokens"][0]["rate"] == "off"
    assert "  off" in tool("list")[0]
    tool("add", "max", *times)
    (value,) = load_tokens(tool.path)[1].values
    assert (value.not_before, value.expires) == (day, end)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_value_comes_in_the_snippet_for_a_client_and_nowhere_else(
    tool: Tool, client: str
) -> None:
    tool.given = {"public_url": "https://gate.example"}
    for arguments in (["add", "alice", "--query"], ["rotate", "alice"]):
        out, err = tool(*arguments, "--for", client)
        value = VALUE_PATTERN.search(out)
        assert value is not None
        assert VALUE_PATTERN.search(err) is None
        # FoodWise is the server that these settings host; its start page and the screen have the same name.
        assert out == CLIENTS[client]("https://gate.example/mcp", value[0], "foodwise") + "\n"
        assert "PUBLIC_URL" not in err
    assert len(load_tokens(tool.path)[0].values) == 2


def test_a_snippet_for_this_machine_says_so_and_without_for_there_is_a_word_on_it(
    tool: Tool,
) -> None:
    out, err = tool("add", "alice", "--for", "claude-code")
    assert " http://127.0.0.1:7860/mcp " in out
    assert "set PUBLIC_URL" in err
    _, err = tool("rotate", "alice")
    assert "--for CLIENT" in err
    _, wrong = tool("add", "bob", "--for", "my-client", status=2)
    _, none = tool("add", "bob", "--for", status=2)
    for said in (wrong, none, tool("add", "--help")[0]):
        assert all(client in "".join(said.split()) for client in CLIENTS)


@pytest.mark.parametrize(
    ("query", "given", "words", "client"),
    [
        ([], {}, "alice may not come in a URL", "url"),
        (["--query"], {"allow_query_key": False}, "ALLOW_QUERY_KEY is false", "chatgpt"),
    ],
)
def test_no_url_is_shown_with_a_value_that_may_not_come_in_one(
    tool: Tool, query: list[str], given: dict[str, Any], words: str, client: str
) -> None:
    tool.given = given
    _, err = tool("add", "alice", *query, "--for", client, status=2)
    assert f"--for {client}: {words}" in err.replace("alice: ", "")
    assert not tool.path.exists()
    tool("add", "alice", *query)
    before = tool.path.read_text()
    assert words in tool("rotate", "alice", "--for", client, status=2)[1]
    assert tool.path.read_text() == before


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('from fastmcp import FastMCP\nmcp = FastMCP("My Server", instructions="x")', "My Server"),
        ('import fastmcp\nmcp: object = fastmcp.FastMCP(name="Named")', "Named"),
        ('other = FastMCP("Other")\nmcp = FastMCP("Mine")', "Mine"),
        ('raise SystemExit("imported")\nmcp = FastMCP("Never run")', "Never run"),
        ("mcp = FastMCP()", UNNAMED),
        ("mcp = make()", UNNAMED),
        ("mcp = FastMCP(", UNNAMED),
        ("mcp = 1", UNNAMED),
        ("", UNNAMED),
    ],
)
def test_the_name_in_a_snippet_is_read_from_the_servers_text_which_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/deep.py").write_text(source)
    (tmp_path / "pack/__init__.py").write_text("raise SystemExit('imported')")
    assert written_name("pack.deep:mcp") == name
    assert written_name("pack.nowhere:mcp") == UNNAMED


def test_what_a_token_may_do_is_said_when_it_is_made(tool: Tool) -> None:
    options = ["--tools", "list_*, get", "--tools", "put", "--rate", "60/min", "--query"]
    times = ["--not-before", "12h", "--expires", "2126-11-24T12:00:00+02:00"]
    _, err = tool("add", "alice", *options, *times, "--note", "her laptop")
    assert "no resources or prompts" in err
    assert "URLs show up in logs" in err
    (alice,) = load_tokens(tool.path)
    assert alice.grants == Grants(tools=("list_*", "get", "put"))
    assert (str(alice.rate), alice.lanes, alice.note) == ("60/min", LANES, "her laptop")
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
        (["add", "default"], 2, "default is reserved: the gate uses this name for MCP_AUTH_TOKEN"),
        (["add", "metrics"], 2, "metrics is reserved"),
        (["add", "other"], 2, "other is reserved"),
        (["add", "a b"], 2, "a name has 1 to 64 of"),
        (["add", "eve", "--expires", "soon"], 2, "must be a span from now, such as 12h, 30d"),
        (["add", "eve", "--expires", "2126-11-31"], 2, "a date and time such as"),
        (["add", "eve", "--expires", "9999-12-31"], 2, "--expires: is too far away"),
        (["add", "eve", "--expires", "2025-11-24"], 2, "lies in the past"),
        (["add", "eve", "--expires", "2126-11-24T12:00:00"], 2, "a date and time such as"),
        (["add", "eve", "--expires", "2025-11-24T12:00:00Z"], 2, "lies in the past"),
        (["add", "eve", "--expires", "1d", "--not-before", "2d"], 2, "before the beginning"),
        (["add", "eve", "--expires", "999999999s", "--not-before", "999999w"], 2, "too far away"),
        (["rotate", "bob", "--expires", "0s"], 2, "lies in the past"),
        (["rotate", "bob", "--overlap", "7"], 2, "write a number and a unit, such as 90s, 15m"),
        (["rotate", "bob", "--overlap", "999999w"], 2, "--overlap: is too far away"),
        (["add", "eve", "--rate", "fast"], 2, "must be a rate such as 60/min"),
        (["add", "eve", "--note", "a\x1b[2J"], 2, "printable characters only"),
        (["add", "eve", "--tools", "a\n"], 2, "printable characters only"),
        (["add", "eve", "--note", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.x"], 2, "holds an access token"),
        (["add", "oauth:eve"], 2, "a name has 1 to 64 of"),
        (["revoke", "bob", "--value", "ccc"], 2, "must be the id of a value: 8 hex digits"),
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
    assert tokens_command(parser().parse_args(["tokens", "list"]), Settings(_env_file=None)) == 2
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


def test_people_and_scopes_stay_as_they_are_and_the_list_counts_them(tool: Tool) -> None:
    others = '# who\n[[people]]\nmatch = "alice"   # her\n\n[scopes."a.b"]\ntools = []\n# the end\n'
    tool.path.write_text(others)
    told = (
        f"{tool.path}: has others beside tokens, which you change by hand: scopes: 1, people: 1\n"
    )
    assert tool("list")[1].endswith(f"has no tokens; this makes one: {advice.add_token()}\n{told}")
    tool("add", "bob")
    tool("rotate", "bob")
    assert tool.path.read_text().startswith(others)
    assert tool("list")[1] == told
    assert tool("list", "--json")[1] == ""
    tool("revoke", "bob")
    assert tool.path.read_text() == others


def test_ctrl_c_ends_it_without_a_traceback(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gatehouse.tokens.issue.add", interrupt)
    assert tool("add", "alice", status=130) == ("", "")


def test_help_says_what_the_program_is_and_how_to_use_it(tool: Tool) -> None:
    whole = parser().format_help()
    assert parser().parse_args([]).command is None
    for words in ("authenticating reverse proxy", ".env", "README.md", "tokens add alice"):
        assert words in whole
    assert "TOKENS_FILE" in tool("--help")[0]
    for action in ("add", "list", "rotate", "revoke"):
        assert action in tool("--help")[0]
        assert re.match(rf"usage: .*python run\.py tokens {action} ", tool(action, "--help")[0])


def test_the_list_is_made_from_the_file_and_the_record_of_uses(tool: Tool) -> None:
    tool.path.write_text(BOTH)
    ends = {digest: datetime.now(UTC).timestamp() - 7200 for digest in (b"\xaa" * 32, b"\xbb" * 32)}
    write_last_use(tool.path.with_name("state.sqlite3"), ends)
    out, _ = tool("list")
    rows = out.splitlines()
    assert ["2 hours ago" in row for row in rows] == [False, True, True, False]
    assert json.loads(tool("list", "--json")[0])["tokens"][1]["values"][0]["last_use"] == "never"


@pytest.mark.parametrize("absurd", ["soon", b"now", -5, 1e300, float("inf"), 2**62, 99_999_999_999])
def test_a_last_use_that_cannot_be_right_is_unknown_until_the_value_is_used_again(
    tool: Tool, absurd: Any
) -> None:
    tool.path.write_text(BOTH)
    state = tool.path.with_name("state.sqlite3")
    uses = {b"\xaa" * 32: datetime.now(UTC).timestamp(), b"\xcc" * 32: 1.0}
    write_last_use(state, uses)
    assert tool("list")[1] == ""
    with closing(sqlite3.connect(state)) as database, database:
        database.execute(
            "UPDATE last_use SET used_at = ? WHERE digest <> ?", (absurd, b"\xcc" * 32)
        )
    out, err = tool("list", "--json")
    alice, bob = json.loads(out)["tokens"]
    assert [each["last_use"] for each in alice["values"]] == ["unknown", "unknown"]
    assert bob["values"][0]["last_use"] == "1970-01-01T00:00:01Z"
    assert str(state) in err
    assert "cannot be right (2)" in err
    assert "unknown" in tool("list")[0]
    write_last_use(state, uses)
    out, err = tool("list")
    assert (len(re.findall(r"\d+ seconds? ago", out)), err) == (1, "")


def test_the_list_tells_how_many_people_came_in_and_when_the_last_did(tool: Tool) -> None:
    tool.path.write_text(BOTH)
    state = tool.path.with_name("state.sqlite3")
    uses = {b"oauth:" + b"%032x" % number: 1.0 + number for number in range(3)}
    write_last_use(state, {b"\xaa" * 32: 9.0, **uses})
    told = f"{state}: people and apps that came in: 3, the last of them at 1970-01-01T00:00:03Z\n"
    assert tool("list")[1].endswith(told)
    assert "people" not in tool("list", "--json")[1]


def test_a_record_that_cannot_be_read_is_named_and_every_last_use_is_unknown(tool: Tool) -> None:
    tool.path.write_text(BOTH)
    state = tool.path.with_name("state.sqlite3")
    state.write_bytes(b"no database at all" * 100)
    out, err = tool("list")
    assert out.count("unknown") == 5
    assert err.startswith(f"STATE_DB: {state} cannot be read")


def test_a_list_of_nothing_says_what_to_do(tool: Tool) -> None:
    tool.path.write_text("")
    out, err = tool("list")
    assert out == ""
    assert "python run.py tokens add NAME" in err
