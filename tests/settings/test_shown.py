"""The settings as the dashboard shows them: each once, with its source, and never a secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatehouse.identity.rate import parse_rate
from gatehouse.records.redact import PREFIX
from gatehouse.settings.env_file import read_env_file
from gatehouse.settings.environment import load_settings
from gatehouse.settings.shown import (
    DEFAULT,
    ENVIRONMENT,
    HIDDEN,
    SPACE,
    ShownSetting,
    shown_settings,
)
from tests.harness.judged import without_settings
from tests.harness.program import ROOT, TOKEN

SECRET = "S3cret-of-the-client-with-40-characters!"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def shown() -> dict[str, ShownSetting]:
    return {
        each.name: each for each in shown_settings(load_settings(), read_env_file(Path(".env")))
    }


def test_they_stand_in_the_order_of_the_document_with_their_meanings() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    documented = [
        (section.partition("\n")[0], name)
        for section in page.split("\n## ")[2:]
        for name in re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE)
        if not section.startswith("FoodWise")
    ]
    found = shown()
    assert [(each.group, name) for name, each in found.items()] == documented
    assert [name for name, each in found.items() if not each.meaning] == []
    assert found["ADMINS"].meaning.startswith("The people who may open the dashboard")


def test_without_any_setting_all_are_as_the_document_has_them() -> None:
    defaults = dict(
        re.findall(
            r"^\| `([A-Z_]+)` \| `?([^|`]+)`? \|",
            (ROOT / "docs/settings.md").read_text(),
            re.MULTILINE,
        )
    )
    for name, each in shown().items():
        usual = "" if defaults[name] == "none" else defaults[name]
        usual = str(parse_rate(usual)) if "/min" in usual else usual
        value = each.value.removeprefix(f"{Path.cwd()}/")
        assert (value, each.source, each.differs) == (usual, DEFAULT, False), name


def test_each_has_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "# mine\nPORT=1\nPORT=1234\nhost=localhost\nGRACE_SECONDS=\nSTATE_DB=\nLOG_LEVEL=info\n"
    )
    for name, value in {"PORT": " ", "log_format": "json", "MCP_APP": "", "HOST": "'::1'"}.items():
        monkeypatch.setenv(name, value)
    found = shown()
    sources = {name: (found[name].value, found[name].source, found[name].differs) for name in found}
    assert sources["PORT"] == ("1234", f"{Path.cwd()}/.env, line 3", True)
    assert sources["HOST"] == ("::1", ENVIRONMENT, True)
    assert sources["LOG_FORMAT"] == ("json", ENVIRONMENT, True)
    assert sources["MCP_APP"] == ("", ENVIRONMENT, True)
    assert sources["STATE_DB"] == ("", f"{Path.cwd()}/.env, line 6", True)
    assert sources["GRACE_SECONDS"] == ("10", DEFAULT, False)
    assert sources["LOG_LEVEL"] == ("info", f"{Path.cwd()}/.env, line 7", False)


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MCP_AUTH_TOKEN": f"S3cret{TOKEN}",
        "METRICS_TOKEN": f"S3cret-two{TOKEN}",
        "SHARED_STATE_URL": "rediss://me:S3cret@store.lan/0?ssl_ca_certs=/S3cret.pem",
        "AUTH_ISSUER": "https://as.example",
        "AUTH_JWKS_URL": "https://as.example/keys?key=S3cret",
        "AUTH_INTROSPECTION_URL": "https://as.example/introspect",
        "AUTH_CLIENT_ID": "gate",
        "AUTH_CLIENT_SECRET": "S3cret-of-introspection",
        "PUBLIC_URL": "https://gate.example.com",
        "SIGN_IN": "https://sso.example",
        "SIGN_IN_CLIENT_ID": f"me:{SECRET}",
        "SIGN_IN_CLIENT_SECRET": SECRET,
        "SIGN_IN_SECRET": f"S3cret-three{TOKEN}",
        "ADMINS": "alice, sub:1",
        "UPSTREAM_URL": "https://server.lan/mcp",
        "UPSTREAM_AUTHORIZATION": "Bearer S3cret",
        "EXPOSE_PATHS": "/status, /webhook without token",
        "AUTH_SCOPES": "read,write",
        "FAILURE_RATE": "off",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = shown()
    assert "S3cret" not in str(found)
    hidden = {name for name, each in found.items() if each.value == HIDDEN}
    assert hidden == {
        *("MCP_AUTH_TOKEN", "METRICS_TOKEN", "AUTH_CLIENT_SECRET", "SIGN_IN_CLIENT_SECRET"),
        *("SIGN_IN_SECRET", "UPSTREAM_AUTHORIZATION", "SIGN_IN_CLIENT_ID"),
    }
    assert {each.source for name, each in found.items() if name in given} == {ENVIRONMENT}
    assert found["SHARED_STATE_URL"].value == "rediss://store.lan:6379/0"
    assert found["AUTH_JWKS_URL"].value == "https://as.example/keys?..."
    assert found["EXPOSE_PATHS"].value == given["EXPOSE_PATHS"]
    assert found["ADMINS"].value == given["ADMINS"]
    assert found["AUTH_SCOPES"].value == "read write"
    assert found["FAILURE_RATE"].value == "off"


@pytest.mark.parametrize(
    "misplaced",
    [
        f"{PREFIX}{'a1' * 16}",
        f"hf_{'a1' * 16}",
        "Key-of-the-server",
        "of-the-store:8",
        "of-the-store%3A8",
    ],
)
def test_a_secret_in_the_place_of_another_setting_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, misplaced: str
) -> None:
    monkeypatch.setenv("UPSTREAM_URL", "https://server.lan/mcp")
    monkeypatch.setenv("UPSTREAM_AUTHORIZATION", "Bearer Key-of-the-server")
    monkeypatch.setenv("SHARED_STATE_URL", "redis://:of-the-store%3A8@store.lan:6379/0")
    monkeypatch.setenv("PUBLIC_URL", "https://gate.example")
    monkeypatch.setenv("SIGN_IN", "https://sso.example")
    monkeypatch.setenv("SIGN_IN_CLIENT_ID", f"me:{misplaced}")
    monkeypatch.setenv("SIGN_IN_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("ADMINS", "sub:1")
    found = shown()
    assert found["SIGN_IN_CLIENT_ID"].value == HIDDEN
    assert found["UPSTREAM_URL"].value == "https://server.lan/mcp"
    assert misplaced not in str(found)


def test_the_gifts_of_a_space_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SPACE_ID": "me/gate",
        "SPACE_HOST": "me-gate.hf.space",
        "SPACE_CREATOR_USER_ID": "5f0c1d",
        "OAUTH_CLIENT_ID": "1d5f",
        "OAUTH_CLIENT_SECRET": SECRET,
        "SIGN_IN": "huggingface",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = shown()
    told = {name: each.value for name, each in found.items() if each.source == SPACE}
    assert told == {
        "TRUSTED_HOPS": "1",
        "PUBLIC_URL": "https://me-gate.hf.space",
        "ALLOWED_HOSTS": "me-gate.hf.space",
        "SIGN_IN_CLIENT_ID": "1d5f",
        "SIGN_IN_CLIENT_SECRET": HIDDEN,
        "ADMINS": "sub:5f0c1d",
        "PEOPLE": "sub:5f0c1d",
    }
    assert SECRET not in str(found)
    assert found["TOKENS_FILE"].value == f"{Path.cwd()}/tokens.toml"
    monkeypatch.setenv("ADMINS", "alice")
    assert (shown()["ADMINS"].value, shown()["ADMINS"].source) == ("alice", ENVIRONMENT)
