"""The notice of the start: which ways in people are told of."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from gatehouse.assembly.announce import Announcement
from gatehouse.assembly.pages import ways_in
from gatehouse.assembly.start import secrets_of
from gatehouse.records.redact import MASK, Redactor
from gatehouse.settings.environment import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDPOINT = "https://gate.example.com/mcp"
ISSUER = "https://as.example"
SIGN_IN = {"auth_issuer": ISSUER, "public_url": "https://gate.example.com"}
TOKEN = "t0ken-of-this-test-and-no-other-one"


def announcement(
    given: dict[str, Any], *, one_off: str | None = None, names: Sequence[str] = ()
) -> Announcement:
    return Announcement(
        ENDPOINT,
        "mcp_app:mcp",
        one_off_token=one_off,
        names=names,
        url_keys=False,
        ways=ways_in(Settings(_env_file=None, **given), ENDPOINT),
        hosted=True,
        as_json=False,
    )


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is said to people, on a terminal."""
    said: list[str] = []
    monkeypatch.setattr("gatehouse.records.outputs.say", said.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    return said


def shown(screen: list[str], announced: Announcement) -> str:
    announced.listening()
    announced.server_is("My Server")
    assert screen[-1].endswith("Stop with Ctrl+C.")
    return "\n".join(screen)


def test_where_clients_sign_in_the_url_is_enough(screen: list[str]) -> None:
    text = shown(screen, announcement(SIGN_IN))
    assert f"Clients sign in at {ISSUER}: the URL is all that they need, no token." in text
    assert f"\nclaude mcp add --transport http my-server {ENDPOINT}\n" in text
    assert not [word for word in ("YOUR_TOKEN", "MCP_AUTH_TOKEN", "Bearer", "--header") if word in text]  # fmt: skip


def test_beside_tokens_both_ways_are_told(screen: list[str]) -> None:
    text = shown(screen, announcement({**SIGN_IN, "mcp_auth_token": TOKEN}))
    assert f"Clients sign in at {ISSUER}" in text
    assert "Put your MCP_AUTH_TOKEN where it says YOUR_TOKEN." in text
    assert f"\nclaude mcp add --transport http my-server {ENDPOINT}\n" in text
    assert '--header "Authorization: Bearer YOUR_TOKEN"' in text
    assert TOKEN not in text


def test_without_another_way_in_nobody_is_told_of_one(screen: list[str]) -> None:
    text = shown(screen, announcement({}, one_off="ONE-OFF"))
    assert "sign in" not in text
    assert "Token for this run only (set MCP_AUTH_TOKEN to keep one): ONE-OFF" in text


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ({"mcp_auth_token": TOKEN}, "forwards to mcp_app:mcp"),
        (SIGN_IN, f"; clients sign in at {ISSUER}"),
        ({"front": "iap", "front_audience": "x"}, "; the front (iap) signs people in"),
        # The front alone is told of where every request has to pass it.
        ({**SIGN_IN, "front": "iap", "front_audience": "x"}, "; the front (iap) signs people in"),
    ],
)
def test_the_line_of_the_log_has_the_ways_in(
    given: dict[str, Any], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    announcement(given).listening()
    (record,) = caplog.records
    assert record.getMessage().endswith(end)


def test_the_secret_of_the_client_is_in_no_line_in_any_spelling() -> None:
    secret = "p/=+ S3cret 8c71f0"
    settings = Settings(_env_file=None, auth_client_id="gate:one", auth_client_secret=secret)
    redact = Redactor(secrets_of(settings))
    basic = b64encode(f"{quote_plus('gate:one')}:{quote_plus(secret)}".encode()).decode()
    for spelling in (secret, quote_plus(secret), basic):
        assert redact(f"[{spelling}]") in {f"[{MASK}]", f"[{MASK}=]"}, spelling
    assert redact("the client gate:one asks") == "the client gate:one asks"


OF_SPACE = {"OAUTH_CLIENT_ID": "1d5f", "OAUTH_CLIENT_SECRET": "p/=+ of the Space"}
OWN = {"SIGN_IN_CLIENT_ID": "gate", "SIGN_IN_CLIENT_SECRET": "p/=+ of the gate"}


@pytest.mark.parametrize(
    ("place", "given", "left"),
    [
        ("huggingface", OF_SPACE, set()),
        ("huggingface", OF_SPACE | OWN, set()),
        ("https://sso.example", OF_SPACE | OWN, {"OAUTH_CLIENT_SECRET"}),
        ("", OF_SPACE, {"OAUTH_CLIENT_SECRET"}),  # the server may have a sign-in of its own
    ],
)
def test_the_secrets_of_signing_in_are_in_no_line_and_leave_the_environment(
    monkeypatch: pytest.MonkeyPatch, place: str, given: dict[str, str], left: set[str]
) -> None:
    more = {"SPACE_ID": "me/gate", "SIGN_IN": place, "SIGN_IN_SECRET": TOKEN}
    for name, value in (given | more).items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    redact = Redactor(secrets_of(settings))
    assert {name for name in given | more if name.endswith("SECRET") and name in os.environ} == left
    assert redact(TOKEN) == MASK
    client, secret = settings.sign_in_client
    basic = b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()
    for spelling in (secret, quote_plus(secret), basic) if place else ():
        assert redact(f"[{spelling}]") in {f"[{MASK}]", f"[{MASK}=]"}, spelling
