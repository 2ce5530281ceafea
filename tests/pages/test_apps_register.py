"""The endpoint where clients register: anybody may, and nothing is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.registrations import REGISTRATION_SECONDS, Registrations
from gatehouse.pages.apps.register import OF_ADDRESS, RegisterEndpoint
from gatehouse.signin.sealing import Sealer
from tests.harness.pages import FORM, JSON, reply_of

REGISTRATIONS = Registrations(
    Sealer(b"a secret of the tests, long enough", "client", max_seconds=REGISTRATION_SECONDS)
)
GOOD = json.dumps({"client_name": "Claude", "redirect_uris": ["http://127.0.0.1/cb"]}).encode()


async def test_a_client_gets_an_id_that_is_all_there_is_of_it() -> None:
    reply = await reply_of(RegisterEndpoint(REGISTRATIONS), "/register", JSON, body=GOOD)
    told = json.loads(reply.body)
    assert reply.status == 201
    assert dict(reply.headers)[b"Cache-Control"] == b"no-store"
    assert told["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in told
    client = REGISTRATIONS.find(told["client_id"])
    assert client is not None
    assert client.name == "Claude"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "invalid_client_metadata"),
        (b"[]", 400, "invalid_client_metadata"),
        (b"{", 400, "invalid_client_metadata"),
        (b'{"redirect_uris": [], "redirect_uris": []}', 400, "invalid_client_metadata"),
        (b"[" * 9000, 400, "invalid_client_metadata"),
        (b'{"a": "' + b"a" * 17_000 + b'"}', 413, "invalid_client_metadata"),
        (b"{}", 400, "invalid_redirect_uri"),
        (b'{"redirect_uris": ["http://evil.example/"]}', 400, "invalid_redirect_uri"),
        (
            b'{"redirect_uris": ["https://a.example/"], "client_name": {}}',
            400,
            "invalid_client_metadata",
        ),
    ],
)
async def test_what_is_no_client_is_refused_in_the_terms_of_the_standard(
    body: bytes, status: int, error: str
) -> None:
    reply = await reply_of(RegisterEndpoint(REGISTRATIONS), "/register", JSON, body=body)
    assert (reply.status, json.loads(reply.body)["error"]) == (status, error)
    assert b"evil" not in reply.body


async def test_only_json_is_read_and_only_by_post() -> None:
    page = RegisterEndpoint(REGISTRATIONS)
    assert (await reply_of(page, "/register", FORM, body=GOOD)).status == 415
    assert (await reply_of(page, "/register", method="GET")).status == 405
    assert (await reply_of(page, "/register", method="OPTIONS")).status == 204
    static = (b"Authorization", b"Bearer mcpgate_" + b"Z" * 43)
    assert (await reply_of(page, "/register", JSON, static, body=GOOD)).status == 404


async def test_one_address_waits_and_no_other_one_does() -> None:
    page = RegisterEndpoint(REGISTRATIONS)
    statuses = [
        (await reply_of(page, "/register", JSON, body=GOOD)).status
        for _ in range(OF_ADDRESS.burst + 2)
    ]
    assert statuses == [201] * OF_ADDRESS.burst + [429] * 2
    other = await reply_of(page, "/register", JSON, body=GOOD, client="198.51.100.7")
    assert other.status == 201


@given(
    st.binary(max_size=60) | st.text().map(lambda text: json.dumps({"client_name": text}).encode())
)
async def test_no_body_makes_it_fail(body: bytes) -> None:
    reply = await reply_of(RegisterEndpoint(REGISTRATIONS), "/register", JSON, body=body)
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith("invalid_")
