"""PUBLIC_URL: what it may say, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.assembly.location import shown_by
from gatehouse.settings.environment import Settings, SettingsError, load_settings
from gatehouse.settings.notes import on_fronts
from tests.harness.hosts import LOOPBACK, NAMED, PUBLIC, SPACE

if TYPE_CHECKING:
    from pathlib import Path


def settings_of(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://gate.example.com", "https://gate.example.com"),
        (" HTTPS://Gate.Example.com/ ", "https://gate.example.com"),
        ("https://gate.example.com/mcp", "https://gate.example.com"),
        ("https://gate.example.com/mcp/", "https://gate.example.com"),
        ("https://gate.example.com:443", "https://gate.example.com"),
        ("https://gate.example.com.:8443/", "https://gate.example.com:8443"),
        ("http://gate.lan:80", "http://gate.lan"),
        ("http://192.0.2.7:7860", "http://192.0.2.7:7860"),
        ("https://[2001:DB8::1]:443/mcp", "https://[2001:db8::1]"),
        ("https://xn--gte-hoa.example", "https://xn--gte-hoa.example"),
        ("http://localhost:7860", "http://localhost:7860"),
    ],
)
def test_it_is_an_origin_and_the_endpoint_is_below_it(text: str, origin: str) -> None:
    settings = settings_of(public_url=text)
    assert settings.public_origin == origin
    assert settings.public_endpoint == f"{origin}/mcp"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gate.example.com", "must begin with https:// or http://"),
        ("gate.example.com:8443", "must begin with https:// or http://"),
        ("//gate.example.com", "must begin with https:// or http://"),
        ("ftp://gate.example.com", "must begin with https:// or http://"),
        ("https:/gate.example.com", "must begin with https:// or http://"),
        ("https://gate.example.com/tools", "may have no path"),
        ("https://gate.example.com/mcp/x", "may have no path"),
        ("https://gate.example.com?key=S3cret", "may have no query"),
        ("https://gate.example.com/mcp#x", "may have no query"),
        ("https://me:S3cret@gate.example.com", "no user name and no password"),
        ("https://", "nobody can call"),
        ("https:///mcp", "nobody can call"),
        ("https://*.example.com", "nobody can call"),
        ("https://0.0.0.0:7860", "nobody can call"),
        ("https://[::]", "nobody can call"),
        ("https://gate.example.com:0x50", "nobody can call"),
        ("https://gate.example.com:99999", "nobody can call"),
        ("https://gäte.example", "nobody can call"),
        ("https://gate example.com", "nobody can call"),
        ("https://gate.example.com, https://b.example", "nobody can call"),
        ("https://[::1", "nobody can call"),
        ("https://256.1.1.1", "nobody can call"),
        ("https://-gate.example", "nobody can call"),
        ("https://a$(id).example", "nobody can call"),
    ],
)
def test_anything_else_is_refused_in_words_that_repeat_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUBLIC_URL", text)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    (fault,) = refused.value.faults
    assert fault.startswith("PUBLIC_URL: ")
    assert words in fault
    assert "such as https://gate.example.com" in fault or "write it" in fault
    assert "S3cret" not in fault


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        (LOOPBACK, ""),
        (PUBLIC, ""),
        (NAMED, ""),
        (SPACE, "https://u-s.hf.space"),
        ({**SPACE, "space_host": ""}, ""),
        ({**SPACE, "allowed_hosts": "mcp.example"}, "https://mcp.example"),
        ({**SPACE, "allowed_hosts": "only.example"}, ""),
        ({**SPACE, "public_url": "https://gate.example.com"}, "https://gate.example.com"),
    ],
)
def test_in_a_space_its_first_host_stands_for_it_elsewhere_nothing(
    given: dict[str, str], origin: str
) -> None:
    settings = settings_of(**given)
    assert settings.public_origin == origin
    assert settings.public_endpoint == (f"{origin}/mcp" if origin else "http://127.0.0.1:7860/mcp")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"front": "cloudflare"}, True),
        ({**SPACE, "front": "iap"}, True),
        ({**SPACE, "front": "iap", "public_url": "https://gate.example"}, False),
        ({"front": "cloudflare", "front_required": False}, False),
        (SPACE, False),
    ],
)
def test_an_address_past_a_required_front_is_remarked_upon(
    given: dict[str, Any], said: bool
) -> None:
    told = list(on_fronts(settings_of(**given)))
    assert ["past the front" in words for words in told] == [True] * said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"public_url": "https://gate.example"}, True),
        ({"public_url": "https://gate.example", "trusted_hops": 1}, False),
        ({"public_url": "https://gate.example", "trusted_hops": 0}, False),
        ({"public_url": "http://gate.lan"}, False),
        ({**SPACE, "public_url": "https://gate.example"}, False),
        ({}, False),
        # Cloudflare tells the address of each client whose assertion is good.
        ({"public_url": "https://gate.example", "front": "cloudflare"}, False),
        (
            {"public_url": "https://gate.example", "front": "cloudflare", "front_required": False},
            True,
        ),
        ({"public_url": "https://gate.example", "front": "iap"}, True),
    ],
)
def test_without_a_word_about_the_front_that_https_needs_the_start_asks_for_it(
    given: dict[str, Any], said: bool
) -> None:
    assert ["TRUSTED_HOPS" in words for words in on_fronts(settings_of(**given))] == [True] * said


@pytest.mark.parametrize(
    ("given", "public", "as_host"),
    [
        ({}, None, False),
        ({"trusted_hops": 1}, None, True),
        ({"trusted_hops": 1, "mcp_app": ""}, None, False),
        ({"public_url": "https://a.example:8443"}, (b"https", b"a.example:8443"), True),
        ({"public_url": "https://a.example", "mcp_app": ""}, (b"https", b"a.example"), False),
        (SPACE, (b"https", b"u-s.hf.space"), True),
    ],
)
def test_the_upstream_is_shown_it_and_a_hosted_one_is_called_by_it(
    given: dict[str, Any], public: tuple[bytes, bytes] | None, as_host: bool
) -> None:
    assert shown_by(settings_of(**given)) == (public, as_host)
