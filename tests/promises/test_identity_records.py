"""Records of people: how they came, by which name, and why not, as one word; nothing else of a token is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gatehouse.records.record import Record
from tests.harness.house import open_house
from tests.harness.identity.authorization_server import AuthorizationServer, authorization_server
from tests.harness.identity.house import PUBLIC, ask, believing, until_known
from tests.harness.identity.signing import key
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    import pytest

    from tests.harness.house import House

METRICS_TOKEN = "figures/0f-people+for.prometheus-5e1d"
NAME = "oauth:alice@example.com"


def bad(server: AuthorizationServer) -> dict[str, str]:
    """Tokens that are no good, by the word for it."""
    other = key("forger")
    good = server.token()
    return {
        "expired": server.token(exp=1),
        "bad-signature": good[:-40] + ("A" if good[-40] != "A" else "B") + good[-39:],
        "key-unknown": server.token(by=other, iat=1),
        "audience": server.token(aud="https://other.example/mcp"),
        "issuer": server.token(iss="https://other.example"),
        "not-yet": server.token(nbf=4_000_000_000),
        "subject": server.token(sub=None, client_id=None),
        "id-token": server.token(nonce="n"),
        "algorithm": server.token(header={"alg": "HS256"}),
        "critical": server.token(header={"crit": ["x"], "x": 1}),
        "too-large": server.token(filler="x" * 9000),
        "scope": server.token(scope="other"),
    }


def told_of(text: str, token: str) -> list[str]:
    """The pieces of a token's claims and signature that a text tells."""
    claims, signature = token.split(".")[1:]
    return [
        part[at : at + 16]
        for part in (claims, signature)
        for at in range(0, len(part) - 16, 8)
        if part[at : at + 16] in text
    ]


async def figures(house: House) -> str:
    bearer = b"Authorization: Bearer " + METRICS_TOKEN.encode()
    _, page = await house.request(b"/metrics", bearer, token=False)
    return page.decode()


async def test_log_and_figures_say_who_came_and_why_not_and_nothing_else_of_a_token(
    access_log: pytest.LogCaptureFixture,
) -> None:
    with authorization_server() as server:
        async with believing(server, metrics_token=METRICS_TOKEN) as house:
            good, refused = server.token(), bad(server)
            await until_known(house, good)
            for token in (good, *refused.values()):
                await ask(house, token)
            await ask(house, TOKEN)
            with trio.fail_after(10):
                while not (records := records_in(access_log)) or records[-1].name != "default":
                    await trio.sleep(0.01)
            page = await figures(house)
    came = {(each.kind, each.name, each.lane) for each in records if each.status == 200}
    assert came == {("oauth", NAME, "header"), ("token", "default", "header")}
    why = [each.reason for each in records if each.outcome == "refused"]
    assert why[-len(refused) :] == [*refused]  # before there were keys it was for lack of them
    for token in (good, *refused.values()):
        assert told_of(access_log.text + page, token) == []
    for claim in ("alice-0001", "app-of-the-tests", "mcp:read", "other.example"):
        assert claim not in access_log.text + page
    for reason in refused:
        assert f'mcp_gate_refusals_total{{reason="{reason}"}} 1.0' in page
    assert f'token="{NAME}"' in page
    assert 'mcp_gate_requests_by_kind_total{kind="token",status="2xx"} 1.0' in page
    assert 'mcp_gate_auth_keys_age_seconds{keys="oauth"}' in page


def records_in(log: pytest.LogCaptureFixture) -> list[Record]:
    return [entry.msg for entry in log.records if isinstance(entry.msg, Record)]


async def test_without_keys_their_age_is_not_told_and_the_reason_is_that_there_are_none(
    access_log: pytest.LogCaptureFixture,
) -> None:
    with authorization_server() as server:
        token, issuer = server.token(), server.issuer
    async with open_house(
        metrics_token=METRICS_TOKEN, auth_issuer=issuer, public_url=PUBLIC, background=True
    ) as house:
        answer = await ask(house, token)
        page = await figures(house)
    assert answer.status == 503
    assert answer.head.get(b"Retry-After")
    assert "mcp_gate_auth_keys_age_seconds{" not in page
    assert 'mcp_gate_refusals_total{reason="keys-unavailable"} 1.0' in page
    assert told_of(access_log.text, token) == []
