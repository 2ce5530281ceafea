"""Settings: what is accepted, and what is refused in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gatehouse.identity.rate import Rate
from gatehouse.settings.environment import Settings, SettingsError, load_settings
from tests.harness.program import TOKEN


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def faults(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        load_settings()
    except SettingsError as error:
        return error.faults
    return []


def test_without_any_setting_the_gate_is_for_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)
    assert (settings.upstream_host, settings.upstream_port) == ("127.0.0.1", 7870)
    assert (settings.upstream_path, settings.mcp_app) == ("/mcp", "mcp_app:mcp")
    assert settings.mcp_auth_token is None


@pytest.mark.parametrize(
    "where", [{"HOST": "0.0.0.0"}, {"SPACE_ID": "me/space"}, {"HOST": "gate.lan"}]
)
@pytest.mark.parametrize("token", ["", "   ", None])
def test_without_a_token_it_never_runs_where_others_reach_it(
    monkeypatch: pytest.MonkeyPatch, where: dict[str, str], token: str | None
) -> None:
    given = where if token is None else {**where, "MCP_AUTH_TOKEN": token}
    (fault,) = faults(monkeypatch, **given)
    assert fault.startswith("MCP_AUTH_TOKEN: is missing")
    in_space = "SPACE_ID" in where  # whoever has one may have no shell
    assert ("SIGN_IN with the value huggingface" in fault) is in_space
    assert ("secrets.token_urlsafe" in fault) is not in_space


@pytest.mark.parametrize(
    "settings",
    [
        {"HOST": "0.0.0.0", "MCP_AUTH_TOKEN": TOKEN},
        {"HOST": "::1"},
        {"HOST": "[::1]"},
        {"HOST": "localhost"},
        {"MCP_APP": ""},
        {"MCP_APP": "", "UPSTREAM_HOST": "mcp.lan"},
        {"MCP_APP": "my_server.main:app_1"},
        {"UPSTREAM_PATH": "/api/v1/mcp/"},
        {"PORT": " 8080 "},
        {"UPSTREAM_MODE": "InProcess", "UPSTREAM_RUNTIME": "ASYNCIO", "LOG_FORMAT": "JSON"},
        {"ALLOW_QUERY_KEY": "Yes"},
        {"EXPOSE_PATHS": "/*, /a/*, /b without token ,/caf%C3%A9/ WITHOUT TOKEN,"},
        {"EXPOSE_PATHS": "/api/*, /api/open without token", "UPSTREAM_PATH": "/api/mcp"},
        {"ALLOWED_HOSTS": " Gate.example.com, localhost,192.0.2.1,[::1],my_host., ::1, a.lan:443"},
        {"ALLOWED_HOSTS": "*.example.com,*.localhost."},
        {
            "ALLOWED_ORIGINS": "https://*.example.com:8443,chrome-extension://abc,vscode-webview://1a-2b"
        },
        {"UPSTREAM_URL": "http://mcp.lan/"},
        {
            "UPSTREAM_URL": "http://[::1]:8000/mcp",
            "MCP_APP": "mcp_app:mcp",
            "UPSTREAM_PATH": "/mcp",
        },
        {"UPSTREAM_URL": "http://server:8000/mcp", "UPSTREAM_AUTHORIZATION": "Bearer x"},
        {"MCP_APP": "", "UPSTREAM_HOST": "10.0.0.3", "UPSTREAM_AUTHORIZATION": "Bearer x"},
        {"MAX_HEADER_BYTES": "1024"},
    ],
)
def test_what_makes_sense_is_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    assert faults(monkeypatch, **settings) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PORT": "0"}, "PORT: "),
        ({"PORT": "70000"}, "PORT: "),
        (
            {"PORT": "http"},
            "PORT: must be a whole number, 1 or more and at most 65535, such as 7860",
        ),
        (
            {"MAX_BODY_BYTES": "4MB"},
            "MAX_BODY_BYTES: must be a whole number, 1 or more, such as 4194304",
        ),
        (
            {"GRACE_SECONDS": "10s"},
            "GRACE_SECONDS: must be a number, 0 or more and at most 3600, such as 10; not '10s'. Write it in seconds and without a unit",
        ),
        (
            {"BODY_SECONDS": "5 min"},
            "BODY_SECONDS: must be a number, more than 0 and at most 86400, such as 15; not '5 min'. Write it in seconds",
        ),
        (
            {"MAX_BODY_BYTES": " 4 MiB"},
            "MAX_BODY_BYTES: must be a whole number, 1 or more, such as 4194304; not '4 MiB'. Write it in bytes",
        ),
        (
            {"MAX_CONNECTIONS": "1,000"},
            "MAX_CONNECTIONS: must be a whole number, 1 or more, such as 2000; not '1,000'",
        ),
        (
            {"PORT": "-1"},
            "PORT: must be a whole number, 1 or more and at most 65535, such as 7860; not '-1'",
        ),
        (
            {"PORT": TOKEN},
            "PORT: must be a whole number, 1 or more and at most 65535, such as 7860",
        ),
        ({"MAX_HEADER_BYTES": "1023"}, "MAX_HEADER_BYTES: must be a whole number, 1024 or more"),
        (
            {"HEADER_SECONDS": "nan"},
            "HEADER_SECONDS: must be a number, more than 0 and at most 86400",
        ),
        ({"TRUSTED_HOPS": "x"}, "TRUSTED_HOPS: must be a whole number, 0 or more and at most 16"),
        ({"ALLOWED_HOSTS": "gate.lan, http://x"}, "ALLOWED_HOSTS: http://x is no host name"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS: * is no host name"),
        (
            {"ALLOWED_HOSTS": "gate.lan:8080"},
            "ALLOWED_HOSTS: gate.lan:8080 is no host name; write gate.lan,",
        ),
        (
            {"ALLOWED_HOSTS": "gate.lan:*"},
            "ALLOWED_HOSTS: gate.lan:* is no host name; write gate.lan,",
        ),
        (
            {"ALLOWED_HOSTS": "https://Gate.lan:8/mcp"},
            "ALLOWED_HOSTS: https://gate.lan:8/mcp is no host name; write gate.lan,",
        ),
        (
            {"ALLOWED_HOSTS": '["a.lan"]'},
            'ALLOWED_HOSTS: ["a.lan"] is no host name; write names such as',
        ),
        (
            {"ALLOWED_HOSTS": "a.lan b.lan"},
            "ALLOWED_HOSTS: a.lan b.lan is no host name; write names such as",
        ),
        ({"ALLOWED_HOSTS": "*.10.0.0.1"}, "ALLOWED_HOSTS: *.10.0.0.1 is no host name"),
        ({"ALLOWED_HOSTS": "a.*.lan"}, "ALLOWED_HOSTS: a.*.lan is no host name"),
        (
            {"ALLOWED_HOSTS": "münchen.example"},
            "ALLOWED_HOSTS: münchen.example is no host name; write xn--mnchen-3ya.example",
        ),
        ({"TOKENS_FILE": "x", "STATE_DB": "./x"}, "STATE_DB: is the same file as TOKENS_FILE"),
        (
            {"ALLOWED_ORIGINS": "hunter2hunter2hunter2hunter2"},
            "ALLOWED_ORIGINS: an entry is no origin; write",
        ),
        ({"ALLOWED_HOSTS": "me:hunter2@lan"}, "ALLOWED_HOSTS: an entry with @ is no host name"),
        ({"ALLOWED_ORIGINS": "null"}, "ALLOWED_ORIGINS: null is no origin"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS: * is no origin; write scheme://host"),
        (
            {"ALLOWED_ORIGINS": "app.lan"},
            "ALLOWED_ORIGINS: app.lan is no origin; write scheme://host or scheme://host:port, such as https://app.lan",
        ),
        (
            {"ALLOWED_ORIGINS": "https://app.lan/"},
            "ALLOWED_ORIGINS: https://app.lan/ is no origin; write https://app.lan, without anything behind it",
        ),
        (
            {"ALLOWED_ORIGINS": "https://app.lan:443/x?y"},
            "ALLOWED_ORIGINS: https://app.lan:443/x?y is no origin; write https://app.lan,",
        ),
        (
            {"ALLOWED_ORIGINS": "http://localhost:*"},
            "ALLOWED_ORIGINS: http://localhost:* is no origin; write each port as a number",
        ),
        (
            {"ALLOWED_ORIGINS": "http://localhost:99999"},
            "ALLOWED_ORIGINS: http://localhost:99999 is no origin; write each port",
        ),
        ({"ALLOWED_ORIGINS": "https://a.*.lan"}, "ALLOWED_ORIGINS: https://a.*.lan is no origin"),
        (
            {"ALLOWED_ORIGINS": "https://münchen.example"},
            "ALLOWED_ORIGINS: https://münchen.example is no origin; write scheme://host or scheme://host:port, such as https://xn--mnchen-3ya.example",
        ),
        (
            {"ALLOWED_ORIGINS": '["https://app.lan"]'},
            'ALLOWED_ORIGINS: ["https://app.lan"] is no origin',
        ),
        (
            {"ALLOWED_ORIGINS": "https://me:hunter2@app.lan"},
            "ALLOWED_ORIGINS: an entry with @ is no origin",
        ),
        ({"UPSTREAM_PORT": "-1"}, "UPSTREAM_PORT: "),
        ({"HOST": "http://x"}, "HOST: must be a host name"),
        (
            {"HOST": "localhost:7860"},
            "HOST: must be a host name or an IP address, without port or scheme; the port is the setting PORT",
        ),
        ({"HOST": ":8080"}, "HOST: must be a host name or an IP address, without port"),
        ({"HOST": "[::1]:80"}, "HOST: must be a host name or an IP address, without port"),
        (
            {"UPSTREAM_HOST": "https://x.hf.space/mcp", "MCP_APP": ""},
            "UPSTREAM_HOST: must be a host name or an IP address, without port or scheme; the port is the setting UPSTREAM_PORT, and a whole URL goes into UPSTREAM_URL",
        ),
        (
            {"UPSTREAM_PORT": "443", "UPSTREAM_HOST": "x.hf.space", "MCP_APP": ""},
            "UPSTREAM_PORT: port 443 is for TLS; set UPSTREAM_URL=https://x.hf.space/mcp instead",
        ),
        (
            {"UPSTREAM_URL": "http://x.hf.space:443/"},
            "UPSTREAM_URL: port 443 is for TLS; set UPSTREAM_URL=https://x.hf.space/ instead",
        ),
        (
            {"UPSTREAM_HOST": "mcp.lan"},
            "UPSTREAM_HOST: must be a loopback address such as 127.0.0.1 while MCP_APP is set",
        ),
        (
            {"MCP_AUTH_TOKEN": f"Bearer {TOKEN}"},
            "MCP_AUTH_TOKEN: must be the token alone, without Bearer",
        ),
        (
            {"MCP_AUTH_TOKEN": f"authorization: bearer {TOKEN}"},
            "MCP_AUTH_TOKEN: must be the token alone, without Bearer",
        ),
        ({"METRICS_TOKEN": "$(openssl rand -hex 32)"}, "METRICS_TOKEN: is a command for a shell"),
        (
            {"MCP_AUTH_TOKEN": "YOUR_TOKEN_YOUR_TOKEN_YOUR_TOKEN"},
            "MCP_AUTH_TOKEN: is the text in place of a token",
        ),
        (
            {"MCP_AUTH_TOKEN": "change-me-to-32-random-characters"},
            "MCP_AUTH_TOKEN: is the text in place of a token",
        ),
        (
            {"MCP_AUTH_TOKEN": "<your-own-secret-of-32-characters>"},
            "MCP_AUTH_TOKEN: is the text in place of a token",
        ),
        (
            {"TOKENS_FILE": f"mcpgate_{'a1' * 21}"},
            "TOKENS_FILE: holds the value of a token; here belongs the path",
        ),
        ({"HOST": "127.0.0.1:80", "UPSTREAM_HOST": "a b"}, "UPSTREAM_HOST: "),
        ({"UPSTREAM_PATH": "mcp"}, "UPSTREAM_PATH: must be a plain path"),
        ({"UPSTREAM_PATH": "/mcp?x=1"}, "UPSTREAM_PATH: "),
        ({"UPSTREAM_PATH": "/a/../b"}, "UPSTREAM_PATH: "),
        ({"UPSTREAM_PATH": "//mcp"}, "UPSTREAM_PATH: "),
        ({"UPSTREAM_PATH": "/"}, "UPSTREAM_PATH: "),
        ({"UPSTREAM_PATH": "/%6dcp"}, "UPSTREAM_PATH: "),
        ({"MCP_APP": "mcp_app"}, "MCP_APP: must look like module:name"),
        ({"MCP_APP": "mcp_app.py:mcp()"}, "MCP_APP: "),
        ({"MCP_AUTH_TOKEN": "short"}, "MCP_AUTH_TOKEN: is too short"),
        ({"MCP_AUTH_TOKEN": "with space " * 5}, "MCP_AUTH_TOKEN: may hold visible ASCII"),
        ({"MCP_AUTH_TOKEN": "ö" * 40}, "MCP_AUTH_TOKEN: may hold visible ASCII"),
        ({"UPSTREAM_HOST": "0.0.0.0"}, "UPSTREAM_HOST: must be a loopback address"),
        ({"UPSTREAM_PORT": "7860", "MCP_APP": ""}, "UPSTREAM_PORT: is the gate's own PORT"),
        (
            {
                "UPSTREAM_PORT": "7860",
                "HOST": "0.0.0.0",
                "MCP_AUTH_TOKEN": TOKEN,
                "UPSTREAM_MODE": "network",
            },
            "UPSTREAM_PORT: is the gate's own PORT",
        ),
        ({"UPSTREAM_URL": "mcp.example/mcp"}, "UPSTREAM_URL: must begin with https://"),
        ({"UPSTREAM_URL": "ws://mcp.example/mcp"}, "UPSTREAM_URL: must begin with https://"),
        ({"UPSTREAM_URL": "https://mcp.example"}, "UPSTREAM_URL: lacks the path"),
        ({"UPSTREAM_URL": "https://mcp.example:x/mcp"}, "UPSTREAM_URL: has a host or a port"),
        ({"UPSTREAM_URL": "https:///mcp"}, "UPSTREAM_URL: has a host or a port"),
        ({"UPSTREAM_URL": "https://mcp.example:0/mcp"}, "UPSTREAM_URL: has a host or a port"),
        ({"UPSTREAM_URL": "https://mcp.example/a/../b"}, "UPSTREAM_URL: must be a plain path"),
        ({"UPSTREAM_URL": "https://x.example/mcp?key=y"}, "UPSTREAM_URL: may have no query"),
        ({"UPSTREAM_URL": "https://me:pw@x.example/mcp"}, "UPSTREAM_URL: may hold no user name"),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "MCP_APP": "my_server:mcp"},
            "MCP_APP: does not go with UPSTREAM_URL",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "UPSTREAM_PORT": "80"},
            "UPSTREAM_PORT: does not go with UPSTREAM_URL",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "UPSTREAM_MODE": "inprocess"},
            "UPSTREAM_MODE: inprocess needs a server to host",
        ),
        (
            {"UPSTREAM_URL": "http://127.0.0.1:7860/mcp"},
            "UPSTREAM_URL: is the gate's own PORT",
        ),
        (
            {"UPSTREAM_URL": "https://mcp.lan/mcp", "UPSTREAM_CA": "none.pem"},
            "UPSTREAM_CA: there is no file",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "UPSTREAM_CA": "none.pem"},
            "UPSTREAM_CA: is for a server that is reached over TLS",
        ),
        (
            {"UPSTREAM_AUTHORIZATION": "Bearer x"},
            "UPSTREAM_AUTHORIZATION: is for a server that runs elsewhere",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.example/mcp", "UPSTREAM_AUTHORIZATION": "Bearer x"},
            "UPSTREAM_AUTHORIZATION: would cross the network",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "UPSTREAM_AUTHORIZATION": "authorization: x"},
            "UPSTREAM_AUTHORIZATION: must be the value alone",
        ),
        (
            {"UPSTREAM_URL": "http://mcp.lan/mcp", "UPSTREAM_AUTHORIZATION": "Bearer  ü"},
            "UPSTREAM_AUTHORIZATION: may hold visible ASCII",
        ),
        (
            {"EXPOSE_PATHS": "status"},
            "EXPOSE_PATHS: status is no plain path; write /path or /path/*",
        ),
        ({"EXPOSE_PATHS": "/a with token"}, "EXPOSE_PATHS: /a with token is no path; write"),
        ({"EXPOSE_PATHS": "/a?b"}, "EXPOSE_PATHS: /a?... is no plain path"),
        ({"EXPOSE_PATHS": TOKEN}, "EXPOSE_PATHS: an entry is no plain path"),
        ({"EXPOSE_PATHS": f"{TOKEN} with token"}, "EXPOSE_PATHS: an entry is no path"),
        ({"EXPOSE_PATHS": "/a*"}, "EXPOSE_PATHS: /a* is no plain path"),
        ({"EXPOSE_PATHS": "/a/../b"}, "EXPOSE_PATHS: /a/../b is no plain path"),
        ({"EXPOSE_PATHS": "/a//*"}, "EXPOSE_PATHS: /a//* is no plain path"),
        ({"EXPOSE_PATHS": "/é"}, "EXPOSE_PATHS: /é is no path"),
        ({"EXPOSE_PATHS": "/* without token"}, "EXPOSE_PATHS: /* without token would open"),
        ({"EXPOSE_PATHS": "/a, /a without token"}, "EXPOSE_PATHS: /a is named with and without"),
        *(
            ({"EXPOSE_PATHS": path + end}, f"EXPOSE_PATHS: {path} is kept for the gate")
            for path in """/ /health /ready /metrics /health/ /mcp /mcp/ /mcp/a /mcp/* /.well-known/* /a/.well-known/b
                /register /authorize /token /oauth/* /oauth2/x /sse /messages/ /messages/*""".split()
            for end in ("", " Without  Token")
        ),
        (
            {"EXPOSE_PATHS": "/api/* without token", "UPSTREAM_PATH": "/API/mcp"},
            "EXPOSE_PATHS: /api/* leads to the MCP endpoint",
        ),
        (
            {"EXPOSE_PATHS": "/api/MCP/ without token", "UPSTREAM_PATH": "/api/mcp"},
            "EXPOSE_PATHS: /api/MCP/ leads to the MCP endpoint",
        ),
        (
            {"EXPOSE_PATHS": "/api/mcp/x/* without token", "UPSTREAM_PATH": "/api/mcp"},
            "EXPOSE_PATHS: /api/mcp/x/* leads to the MCP endpoint",
        ),
        (
            {"EXPOSE_PATHS": "/api/mcp", "UPSTREAM_PATH": "/api/mcp/"},
            "EXPOSE_PATHS: /api/mcp leads to the MCP endpoint",
        ),
        ({"UPSTREAM_MODE": "port"}, "UPSTREAM_MODE: "),
        ({"UPSTREAM_RUNTIME": "uvloop"}, "UPSTREAM_RUNTIME: "),
        (
            {"UPSTREAM_MODE": "inprocess", "MCP_APP": ""},
            "UPSTREAM_MODE: inprocess needs a server to host",
        ),
        (
            {"UPSTREAM_RUNTIME": "trio", "MCP_APP": ""},
            "UPSTREAM_RUNTIME: trio needs UPSTREAM_MODE=inprocess",
        ),
        (
            {"UPSTREAM_RUNTIME": "trio", "UPSTREAM_MODE": "network"},
            "UPSTREAM_RUNTIME: trio needs UPSTREAM_MODE=inprocess",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words_that_name_the_setting(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    assert any(fault.startswith(words) for fault in faults(monkeypatch, **settings))


def test_all_faults_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    told = faults(
        monkeypatch, HOST="0.0.0.0", PORT="x", UPSTREAM_PATH="mcp", UPSTREAM_HOST="192.0.2.1"
    )
    assert [fault.partition(":")[0] for fault in told] == [
        "PORT",
        "UPSTREAM_PATH",
        "MCP_AUTH_TOKEN",
        "UPSTREAM_HOST",
    ]


def test_a_refused_token_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-hunter2 hunter2-hunter2-hunter2"
    told = faults(monkeypatch, MCP_AUTH_TOKEN=secret, PORT="nonsense-value")
    assert len(told) == 2
    assert not any("hunter2" in fault for fault in told)


def test_the_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"MCP_AUTH_TOKEN={TOKEN}\nPORT=1234\nHOST=0.0.0.0\nOTHER=x\n")
    monkeypatch.setenv("PORT", "5678")
    settings = load_settings()
    assert settings.port == 5678
    assert settings.mcp_auth_token is not None
    assert settings.mcp_auth_token.get_secret_value() == TOKEN
    assert TOKEN not in repr(settings)


def test_an_empty_setting_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name.upper() for name in Settings.model_fields} - {"MCP_APP", "STATE_DB"}
    Path(".env").write_text("".join(f"{name}= \n" for name in names))
    assert load_settings() == Settings(_env_file=None)
    monkeypatch.setenv("MCP_APP", "")
    monkeypatch.setenv("STATE_DB", "")
    settings = load_settings()
    assert not settings.hosts_upstream
    assert settings.state_db is None


def test_faults_of_rates_and_switches_say_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILURE_RATE", "none")
    monkeypatch.setenv("ALLOW_QUERY_KEY", "perhaps")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    told = sorted(refused.value.faults)
    assert told[0] == "ALLOW_QUERY_KEY: must be true or false; not 'perhaps'"
    assert told[1].startswith("FAILURE_RATE: must be a rate")
    assert told[1].endswith("off for no limit")


def test_settings_are_values_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "ALLOWED_HOSTS": " Gate.Example, [::2],",
        "ALLOWED_ORIGINS": "https://App.example,http://127.0.0.1:3000",
        "TOKEN_RATE": "1000 per hour",
        "TRUSTED_HOPS": "2",
    }
    assert faults(monkeypatch, **given) == []
    settings = load_settings()
    assert settings.hosts_allowed == ("gate.example", "::2")
    assert settings.allowed_origins == ("https://app.example", "http://127.0.0.1:3000")
    assert settings.token_rate == Rate(1000, 3600, 1000)
    assert settings.hops == 2


@pytest.mark.parametrize(
    ("written", "shared", "named"),
    [
        ("", None, Rate(60, 60, 20)),
        ("off", None, None),
        ("5/s", Rate(5, 1, 5), Rate(5, 1, 5)),
    ],
)
def test_off_and_unset_rates_are_told_apart_where_they_differ(
    monkeypatch: pytest.MonkeyPatch, written: str, shared: Rate | None, named: Rate | None
) -> None:
    names = ("QUERY_RATE", "TOKEN_RATE", "FAILURE_RATE")
    assert faults(monkeypatch, **dict.fromkeys(names, written)) == []
    settings = load_settings()
    assert (settings.shared_query_rate, settings.named_query_rate) == (shared, named)
    assert settings.token_rate == shared
    assert settings.failure_rate == (shared if written else Rate(60, 60, 60))


def test_a_time_that_is_zero_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().limits.comment_seconds == 15
    assert faults(monkeypatch, COMMENT_SECONDS="0", UPSTREAM_SILENCE_SECONDS="0") == []
    limits = load_settings().limits
    assert (limits.comment_seconds, limits.silence_seconds) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 1), ("2.5", 2.5), (" 0 ", 0), ("false", 0), ("False", 0), ("true", 15), (" TRUE ", 15)],
)
def test_the_rest_of_a_connection_may_be_said_in_seconds_or_as_it_was_before(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    assert faults(monkeypatch, UPSTREAM_KEEP_ALIVE=text, MCP_APP="") == []
    assert load_settings().idle_seconds == seconds
    assert faults(monkeypatch, UPSTREAM_KEEP_ALIVE="maybe") == [
        "UPSTREAM_KEEP_ALIVE: must be a number, 0 or more and at most 3600, such as 1; not 'maybe'"
    ]


@pytest.mark.parametrize(
    ("settings", "runtime"),
    [
        ({}, ""),
        ({"MCP_APP": "mcp_app:mcp"}, ""),
        ({"MCP_APP": "a:b", "UPSTREAM_RUNTIME": "trio"}, "trio"),
        ({"UPSTREAM_RUNTIME": "asyncio"}, "asyncio"),
        ({"UPSTREAM_MODE": "network"}, "asyncio"),
    ],
)
def test_the_gate_calls_each_server_directly_and_its_module_may_say_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], runtime: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    read = load_settings()
    assert read.runtime == runtime
    assert read.in_process is ("UPSTREAM_MODE" not in settings)
