"""The places that settings come from: `.env` line by line, names that are slips, empty and quoted values."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatehouse import advice
from gatehouse.settings.environment import KNOWN, Settings, SettingsError, load_settings
from gatehouse.settings.misspelt import FOODWISE_SETTINGS, INJECTED, meant, perhaps_meant
from gatehouse.settings.notes import effects, read_notes
from pantry.settings import PantrySettings, read_settings
from tests.harness.program import TOKEN

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def faults_of(text: str | bytes) -> list[str]:
    """The faults that a `.env` with this text has, without its path."""
    Path(".env").write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load_settings()
    except SettingsError as error:
        faults = [fault.removeprefix(f"{Path.cwd()}/.env").lstrip(", ") for fault in error.faults]
    else:
        faults = []
    assert not any("hunter" in fault for fault in faults)
    return faults


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"PORT=1\n\n\nMCP_AUTH_TOKEN: {SECRET}\n", [4]),
        (f"MCP_AUTH_TOKEN:{SECRET}", [1]),
        (f'$env:MCP_AUTH_TOKEN = "{SECRET}"\n"PORT"=1\n', [1, 2]),
        (f"{SECRET}\n", [1]),
        (f"MCP AUTH TOKEN={SECRET}\r\nPORT=1\r\n", [1]),
        (f"PORT=1\r\n\r\nset MCP_AUTH_TOKEN={SECRET}\r\n", [3]),
        (f'A=1\nMCP_AUTH_TOKEN="{SECRET}\nPORT=1\n', [2]),
        (f"MCP_AUTH_TOKEN='{SECRET}' and more\n# a comment\nPORT\n=5\n", [1, 3, 4]),
        (f'{{"MCP_AUTH_TOKEN": "{SECRET}"}}\n', [1]),
        (f"A=1\n\n{SECRET}\n\n\n{SECRET}\n", [3, 6]),
    ],
)
def test_each_line_that_cannot_be_read_is_told_by_its_number(text: str, lines: list[int]) -> None:
    faults = faults_of(text)
    assert [int(fault.split()[1].rstrip(":")) for fault in faults] == lines
    assert all("write NAME=value" in fault for fault in faults)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfPORT=1234\n",
        b"export PORT=1234\r\n",
        b"# a comment\r\n\r\n  PORT = '1234' # the port\r\n\r\n",
        b'PORT="1234"',
        b"port=1234\nFASTMCP_PORT=1\nMY_SERVER=2\nMY_TOKENS_FILE=3\nMCP_API=4\nPORT1=5\n",
    ],
)
def test_usual_ways_to_write_a_file_work(text: bytes) -> None:
    assert faults_of(text) == []
    assert load_settings().port == 1234


def test_a_variable_in_a_value_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        "takes ${...} from a variable NOT_SET, which is not set; set it, or write the value itself"
    )
    assert faults_of("A=1\nMCP_AUTH_TOKEN=${NOT_SET}\n") == [f"line 2: {told}"]
    assert len(faults_of("MCP_AUTH_TOKEN=a${" + SECRET + "}b\n")) == 1
    monkeypatch.setenv("MY_PORT", "123")
    assert faults_of("LAST=4\nPORT=${MY_PORT}${LAST}${NOT_SET:-5}\n") == []
    assert load_settings().port == 12345


def test_a_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    (fault,) = faults_of("PORT=1")
    assert fault == ": cannot be read (Permission denied); let the user who starts the gate read it"


def test_what_is_no_readable_file_is_refused_in_words() -> None:
    assert faults_of(b"A=1\nPORT=\xff\xfe\n") == ["line 2: is not UTF-8; save the file as UTF-8"]
    assert faults_of("PORT=1\n".encode("utf-16"))[0].startswith("line 1: is not UTF-8")
    Path(".env").unlink()
    Path(".env").mkdir()
    with pytest.raises(SettingsError, match=r"/\.env: is a folder; remove it"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("TOKEN_FILE", "TOKENS_FILE"),
        ("ALLOW_QUERY_KEYS", "ALLOW_QUERY_KEY"),
        ("MCP_AUTH_TOKENS", "MCP_AUTH_TOKEN"),
        ("mcp-auth-token", "MCP_AUTH_TOKEN"),
        ("MCPAUTHTOKEN", "MCP_AUTH_TOKEN"),
        ("'PROT'", "PORT"),
        ("HOSTS", "HOST"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("TRUSTED_HOP", "TRUSTED_HOPS"),
        ("NOTION_SECRETS", "NOTION_SECRET"),
    ],
)
def test_a_slip_in_the_file_is_refused_and_the_setting_named(name: str, setting: str) -> None:
    (fault,) = faults_of(f"\n{name}={SECRET}\n")
    assert fault.startswith("line 2: ")
    assert f"did you mean {setting}?" in fault


def test_names_of_others_are_no_slips() -> None:
    assert {*FOODWISE_SETTINGS} == {name.upper() for name in PantrySettings.model_fields}
    others = (
        "PATH HOME HOSTNAME PORT0 PORTS2 POST MCP_API STATS_DB LOG_FILE LOGNAME TOKEN API_TOKEN DB_HOST REDIS_URL "
        "FASTMCP_PORT FASTMCP_LOG_LEVEL SPACE_HOST SPACE_HOSTS HF_TOKEN HF_HOME DATABASE_URL MY_TOKENS_FILE "
        "UPSTREAM GRACE MCP_SERVER_PORT OPENAI_API_KEY NOTION_TOKEN SQLITE_FILE PYTHONPATH SHELL"
    )
    assert [name for name in others.split() if meant(name, KNOWN)] == []
    assert perhaps_meant("AUTH_TOKEN", KNOWN) == "MCP_AUTH_TOKEN"
    assert perhaps_meant("TOKEN", KNOWN) is None


def test_in_the_environment_a_slip_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("token_file", SECRET)
    monkeypatch.setenv("AUTH_TOKEN", SECRET)
    monkeypatch.setenv("HOSTS", "short names are left to others")
    load_settings()
    source, notes = read_notes()
    assert source == f"settings come from the environment; there is no {Path.cwd()}/.env"
    assert [note for note in notes if "did you mean" in note] == [
        "AUTH_TOKEN: is in the environment, but is no setting; did you mean MCP_AUTH_TOKEN?",
        "TOKEN_FILE: is in the environment, but is no setting; did you mean TOKENS_FILE?",
    ]
    assert not any(SECRET in note for note in notes)
    monkeypatch.setenv("MCP_AUTH_TOKEN", TOKEN)
    settings = load_settings()
    monkeypatch.delenv("MCP_AUTH_TOKEN")  # as the start does
    assert not any("AUTH_TOKEN" in note for note in read_notes(settings)[1])


def test_quotes_that_docker_leaves_around_a_value_are_taken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {
        "MCP_AUTH_TOKEN": f'"{TOKEN}"',
        "PORT": "'8080'",
        "HOST": '"127.0.0.1"',
        "ALLOW_QUERY_KEY": '"false"',
        "ALLOWED_HOSTS": ' "gate.example, localhost" ',
        "TOKEN_RATE": "'60/min'",
        "TOKENS_FILE": '"tokens.toml"',
        "MCP_APP": '""',
        "GRACE_SECONDS": "''",
        "SQLITE_PATH": '"kitchen.sqlite3"',
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    plain = {name: value.strip("\"' ") for name, value in given.items() if name != "GRACE_SECONDS"}
    settings = load_settings()
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GRACE_SECONDS")
    assert settings == load_settings()
    assert settings.mcp_auth_token is not None
    assert settings.mcp_auth_token.get_secret_value() == TOKEN
    monkeypatch.setenv("SQLITE_PATH", '"kitchen.sqlite3"')
    assert read_settings().sqlite_path == Path.cwd() / "kitchen.sqlite3"


def test_an_empty_variable_leaves_the_file_in_force_except_where_empty_means_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text(f"MCP_AUTH_TOKEN={TOKEN}\nPORT=1234\nMCP_APP=a:b\nSTATE_DB=x\n")
    for name in ("MCP_AUTH_TOKEN", "PORT", "MCP_APP", "STATE_DB"):
        monkeypatch.setenv(name, " ")
    settings = load_settings()
    assert settings.mcp_auth_token is not None
    assert (settings.port, settings.mcp_app, settings.state_db) == (1234, "", None)
    source, notes = read_notes()
    assert source == f"settings come from the environment and {Path.cwd()}/.env"
    assert [note.partition(",")[0] for note in notes] == [
        "MCP_APP: is empty in the environment",
        "STATE_DB: is empty in the environment",
    ]


def test_of_a_name_that_is_given_twice_the_last_line_counts_and_that_is_said() -> None:
    Path(".env").write_text("PORT=1\nOTHER=2\nOTHER=3\n\nport=1234\n")
    assert load_settings().port == 1234
    (note,) = read_notes()[1]
    assert note == f"PORT: is more than once in {Path.cwd()}/.env (line 1, and 5); the last counts"


def test_a_file_beside_run_py_that_is_not_read_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.mkdir()
    (program / ".env").write_text(f"MCP_AUTH_TOKEN={TOKEN}\n")
    monkeypatch.setattr(advice, "ROOT", program)
    told = (
        f"{program}/.env: is not read; .env is read from the folder that you start in, {tmp_path}"
    )
    assert read_notes()[1] == [told]
    monkeypatch.setenv("HOST", "0.0.0.0")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.faults[-1] == told


def test_a_file_by_another_name_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(advice, "ROOT", tmp_path / "elsewhere")
    example = tmp_path / ".env.example"
    example.write_text("MCP_AUTH_TOKEN=\nTOKENS_FILE=\nPORT=1\n")
    assert read_notes()[1] == []
    example.write_text(f"MCP_AUTH_TOKEN={TOKEN}\nPORT=1\n")
    (tmp_path / ".env.txt").touch()
    assert read_notes()[1] == [
        f"{tmp_path}/.env.txt: is not read; only a file of the name .env is",
        f"{example}: is not read; copy it to .env, and keep your own values there",
    ]
    (tmp_path / ".env").touch()
    assert read_notes()[1] == []


def test_a_token_that_can_be_guessed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_AUTH_TOKEN", "abcdefg" * 10)
    (note,) = effects(load_settings())
    assert note.startswith("MCP_AUTH_TOKEN: has few different characters")
    assert "abc" not in note
    monkeypatch.setenv("MCP_AUTH_TOKEN", TOKEN)
    assert list(effects(load_settings())) == []


def test_a_server_elsewhere_that_nobody_asks_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(effects(load_settings())) == []
    monkeypatch.setenv("UPSTREAM_PORT", "8000")
    (note,) = effects(load_settings())
    assert note.startswith("UPSTREAM_PORT: has no effect, since the gate hosts MCP_APP=mcp_app:mcp")
    for other in ({"UPSTREAM_MODE": "network"}, {"MCP_APP": ""}, {"MCP_APP": "a:b"}):
        with monkeypatch.context() as setting:
            for name, value in other.items():
                setting.setenv(name, value)
            assert list(effects(load_settings())) == []


def test_every_setting_is_known_by_its_name() -> None:
    assert {name.upper() for name in Settings.model_fields} - {*INJECTED} < KNOWN
    assert {meant(name, KNOWN) for name in KNOWN} == {None}
