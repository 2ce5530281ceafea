"""The landing page, without a connection."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, cast

import pytest

from gatehouse.assembly.location import origins_of
from gatehouse.pages.landing import MAX_PAGES, Landing, landing_page
from gatehouse.pages.ways_in import WaysIn
from gatehouse.settings.environment import Settings
from tests.harness.hosts import LOOPBACK, NAMED, PUBLIC, SPACE
from tests.harness.request_of import request_of

PAGE_OF_TOKENS = "59206da54a215edb92d51e4f29ae9b9888390fc2d686138c18d4f633306ec226"
"""The digest of the page of a gate that has static tokens only, without script and style: nothing of it changes with what other
gates have."""

FORWARDED_TLS = (b"X-Forwarded-Proto", b"https")


def endpoint_for(given: dict[str, Any], host: bytes | None, *fields: tuple[bytes, bytes]) -> str:
    """The endpoint that the page shows to a client that calls the gate by this name."""
    settings = Settings(_env_file=None, **given)
    landing = Landing("the default", cast("Any", None), cast("Any", None), origins_of(settings))
    named = [(b"Host", host)] if host is not None else []
    return landing.endpoint_for(request_of([*named, *fields], hops=settings.hops))


@pytest.mark.parametrize(
    ("given", "host", "endpoint"),
    [
        (LOOPBACK, b"localhost:7860", "http://localhost:7860/mcp"),
        (LOOPBACK, b"[::1]:7860", "http://[::1]:7860/mcp"),
        (NAMED, b"Gate.Example", "http://gate.example/mcp"),
        (PUBLIC, b"192.0.2.7:7860", "http://192.0.2.7:7860/mcp"),
        ({**NAMED, "trusted_hops": 1}, b"gate.example", "https://gate.example/mcp"),
        # Names by which nobody may call, or that a shell would read.
        (LOOPBACK, b"evil.example", "the default"),
        (NAMED, b"evil.example", "the default"),
        (PUBLIC, b"a$(id).example", "the default"),
        (PUBLIC, b"a&b", "the default"),
        (PUBLIC, b"x" * 300, "the default"),
        (PUBLIC, b"", "the default"),
        (PUBLIC, None, "the default"),
        # Where the public address is known, it alone counts.
        ({**PUBLIC, "public_url": "https://a.example"}, b"gate.example", "the default"),
        (SPACE, b"mcp.example", "the default"),
    ],
)
def test_it_goes_by_the_host_of_the_request_unless_the_public_address_is_set(
    given: dict[str, Any], host: bytes | None, endpoint: str
) -> None:
    assert endpoint_for(given, host, FORWARDED_TLS) == endpoint


def test_where_apps_sign_in_it_shows_the_url_that_the_metadata_have() -> None:
    given: dict[str, Any] = LOOPBACK
    origins = origins_of(Settings(_env_file=None, **given))
    request = request_of([(b"Host", b"localhost:7860")])
    for ways, shown in (
        (WaysIn(provider="Hugging Face"), "http://127.0.0.1:7860/mcp"),
        (WaysIn(), "http://localhost:7860/mcp"),
    ):
        parts = cast("Any", None)
        landing = Landing("http://127.0.0.1:7860/mcp", parts, parts, origins, ways)
        assert landing.endpoint_for(request) == shown


def test_clients_cannot_fill_the_memory_with_pages() -> None:
    for number in range(3 * MAX_PAGES):
        landing_page(f"http://h{number}/mcp", "<MCP>", "ready")
    assert landing_page.cache_info().currsize == MAX_PAGES
    assert b"&lt;MCP&gt;" in landing_page("http://h/mcp", "<MCP>", "ready").body


PAGE_IF_CLIENTS_SIGN_IN = WaysIn(tokens=False, issuer='https://as.example/"<x>')


def test_where_clients_sign_in_the_page_asks_for_no_token() -> None:
    page = landing_page("https://h/mcp", "N", "ready", ways=PAGE_IF_CLIENTS_SIGN_IN).body.decode()
    assert "Clients sign in at https://as.example/&quot;&lt;x&gt;: the URL is all" in page
    assert "claude mcp add <b>--transport http</b> n https://h/mcp</code>" in page
    assert "YOUR_TOKEN" not in page
    assert "Bring a token" not in page


def test_where_people_sign_in_the_url_comes_first_and_each_client_has_its_own_words() -> None:
    ways = WaysIn(provider="Hugging Face")
    page = landing_page("https://h/mcp", "N", "ready", ways=ways).body.decode()
    sign_in, token = page.split("Or bring a token")
    assert (
        "the URL is all that they need. A browser opens, you sign in with Hugging Face" in sign_in
    )
    assert "<b>--add-mcp</b>" in sign_in
    assert "codex mcp add n <b>--url</b> https://h/mcp</code>" in sign_in
    assert "opencode mcp auth n</code>" in sign_in
    assert "YOUR_TOKEN" not in sign_in
    assert "YOUR_TOKEN" in token


def test_beside_tokens_the_page_shows_both_ways() -> None:
    ways = WaysIn(issuer="https://as.example")
    page = landing_page("https://h/mcp", "N", "ready", ways=ways).body.decode()
    assert page.index('id="sign-in"') < page.index("Or bring a token")
    assert "Put it in place of" in page
    assert len(re.findall(r'id="([^"]+)"', page)) == len({*re.findall(r'id="([^"]+)"', page)})


def test_past_a_front_a_token_takes_the_place_of_no_sign_in() -> None:
    page = landing_page("https://h/mcp", "N", "ready", ways=WaysIn(front="iap")).body.decode()
    assert "The front (iap) signs people in" in page
    assert "Or bring a token" not in page
    assert "<span>Sign in, and everything passes" in page


def test_without_another_way_in_the_page_is_as_it_was() -> None:
    page = landing_page("https://gate.example/mcp", "FoodWise", "ready").body
    page = re.sub(rb"@[0-9.]+", b"", page)  # the releases of clients
    page = re.sub(rb"(?s)<(script|style)>.*?</\1>", b"", page)
    assert sha256(page).hexdigest() == PAGE_OF_TOKENS


DASHBOARD = "https://gate.example/dashboard"


@pytest.mark.parametrize("tokens", [True, False])
def test_one_link_leads_to_the_dashboard_in_a_tab_of_its_own(tokens: bool) -> None:
    ways = WaysIn(tokens=tokens, issuer="" if tokens else "https://as.example")
    without = landing_page("https://h/mcp", "N", "ready", ways=ways).body.decode()
    assert "dashboard" not in without
    assert without.count("whoever runs this gate") == tokens
    ways = replace(ways, dashboard=DASHBOARD)
    page = landing_page("https://h/mcp", "N", "ready", ways=ways).body.decode()
    link = f'<a href="{DASHBOARD}" target="_blank" rel="noopener">'
    assert page.count(link) == page.count("/dashboard") == 1


def test_the_name_of_the_server_is_the_headline_and_hostile_names_are_text() -> None:
    page = landing_page("https://h/mcp", "<i>My $server</i>", "ready").body.decode()
    assert "<h1>&lt;i&gt;My $server&lt;/i&gt;</h1>" in page
    assert "<i>" not in page


def test_the_policy_knows_script_and_style_of_the_page_by_their_hashes() -> None:
    page = landing_page("https://h/mcp", "N", "ready")
    policy = dict(page.headers)[b"Content-Security-Policy"].decode()
    for kind in ("script", "style"):
        (text,) = re.findall(rf"(?s)<{kind}>(.*?)</{kind}>", page.body.decode())
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"; {kind}-src 'sha256-{digest}';" in policy
    assert "; connect-src 'self';" in policy


def test_a_server_that_is_gone_is_told_from_one_that_starts() -> None:
    since = int(datetime(2026, 11, 5, 8, 7, 9, tzinfo=UTC).timestamp())
    gone = landing_page("https://h/mcp", "N", "unreachable", since=since).body.decode()
    told = '<time datetime="2026-11-05T08:07:09+00:00">08:07 UTC on 05 November</time>'
    assert 'class="status unreachable" id="state"' in gone
    assert f"The server behind the gate has not been reachable since {told}<" in gone
    unknown = landing_page("https://h/mcp", "N", "unreachable").body.decode()
    assert "The server behind the gate has stopped answering<" in unknown
    assert 'class="status starting"' in landing_page("https://h/mcp", "N", "starting").body.decode()
