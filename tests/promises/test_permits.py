"""Named tokens at the gate: who is told apart, whose session it is, how often, and until when."""

from __future__ import annotations

import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.http import refusals
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.identity.rate import OFF, parse_rate
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import one_way, open_house
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.house import House

ALICE, ALICE_NEW, BOB, GUEST, TABLET, SLOW = (make_value() for _ in range(6))


def value(text: str, **times: datetime) -> TokenValue:
    return TokenValue(digest_of(text), **times)


TOKENS = (
    Token("alice", (value(ALICE),)),
    Token("bob", (value(BOB),)),
    Token("guest", (value(GUEST),), grants=Grants(tools=("list_*",))),
    Token("tablet", (value(TABLET),), lanes=LANES),
    Token("slow", (value(SLOW),), rate=parse_rate("1/min, burst 2")),
)
WRONG = make_value()
SESSION = b"0f3c9e8ad5b14a7c"


@pytest.fixture
async def house(way: dict[str, Any]) -> AsyncIterator[House]:
    async with open_house(tokens=TOKENS, **way) as house:
        yield house


async def ask(
    house: House,
    token: str,
    *fields: bytes,
    method: bytes = b"POST",
    target: bytes = b"/mcp",
    body: bytes = b"{}",
) -> tuple[Head, bytes]:
    bearer = [f"Authorization: Bearer {token}".encode()] if token else []
    body = b"" if method in {b"GET", b"DELETE"} else body
    return await house.request(target, *bearer, *fields, method=method, body=body, token=False)


def in_session(session: bytes = SESSION) -> bytes:
    return b"Mcp-Session-Id: " + session


def message(body: bytes) -> str:
    return str(json.loads(body)["error"]["message"])


# The caller.


