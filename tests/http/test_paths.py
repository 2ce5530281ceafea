"""The paths that lead to the upstream, and that nothing odd does."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.paths import (
    ExposedPath,
    ExposedPaths,
    is_for_upstream,
    route_of,
    upstream_target,
)
from tests.harness.paths import DISCOVERY, ODD


@pytest.mark.parametrize(
    ("path", "forwarded"),
    [
        (b"/mcp", b"/mcp"),
        (b"/mcp/", b"/mcp"),
        (b"/mcp/a", b"/mcp/a"),
        (b"/mcp/a/", b"/mcp/a/"),
        (b"/mcp/a/b.c-d_e~f", b"/mcp/a/b.c-d_e~f"),
        (b"/mcp/a%20b%C3%A9", b"/mcp/a%20b%C3%A9"),
        (b"/mcp/%E4%B8%AD%f0%9f%8d%85%E0%A4%85", b"/mcp/%E4%B8%AD%f0%9f%8d%85%E0%A4%85"),
        (b"/mcp/...", b"/mcp/..."),
        (b"/mcp/a=b,c:@!$&'()*+", b"/mcp/a=b,c:@!$&'()*+"),
    ],
)
def test_the_endpoint_and_what_is_below_it_is_forwarded_as_it_stands(
    path: bytes, forwarded: bytes
) -> None:
    assert is_for_upstream(path)
    assert upstream_target(path, b"", b"/mcp") == forwarded


@pytest.mark.parametrize(
    ("endpoint", "path", "forwarded"),
    [
        (b"/mcp", b"/mcp/", b"/mcp"),
        (b"/mcp/", b"/mcp", b"/mcp/"),
        (b"/mcp/", b"/mcp/a", b"/mcp/a"),
        (b"/api/v1/mcp", b"/mcp/", b"/api/v1/mcp"),
        (b"/api/v1/mcp", b"/mcp/a", b"/api/v1/mcp/a"),
        (b"/api/", b"/mcp/a", b"/api/a"),
    ],
)
def test_both_spellings_become_exactly_the_upstreams_own(
    endpoint: bytes, path: bytes, forwarded: bytes
) -> None:
    assert upstream_target(path, b"", endpoint) == forwarded


@pytest.mark.parametrize("path", [*ODD, "http://host/mcp"])
def test_a_path_that_could_be_read_in_two_ways_does_not_lead_there(path: str) -> None:
    assert not is_for_upstream(path.encode())


def test_control_characters_and_raw_8_bit_do_not_lead_there() -> None:
    for byte in [*range(0x21), *range(0x7F, 0x100)]:
        assert not is_for_upstream(b"/mcp/a" + bytes([byte]))
        assert not is_for_upstream(b"/mcp" + bytes([byte]))


@pytest.mark.parametrize("path", DISCOVERY)
def test_oauth_discovery_does_not_even_below_the_endpoint(path: str) -> None:
    assert not is_for_upstream(path.encode())


@given(st.text("/.%25eEfFcC;\\amcp?#A", max_size=12))
def test_whatever_is_forwarded_reads_the_same_for_everybody(tail: str) -> None:
    path = b"/mcp/" + tail.encode()
    if not is_for_upstream(path):
        return
    for spelling in (path, unquote_to_bytes(path)):
        segments = spelling.split(b"/")[1:]
        assert b"" not in segments[:-1]
        assert not {b".", b".."} & set(segments)
        assert not any(byte in spelling for byte in b"\\;?#")
    assert b"%" not in unquote_to_bytes(path)
    assert unquote_to_bytes(path).count(b"/") == path.count(b"/")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/mcp", "mcp"),
        (b"/mcp/", "mcp"),
        (b"/mcp/below", "mcp"),
        (b"/mcp/../ready", "other"),
        (b"/ready", "ready"),
        (b"/health", "health"),
        (b"/metrics", "metrics"),
        (b"/dashboard", "dashboard"),
        (b"/dashboard/tokens", "dashboard"),
        (b"/dashboard/now.json", "dashboard-now"),
        (b"/dashboards", "other"),
        (b"/", "landing"),
        (b"/ready/", "other"),
        (b"/webhook", "other"),
        (b"", "other"),
    ],
)
def test_each_path_is_one_of_a_few_routes_in_records(path: bytes, route: str) -> None:
    assert route_of(path) == route


EXPOSED = ExposedPaths(
    [
        ExposedPath(b"/*", needs_token=True),
        ExposedPath(b"/api/*", needs_token=False),
        ExposedPath(b"/api/admin", needs_token=True),
        ExposedPath(b"/api/private/*", needs_token=True),
        ExposedPath(b"/api/private/logo.png", needs_token=False),
    ],
    b"/api/mcp/",
)


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/api/a", True),
        ("/api/administrators", True),
        ("/api/private/logo.png", True),
        ("/api/a/admin", True),
        ("/api/admin", False),
        ("/api/admin/", False),
        ("/api/ADMIN", False),
        ("/api/private", False),
        ("/api/private/", False),
        ("/api/Private/a", False),
        ("/api/private/Logo.png", False),
        ("/API/a", False),
    ],
)
def test_below_an_open_path_what_needs_a_token_needs_it_in_every_spelling(
    path: str, is_open: bool
) -> None:
    assert EXPOSED.find(path.encode()) is not None
    assert EXPOSED.needs_no_token(path.encode()) is is_open


@pytest.mark.parametrize("path", ["/api/mcp", "/api/mcp/", "/api/MCP", "/Api/mcp/below/it"])
def test_no_exposed_path_leads_to_the_servers_endpoint(path: str) -> None:
    assert EXPOSED.find(path.encode()) is None


def test_an_endpoint_at_the_root_leaves_other_paths_to_be_exposed() -> None:
    exposed = ExposedPaths([ExposedPath(b"/a", needs_token=True)], b"/")
    assert exposed.find(b"/a") is not None
