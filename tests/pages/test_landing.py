"""The landing page, without a connection."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, cast

import pytest

from gatehouse.assembly.location import origins_of
from gatehouse.pages.landing import MAX_PAGES, Landing, landing_page
from gatehouse.pages.ways_in import WaysIn
from gatehouse.settings.environment import Settings
from tests.harness.hosts import LOOPBACK, NAMED, PUBLIC, SPACE
from tests.harness.request_of import request_of

PAGE_OF_TOKENS = "ad1be32fef970cc2b563b074f9235ce489bebca1d7940467cf37bbaf766dc496"
"""The digest of the page of a gate that has static tokens only: no byte of it changes with what other gates have."""

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


def test_beside_tokens_the_page_shows_both_ways() -> None:
    ways = WaysIn(issuer="https://as.example")
    page = landing_page("https://h/mcp", "N", "ready", ways=ways).body.decode()
    assert page.index('id="sign-in"') < page.index("Or bring a token")
    assert "Put your own token in place of" in page
    assert len(re.findall(r'id="([^"]+)"', page)) == len({*re.findall(r'id="([^"]+)"', page)})


def test_past_a_front_a_token_takes_the_place_of_no_sign_in() -> None:
    page = landing_page("https://h/mcp", "N", "ready", ways=WaysIn(front="iap")).body.decode()
    assert "The front (iap) signs people in" in page
    assert "Or bring a token" not in page
    assert "<span>Sign in, and everything passes" in page


def test_without_another_way_in_the_page_is_as_it_was() -> None:
    page = landing_page("https://gate.example/mcp", "FoodWise", "ready").body
    page = re.sub(rb"@[0-9.]+", b"", page)  # the releases of clients
    assert sha256(page).hexdigest() == PAGE_OF_TOKENS
