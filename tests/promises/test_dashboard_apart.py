"""The dashboard as a whole gate has it, kept apart: each answer at its paths has its header fields, no answer of the server is
a page of its origin, and past a front that is required nobody gets as far as a sign-in.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.dashboard import ORIGIN
from tests.harness.house import open_house
from tests.harness.identity.assertions import CLOUDFLARE_AUD, TEAM
from tests.harness.identity.paper_provider import ISSUER
from tests.harness.wire import answer

SIGNS_IN: dict[str, Any] = {
    "sign_in": ISSUER,
    "sign_in_client_id": "gate",
    "sign_in_client_secret": "a-secret-of-the-client-at-the-provider",
    "admins": "sub:alice-0001",
    "public_url": ORIGIN,
    "state_db": "",
}
FRONT: dict[str, Any] = {
    "front": "cloudflare",
    "front_audience": CLOUDFLARE_AUD,
    "front_team": TEAM,
    "front_jwks_url": "http://127.0.0.1:1/keys",
}
OTHERS_ORIGIN = b"Origin: https://friend.example"


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (b"GET /dashboard/none", (), 404),
        (b"POST /dashboard/none", (), 404),
        (b"OPTIONS /dashboard/none", (OTHERS_ORIGIN, b"Access-Control-Request-Method: GET"), 404),
        (b"FOO /dashboard", (), 405),
        (b"PUT /dashboard/tokens", (), 405),
        (b"POST /dashboard/tokens/make", (OTHERS_ORIGIN, OTHERS_ORIGIN), 400),
        (b"GET /dashboard?#", (), 400),
        (b"GET /dashboard?" + b"x" * 20_000, (), 414),
        (b"GET /dashboard", (b"X: " + b"x" * 2000,) * 20, 431),
        (b"GET /dashboard", (b"Expect: more",), 417),
    ],
)
async def test_each_error_at_the_dashboard_has_its_header_fields(
    line: bytes, fields: tuple[bytes, ...], status: int
) -> None:
    method, _, path = line.partition(b" ")
    async with open_house(**SIGNS_IN, allowed_origins="https://friend.example") as house:
        head, _ = await house.request(path, *fields, method=method, token=False)
    assert head.status == status
    assert b"frame-ancestors 'none'" in (head.get(b"content-security-policy") or b"")
    for name, value in (
        (b"x-frame-options", b"DENY"),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
    ):
        assert head.all(name) == [value]
    assert head.get(b"access-control-allow-origin") is None


async def test_no_answer_of_the_server_is_a_page_of_the_dashboards_origin() -> None:
    for settings, kept_apart in ((SIGNS_IN, True), ({}, False)):
        async with open_house(**settings) as house:
            house.upstream.script = answer(b"<script>1</script>", b"Content-Type: text/html")
            head, body = await house.request(b"/mcp")
        assert body == b"<script>1</script>"
        assert (head.get(b"content-security-policy") == b"sandbox") is kept_apart
        assert (head.get(b"x-content-type-options") == b"nosniff") is kept_apart


async def test_a_page_cannot_write_another_name_over_the_one_by_which_it_asks() -> None:
    ours = b"X-Forwarded-Host: " + ORIGIN.partition("://")[2].encode()
    async with open_house(**SIGNS_IN) as house:
        for path in (b"/dashboard", b"/dashboard/sign-in"):
            raw = b"GET %s HTTP/1.1\r\nHost: evil.example\r\n%s\r\n\r\n" % (path, ours)
            peer = await house.connect()
            async with peer.stream:
                await peer.send(raw)
                assert (await peer.head()).status == 421


async def test_past_a_front_that_is_required_nobody_begins_a_sign_in() -> None:
    async with open_house(**SIGNS_IN, **FRONT) as house:
        for path in (b"sign-in", b"callback?code=x&state=y"):
            head, _ = await house.request(b"/dashboard/" + path, token=False)
            assert head.status == 404
            assert head.all(b"set-cookie") == []
        head, body = await house.request(b"/dashboard", token=False)
        assert head.status == 403
        assert b"/dashboard/sign-in" not in body


async def test_however_much_is_exposed_nothing_at_the_dashboards_paths_is_the_servers() -> None:
    async with open_house(**SIGNS_IN, expose_paths="/*") as house:
        for path in (b"/dashboard/none", b"/dashboard/tokens/", b"/Dashboard", b"/DASHBOARD/x"):
            head, _ = await house.request(path)
            assert head.status == 404
        assert house.upstream.heads == []
        head, _ = await house.request(b"/dashboards")
        assert head.status == 200
    async with open_house(expose_paths="/*") as house:
        head, _ = await house.request(b"/dashboard/none")
        assert head.status == 200