async def test_each_name_is_told_to_the_upstream_and_to_the_log(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    for token, name in [(ALICE, b"alice"), (BOB, b"bob"), (TOKEN, b"default")]:
        head, _ = await ask(house, token)
        assert head.status == 200
        assert house.upstream.heads[-1].all(b"x-gate-principal") == [name]
    await ask(house, "", target=b"/mcp?key=" + TABLET.encode())
    assert house.upstream.heads[-1].all(b"x-gate-principal") == [b"tablet"]
    for said in ("alice by header", "bob by header", "default by header", "tablet by query"):
        with trio.fail_after(1):
            while said not in access_log.text:  # the line follows the answer
                await trio.sleep(0.01)
    assert not re.search("mcpgate_", access_log.text)


@one_way
@pytest.mark.parametrize("name", [b"X-Gate-Principal", b"x-gate-principal", b"X-GATE-PRINCIPAL"])
async def test_nobody_can_say_that_he_is_another(house: House, name: bytes) -> None:
    await ask(house, BOB, name + b": alice", b"Connection: " + name, name + b": default")
    assert house.upstream.head.all(b"x-gate-principal") == [b"bob"]
    head, _ = await ask(house, BOB, name.replace(b"-", b"_") + b": alice")
    assert head.status == 400
    assert len(house.upstream.heads) == 1


@one_way
async def test_a_single_shared_token_adds_no_field(way: dict[str, Any]) -> None:
    async with open_house(**way) as house:
        await ask(house, TOKEN, b"X-Gate-Principal: alice")
        assert house.upstream.head.all(b"x-gate-principal") == []


@one_way
async def test_a_named_token_comes_in_a_url_only_if_it_may(house: House) -> None:
    for token, status in [(ALICE, 401), (TABLET, 200), (TOKEN, 200)]:
        head, _ = await ask(house, "", target=b"/mcp?key=" + token.encode())
        assert head.status == status
        assert head.get(b"referrer-policy") == b"no-referrer"
        assert head.all(b"cache-control") == [b"no-store"]


@one_way
async def test_why_somebody_is_refused_is_in_the_log_only(
    house: House, access_log: pytest.LogCaptureFixture
) -> None:
    bodies = set()
    for token, target in [("", b"/mcp"), (WRONG, b"/mcp"), ("", b"/mcp?key=" + ALICE.encode())]:
        bodies.add((await ask(house, token, target=target))[1])
    assert bodies == {refusals.CHALLENGE.body}
    with trio.fail_after(5):
        while "token-lane" not in access_log.text:  # the line comes a moment after the answer
            await trio.sleep(0.01)
    for said in ("refused: no-token", "refused: token)", "alice, from 127.0.0.1", "token-lane"):
        assert said in access_log.text


@one_way
async def test_url_keys_can_be_switched_off(way: dict[str, Any]) -> None:
    async with open_house(tokens=TOKENS, allow_query_key=False, **way) as house:
        _, page = await house.request(b"/", token=False)
        assert b"<details hidden>" in page, "the landing page speaks of them"
        for token in (TABLET, TOKEN):
            head, _ = await ask(house, "", target=b"/mcp?key=" + token.encode())
            assert head.status == 401
            head, _ = await ask(house, token)
            assert head.status == 200
            assert head.get(b"referrer-policy") is None


# Sessions.


async def opened(house: House, token: str, session: bytes = SESSION) -> None:
    house.upstream.script = answer(b"{}", b"Mcp-Session-Id: " + session)
    head, _ = await ask(house, token)
    assert head.get(b"mcp-session-id") == session
    house.upstream.script = answer()


@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE"])
async def test_anothers_session_is_answered_like_one_that_does_not_exist(
    house: House, method: bytes
) -> None:
    await opened(house, ALICE)
    asked = len(house.upstream.heads)
    head, body = await ask(house, BOB, in_session(), method=method)
    unknown_head, unknown = await ask(house, BOB, in_session(b"unknown"), method=method)
    assert head.status == unknown_head.status == 404
    assert body == unknown == refusals.SESSION_NOT_FOUND.body
    assert len(house.upstream.heads) == asked, "the upstream has been asked"
    head, _ = await ask(house, ALICE, in_session(), method=method)
    assert head.status == 200


async def test_a_rotation_keeps_sessions_and_a_revoked_name_loses_them(house: House) -> None:
    await opened(house, ALICE)
    house.keyring.replace([Token("alice", (value(ALICE_NEW),))])
    head, _ = await ask(house, ALICE_NEW, in_session())
    assert head.status == 200
    head, _ = await ask(house, ALICE, in_session())
    assert head.status == 401


async def test_a_session_ends_by_delete(house: House) -> None:
    await opened(house, ALICE)
    head, _ = await ask(house, ALICE, in_session(), method=b"DELETE")
    assert head.status == 200
    head, _ = await ask(house, ALICE, in_session())
    assert head.status == 404


async def test_a_delete_that_the_upstream_refuses_ends_nothing(house: House) -> None:
    await opened(house, ALICE)
    house.upstream.script = answer(status=b"405 Method Not Allowed")
    await ask(house, ALICE, in_session(), method=b"DELETE")
    house.upstream.script = answer()
    head, _ = await ask(house, ALICE, in_session())
    assert head.status == 200


async def test_a_session_ends_when_the_upstream_does_not_know_it(house: House) -> None:
    await opened(house, ALICE)
    house.upstream.script = answer(b"its own words", status=b"404 Not Found")
    head, body = await ask(house, ALICE, in_session())
    assert (head.status, body) == (404, b"its own words")
    house.upstream.script = answer()
    head, body = await ask(house, ALICE, in_session())
    assert (head.status, body) == (404, refusals.SESSION_NOT_FOUND.body)


async def test_a_failed_opening_opens_nothing(house: House) -> None:
    house.upstream.script = answer(b"{}", in_session(), status=b"400 Bad Request")
    await ask(house, ALICE)
    house.upstream.script = answer()
    head, _ = await ask(house, ALICE, in_session())
    assert head.status == 404


async def test_an_upstream_that_gives_the_same_session_to_two_names_is_at_fault(
    house: House,
) -> None:
    await opened(house, ALICE)
    house.upstream.script = answer(b"{}", in_session())
    head, _ = await ask(house, BOB)
    assert head.status == 502
    assert head.get(b"mcp-session-id") is None


@one_way
async def test_two_sessions_in_one_request_are_refused(house: House) -> None:
    await opened(house, ALICE)
    await opened(house, BOB, b"bobs")
    asked = len(house.upstream.heads)
    head, _ = await ask(house, BOB, in_session(b"bobs"), in_session())
    assert head.status == 400
    assert len(house.upstream.heads) == asked


# How often.


@one_way
async def test_a_rate_is_kept_and_says_when_to_come_back(house: House) -> None:
    statuses = [(await ask(house, SLOW))[0].status for _ in range(3)]
    assert statuses == [200, 200, 429]
    head, body = await ask(house, SLOW)
    assert 1 <= int(head.get(b"retry-after") or 0) <= 60
    assert "'slow'" in message(body)
    assert len(house.upstream.heads) == 2
    head, _ = await ask(house, ALICE)
    assert head.status == 200, "another name has its own"


@one_way
async def test_url_keys_have_a_rate_of_their_own(way: dict[str, Any]) -> None:
    async with open_house(tokens=TOKENS, query_rate="1/min, burst 1", **way) as house:
        for token in (TABLET, TOKEN):
            url = b"/mcp?key=" + token.encode()
            statuses = [(await ask(house, "", target=url))[0].status for _ in range(2)]
            assert statuses == [200, 429]
            head, _ = await ask(house, token)
            assert head.status == 200, "by header it is not too often"


@one_way
async def test_a_named_url_key_has_a_tighter_rate_by_default_and_the_shared_token_none(
    way: dict[str, Any],
) -> None:
    async with open_house(tokens=TOKENS, **way) as house:
        for token, refused in [(TABLET, True), (TOKEN, False)]:
            url = b"/mcp?key=" + token.encode()
            statuses = {(await ask(house, "", target=url))[0].status for _ in range(25)}
            assert (429 in statuses) is refused


@one_way
async def test_off_is_no_rate(way: dict[str, Any]) -> None:
    async with open_house(tokens=TOKENS, query_rate="off", token_rate="off", **way) as house:
        url = b"/mcp?key=" + TABLET.encode()
        assert {(await ask(house, "", target=url))[0].status for _ in range(25)} == {200}
    free = replace(TOKENS[-1], rate=OFF)
    async with open_house(tokens=(*TOKENS[:-1], free), token_rate="1/min, burst 1", **way) as house:
        assert {(await ask(house, SLOW))[0].status for _ in range(5)} == {200}
        assert [(await ask(house, ALICE))[0].status for _ in range(2)] == [200, 429]


@one_way
async def test_a_rate_for_all_holds_without_named_tokens_too(way: dict[str, Any]) -> None:
    async with open_house(token_rate="1/min, burst 1", **way) as house:
        assert [(await ask(house, TOKEN))[0].status for _ in range(2)] == [200, 429]


@one_way
async def test_failures_are_throttled_by_address_and_a_good_token_is_never_locked_out(
    house: House,
) -> None:
    statuses = [(await ask(house, WRONG))[0].status for _ in range(70)]
    assert statuses[:60] == [401] * 60
    assert set(statuses[62:]) == {429}
    head, body = await ask(house, WRONG)
    assert int(head.get(b"retry-after") or 0) >= 1
    assert "no good" in message(body)
    for token in (ALICE, TOKEN):
        head, _ = await ask(house, token)
        assert head.status == 200, "a good token from the same address"
    head, _ = await ask(house, "")
    assert head.status == 401, "no credentials at all are no failure"


@one_way
async def test_behind_trusted_fronts_the_address_is_the_one_that_they_name(
    way: dict[str, Any],
) -> None:
    async with open_house(trusted_hops=1, failure_rate="1/min, burst 1", **way) as house:
        for made_up in (b"198.51.100.7", b"198.51.100.8"):
            for address, status in [(b"203.0.113.%d", 401), (b"203.0.113.%d", 429)]:
                forwarded = b"X-Forwarded-For: " + made_up + b", " + address % made_up[-1]
                head, _ = await ask(house, WRONG, forwarded)
                assert head.status == status
        await ask(house, TOKEN, b"X-Forwarded-For: 198.51.100.7, 203.0.113.9")
        assert house.upstream.head.all(b"x-forwarded-for") == [b"203.0.113.9"]


# Until when.

both_kinds = pytest.mark.parametrize("way", ["keep-alive", "inprocess-trio"], indirect=True)
"""For tests that take seconds: one way over the network, one in the process."""


@asynccontextmanager
async def standing_stream(house: House, token: str) -> AsyncIterator[Peer]:
    """A GET stream, which has had its head and a whole event."""
    async with (await house.connect()).stream as stream:
        peer = Peer(stream)
        bearer = f"Authorization: Bearer {token}".encode()
        await peer.send(house.raw(b"/mcp", bearer, token=False))
        await peer.head()
        assert (await peer.chunk()).startswith(b"data: 1\n\n")
        yield peer


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


async def end(peer: Peer, within: float) -> float:
    """Wait for the proper end of a stream; the seconds that it took. Raises EOFError if it is cut."""
    began = time.monotonic()
    with trio.fail_after(within):
        while await peer.chunk():
            pass
    return time.monotonic() - began


@both_kinds
async def test_a_stream_whose_token_is_revoked_ends_within_5_s_and_others_go_on(
    house: House,
) -> None:
    house.upstream.script = stream_events
    async with standing_stream(house, ALICE) as stream, standing_stream(house, BOB) as other:
        house.keyring.replace(token for token in TOKENS if token.name != "alice")
        assert await end(stream, within=6) < 5
        with pytest.raises(trio.TooSlowError):
            await end(other, within=1)


@both_kinds
async def test_a_stream_whose_token_expires_ends_within_5_s(house: House) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    house.keyring.replace([Token("alice", (value(ALICE, expires=soon),))])
    house.upstream.script = stream_events
    async with standing_stream(house, ALICE) as stream:
        assert await end(stream, within=7) < 6
    head, _ = await ask(house, ALICE)
    assert head.status == 401


@both_kinds
async def test_a_stream_in_the_middle_of_an_event_is_cut_within_5_s(house: House) -> None:
    async def stuck(peer: Peer, head: Head) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n9\r\ndata: 1\n\n\r\n6\r\ndata: \r\n"
        )
        await until_gone(peer)

    house.upstream.script = stuck
    async with standing_stream(house, ALICE) as stream:
        house.keyring.replace([])
        began = time.monotonic()
        with pytest.raises(EOFError):
            await end(stream, within=6)
        assert time.monotonic() - began < 5


