"""The gate about itself as an authorization server."""

from __future__ import annotations

import json

import pytest

from gatehouse.pages.apps.metadata import PATHS, ServerMetadata
from tests.harness.pages import reply_of

ORIGIN, PEOPLE_AT = "https://gate.example", "https://me-gate.hf.space"


def metadata(*scopes: str) -> ServerMetadata:
    return ServerMetadata(ORIGIN, PEOPLE_AT, lambda: scopes)


@pytest.mark.parametrize("path", sorted(path.decode() for path in PATHS))
async def test_the_document_names_absolute_places_that_no_request_chooses(path: str) -> None:
    evil = ((b"Host", b"evil.example"), (b"X-Forwarded-Host", b"evil.example"))
    reply = await reply_of(metadata(), path, *evil, method="GET")
    told = json.loads(reply.body)
    assert reply.status == 200
    assert told["issuer"] == ORIGIN
    assert told["authorization_endpoint"] == f"{PEOPLE_AT}/authorize"
    assert told["token_endpoint"] == f"{ORIGIN}/token"
    assert told["registration_endpoint"] == f"{ORIGIN}/register"
    assert told["revocation_endpoint"] == f"{ORIGIN}/revoke"
    assert told["response_types_supported"] == ["code"]
    assert told["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["token_endpoint_auth_methods_supported"] == ["none"]
    assert told["client_id_metadata_document_supported"] is True
    assert told["authorization_response_iss_parameter_supported"] is True
    assert "scopes_supported" not in told
    assert "jwks_uri" not in told
    assert "evil" not in reply.body.decode()
    assert dict(reply.headers)[b"Access-Control-Allow-Origin"] == b"*"


async def test_it_names_the_scopes_that_there_are() -> None:
    reply = await reply_of(
        metadata("read", "write"), "/.well-known/oauth-authorization-server", method="GET"
    )
    assert json.loads(reply.body)["scopes_supported"] == ["read", "write"]


async def test_any_page_may_ask_and_nobody_may_change_it() -> None:
    path = "/.well-known/oauth-authorization-server"
    asked = (b"Access-Control-Request-Headers", b"mcp-protocol-version")
    preflight = await reply_of(metadata(), path, asked, method="OPTIONS")
    assert preflight.status == 204
    assert (await reply_of(metadata(), path)).status == 405


async def test_a_request_with_a_static_token_learns_nothing() -> None:
    path = "/.well-known/oauth-authorization-server"
    static = (b"Authorization", b"Bearer mcpgate_" + b"Z" * 43)
    reply = await reply_of(metadata(), path, static, method="GET")
    assert reply.status == 404
    assert b"remove the static token" in reply.body
    sealed = (b"Authorization", b"Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..a.b.c")
    assert (await reply_of(metadata(), path, sealed, method="GET")).status == 200
