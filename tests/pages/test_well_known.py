"""Discovery: what each spelling says, to whom it says nothing, and that no byte of it comes from a request."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from gatehouse.assembly.house import House
from gatehouse.http import refusals
from gatehouse.http.paths import ExposedPath, ExposedPaths
from gatehouse.pages.table import Pages
from gatehouse.pages.well_known import (
    MAX_ASKED_FIELDS,
    MAX_HOSTS_TOLD,
    METADATA,
    RESOURCES,
    STATIC_TOKEN,
    WellKnown,
)
from gatehouse.settings.environment import Settings
from tests.harness.paths import DISCOVERY
from tests.harness.program import TOKEN
from tests.harness.records import VALUE
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply

ORIGIN, ISSUER = "https://gate.example", "https://sign-in.example/tenant/"
HOST = (b"Host", b"gate.example")
JWT = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln"
ALL = ExposedPaths([ExposedPath(b"/*", needs_token=False)])


def pages(*, introspects: bool = False, name: str = "", scopes: tuple[str, ...] = ()) -> Pages:
    """The pages of a gate that everything else passes."""
    discovery = WellKnown(
        ORIGIN, ISSUER, lambda: scopes, introspects=introspects, name=lambda: name
    )
    table = dict.fromkeys(discovery.paths, discovery)
    return Pages(table, ALL, judge_methods=discovery.paths, not_found=discovery.elsewhere)


async def asked(
    place: Pages, target: bytes, *fields: tuple[bytes, bytes], method: str = "GET"
) -> Reply:
    request = request_of(fields, method=method, target=target)
    reply = await place.reply(cast("Any", SimpleNamespace(request=request, lane="")))
    assert reply is not None, target
    return reply


async def test_each_spelling_tells_of_its_own_resource_and_only_what_there_is_to_tell() -> None:
    for path, endpoint in RESOURCES.items():
        for method in ("GET", "HEAD"):
            reply = await asked(pages(), path, HOST, method=method)
            assert reply.status == 200
            assert json.loads(reply.body) == {
                "resource": f"https://gate.example{endpoint}",
                "authorization_servers": [ISSUER],
                "bearer_methods_supported": ["header"],
                "resource_documentation": "https://gate.example/",
            }
            assert dict(reply.headers) == {
                b"Content-Type": b"application/json",
                b"Cache-Control": b"max-age=300",
                b"Vary": b"Authorization, X-API-Key",
                b"Access-Control-Allow-Origin": b"*",
            }
    assert [*RESOURCES.values()] == ["/mcp", "/mcp", "/mcp/"]
    more = await asked(pages(name="FoodWise", scopes=("mcp", "mcp:write")), METADATA, HOST)
    told = json.loads(more.body)
    assert told["scopes_supported"] == ["mcp", "mcp:write"]
    assert told["resource_name"] == "FoodWise"


async def test_nothing_that_a_client_chooses_changes_a_byte() -> None:
    for path in RESOURCES:
        usual = await asked(pages(), path, HOST)
        for chosen in (b"evil.example", b'evil"x', b"gate.example:8443", b"", b"\xff\x00"):
            for fields in (
                [(b"Host", chosen)],
                [HOST, (b"X-Forwarded-Host", chosen)],
                [HOST, (b"X-Forwarded-Proto", b"http"), (b"Forwarded", b'host="%s"' % chosen)],
                [HOST, (b"Origin", b"https://evil.example"), (b"Authorization", b"Basic eA==")],
                [HOST, (b"Authorization", b"Bearer"), (b"X-API-Key", b"")],
                [HOST, (b"Authorization", b"Bearer " + JWT)],
            ):
                assert await asked(pages(), path + b"?a=b", *fields) == usual


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"", [(b"Authorization", b"Bearer " + VALUE.encode())]),
        (b"", [(b"Authorization", b"bearer  " + TOKEN.encode())]),
        (b"", [(b"Authorization", b"Bearer hf_oauth_" + JWT)]),
        (b"", [(b"X-API-Key", b"x")]),
        (b"", [(b"X-API-Key", JWT), (b"Authorization", b"Bearer " + JWT)]),
        (b"?key=x", []),
        (b"?a=b&k%65y=" + JWT, []),
        (b"?key=a&key=a", []),
        (b"", [(b"Authorization", b"Bearer " + JWT)] * 2),
    ],
)
async def test_a_client_with_a_static_token_learns_of_no_place_to_take_it_to(
    query: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    for path in RESOURCES:
        reply = await asked(pages(), path + query, HOST, *fields)
        assert reply == STATIC_TOKEN
        assert (b"Access-Control-Allow-Origin", b"*") in reply.headers
    told = json.loads(STATIC_TOKEN.body)
    assert told["error"] == "not_found"
    assert told["error_description"].endswith("remove the static token to sign in.")
    assert ISSUER not in str(told)


async def test_with_introspection_a_bearer_without_our_prefix_is_no_static_one() -> None:
    for value, status in ((TOKEN.encode(), 200), (VALUE.encode(), 404), (b"hf_x", 404)):
        bearer = (b"Authorization", b"Bearer " + value)
        assert (await asked(pages(introspects=True), METADATA, HOST, bearer)).status == status


async def test_any_web_page_may_ask_with_any_field_of_a_plain_name() -> None:
    fields = b'MCP-Protocol-Version, authorization ,x-custom, bad name, "x", a:b, '
    origin = (b"Origin", b"https://app.example")
    wanted = (b"Access-Control-Request-Headers", fields)
    for path in RESOURCES:
        for given in ([HOST, origin, wanted], [HOST]):
            reply = await asked(pages(), path, *given, method="OPTIONS")
            told = dict(reply.headers)
            assert (reply.status, reply.body) == (204, b"")
            assert told[b"Access-Control-Allow-Origin"] == b"*"
            assert told[b"Access-Control-Allow-Methods"] == told[b"Allow"] == b"GET, HEAD, OPTIONS"
            names = told[b"Access-Control-Allow-Headers"]
            more = b", authorization, x-custom" if wanted in given else b""
            assert names == b"mcp-protocol-version" + more
    many = b",".join(b"x-%d" % number for number in range(1000))
    reply = await asked(pages(), METADATA, (wanted[0], many), method="OPTIONS")
    assert dict(reply.headers)[b"Access-Control-Allow-Headers"].count(b",") == MAX_ASKED_FIELDS
    refused = await asked(pages(), METADATA, HOST, method="POST")
    assert (refused.status, dict(refused.headers)[b"Allow"]) == (405, b"GET, HEAD, OPTIONS")


async def test_no_other_path_has_a_document_and_none_can_be_exposed() -> None:
    odd = [METADATA + tail for tail in (b"/", b"/mcp/a", b"/MCP", b"/%6dcp", b"//mcp", b"/health")]
    for path in {*odd, *(path.encode() for path in DISCOVERY)} - RESOURCES.keys():
        reply = await asked(pages(), path, HOST)
        told = json.loads(reply.body)
        assert reply.status == 404
        assert told["error"] == "not_found"
        assert ISSUER in told["error_description"]
        assert f"{ORIGIN}{METADATA.decode()}/mcp" in told["error_description"]
    assert (await asked(Pages({}, ALL), METADATA, HOST)) == refusals.NOT_FOUND
    assert (await asked(pages(), b"/sse", HOST)) == refusals.OLD_TRANSPORT


async def test_the_log_tells_of_another_host_once_and_of_a_few_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = pages()
    for host in (b"gate.example", b"GATE.example:443"):
        await asked(place, METADATA, (b"Host", host))
    front = ((b"Host", b"10.0.0.7:7860"), (b"X-Forwarded-Host", b"gate.example"))
    await asked(place, METADATA, *front)
    await asked(place, METADATA)
    assert caplog.records == []
    for number in range(3 * MAX_HOSTS_TOLD):
        for _ in range(2):
            host = b"h%d\x1b[2J" % number + b"x" * 5000
            await asked(place, METADATA, (b"Host", host))
    lines = [entry.getMessage() for entry in caplog.records]
    assert len(lines) == MAX_HOSTS_TOLD
    assert all(line.isprintable() and len(line) < 1000 and ORIGIN in line for line in lines)


def of_a_gate(**given: Any) -> House:
    return House(Settings(_env_file=None, mcp_app="", **given), [])


OAUTH: dict[str, Any] = {"auth_issuer": ISSUER, "public_url": ORIGIN}
BEHIND = {"front": "cloudflare", "front_team": "team", "front_audience": "a" * 64}


async def test_a_gate_has_the_documents_only_with_an_issuer_and_no_front_that_is_one_itself() -> (
    None
):
    shown = [OAUTH, {**OAUTH, **BEHIND, "front_required": False}]
    hidden: list[dict[str, Any]] = [{}, {"public_url": ORIGIN}, BEHIND, {**OAUTH, **BEHIND}]
    for given in shown:
        house = of_a_gate(**given, auth_scopes="mcp files:read")
        for name in ("", "FoodWise"):
            house.landing.name = name or house.landing.name
            told = json.loads((await asked(house.pages, METADATA, HOST)).body)
            assert told["authorization_servers"] == [ISSUER]
            assert told["scopes_supported"] == ["mcp", "files:read"]
            assert told.get("resource_name", "") == name
    for given in hidden:
        for path in DISCOVERY:
            for method in ("GET", "HEAD", "OPTIONS", "POST"):
                reply = await asked(of_a_gate(**given).pages, path.encode(), HOST, method=method)
                assert reply == refusals.NOT_FOUND


def test_the_404_without_an_authorization_server_is_as_ever() -> None:
    assert refusals.NOT_FOUND.body == (
        b'{"error": "not_found", "error_description": "Nothing is here, and no OAuth: the MCP endpoint is /mcp. If the '
        b"client came here, its access token was missing, wrong, expired or revoked: set a good one as "
        b"'Authorization: Bearer TOKEN'.\"}"
    )