@both_kinds
async def test_a_call_whose_token_is_revoked_before_its_answer_gets_a_challenge(
    house: House,
) -> None:
    async def think(peer: Peer, head: Head) -> None:
        await peer.body(head)
        house.keyring.replace([])
        await until_gone(peer)

    house.upstream.script = think
    with trio.fail_after(6):
        head, _ = await ask(house, ALICE)
    assert head.status == 401


@both_kinds
async def test_a_rotation_with_overlap_leaves_streams_alone(house: House) -> None:
    house.upstream.script = stream_events
    async with standing_stream(house, ALICE) as stream:
        later = datetime.now(UTC) + timedelta(days=7)
        both = (value(ALICE, expires=later), value(ALICE_NEW))
        house.keyring.replace([Token("alice", both)])
        with pytest.raises(trio.TooSlowError):
            await end(stream, within=2)


# The early lock, for an upstream that runs elsewhere.

MODERN = (b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: tools/call")


@pytest.mark.parametrize(
    ("name", "fields", "status", "words"),
    [
        ("guest", (*MODERN, b"Mcp-Name: list_inventory"), 200, ""),
        ("guest", (*MODERN, b"Mcp-Name: remove_item"), 403, "'remove_item'"),
        ("guest", (*MODERN, b"Mcp-Name: =?base64?cmVtb3ZlX2l0ZW0=?="), 403, "'remove_item'"),
        (
            "guest",
            (*MODERN, b"Mcp-Name: list_inventory", b"Mcp-Name: remove_item"),
            400,
            "Mcp-Name",
        ),
        (
            "guest",
            (b"MCP-Protocol-Version: 2025-11-25", *MODERN[1:], b"Mcp-Name: list_x"),
            403,
            "2026-07-28",
        ),
        ("guest", (), 403, "2026-07-28"),
        ("alice", (*MODERN, b"Mcp-Name: remove_item"), 200, ""),
        ("alice", (), 200, ""),
    ],
)
async def test_a_token_with_a_tool_list_is_held_to_it_before_the_body_is_read(
    house: House, name: str, fields: tuple[bytes, ...], status: int, words: str
) -> None:
    head, body = await ask(house, {"guest": GUEST, "alice": ALICE}[name], *fields)
    assert head.status == status
    assert len(house.upstream.heads) == (status == 200)
    if status != 200:
        assert words in message(body)


async def test_a_token_with_a_tool_list_gets_nowhere_but_to_the_endpoint(house: House) -> None:
    call = (*MODERN, b"Mcp-Name: list_inventory")
    for token, status in [(GUEST, 403), (ALICE, 200)]:
        head, _ = await ask(house, token, *call, target=b"/mcp/custom")
        assert head.status == status
    head, _ = await ask(house, GUEST, *call, target=b"/mcp/")
    assert head.status == 200
