"""The page about now before a real gate: what clients send is text there, and what they ask appears as it comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from gatehouse.records.recent import MAX_REQUESTS, MAX_TEXT
from tests.harness.house import BEARER
from tests.harness.watched import COOKIE, SECRET, watched
from tests.harness.wire import answer

if TYPE_CHECKING:
    import pytest

    from tests.harness.watched import Watched
    from tests.harness.wire import Head, Peer

MARKUP = b"<img/src=x/onerror=alert(1)>"
MODERN = b"MCP-Protocol-Version: 2026-07-28"


async def page(gate: Watched, query: bytes = b"") -> str:
    head, body = await gate.house.request(b"/dashboard" + query, *at(gate), token=False)
    assert head.status == 200
    return body.decode()


async def news(gate: Watched, after: int = 0, *more: bytes) -> dict[str, Any]:
    target = f"/dashboard/now.json?run={gate.recent.run}&after={after}".encode()
    head, body = await gate.house.request(target, *more, *at(gate), token=False)
    assert head.status == 200
    told: dict[str, Any] = json.loads(body)
    return told


def at(gate: Watched) -> list[bytes]:
    """The fields of a browser that asks by the public name; the harness has sent another Host before."""
    return [b"X-Forwarded-Host: 127.0.0.1:%d" % gate.house.port, COOKIE]


async def test_markup_in_paths_tools_and_methods_stays_text_and_secrets_stay_blank() -> None:
    async with watched() as gate:
        gate.house.upstream.script = answer()
        tool = [MODERN, b"Mcp-Method: tools/call", b"Mcp-Name: " + MARKUP]
        await gate.house.request(b"/mcp", *tool, method=b"POST", body=b"{}")
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "\u202e</td>"},
        }
        await gate.house.request(b"/mcp", method=b"POST", body=json.dumps(call).encode())
        for path in (
            MARKUP,
            b"javascript:alert(1)",
            SECRET.encode(),
            b"%00%22" + quote(SECRET).encode(),
        ):
            await gate.house.request(b"/" + path, token=False)
        text, told = await page(gate), await news(gate)
        assert len(told["rows"]) == 6
        for each in (text, json.dumps(told["rows"])):
            assert SECRET not in each
            assert "[secret]" in each
        assert "<img" not in text
        assert "\\u202e&lt;/td&gt;" in text
        assert "&lt;img/src=x/onerror=alert(1)&gt;" in text
        assert "&lt;img" in await page(gate, b"?text=" + quote(MARKUP).encode())


async def test_a_request_is_news_once_it_is_over_and_the_dashboard_is_none_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watched() as gate:
        gate.house.upstream.script = answer()
        await page(gate)
        await gate.house.request(b"/health", token=False)
        told = await news(gate)
        assert told["rows"] == []
        await gate.house.request(b"/mcp", method=b"POST", body=b"{}")
        (row,) = (await news(gate, told["last"]))["rows"]
        assert (row["name"], row["request"], row["status"]) == ("default", "POST /mcp", 200)
        assert (await news(gate, row["number"]))["rows"] == []
    lines = [(entry.levelname, entry.getMessage()) for entry in caplog.records]
    polls = {level for level, line in lines if "GET /dashboard/now.json" in line}
    assert polls <= {"DEBUG"}


async def test_neither_lane_opens_what_the_other_one_does() -> None:
    async with watched() as gate:
        gate.house.upstream.script = answer()
        for target in (b"/dashboard", b"/dashboard/now.json"):
            head, body = await gate.house.request(
                target, *at(gate)[:1], BEARER.rstrip(), token=False
            )
            assert head.status == 401
            assert b"default" not in body
        head, _ = await gate.house.request(b"/mcp", COOKIE, method=b"POST", body=b"{}", token=False)
        assert head.status == 401
        assert gate.house.upstream.heads == []
        (row,) = [row for row in (await news(gate))["rows"] if row["request"] == "POST /mcp"]
        assert (row["name"], row["reason"]) == ("", "no-token")


async def test_a_flood_of_long_paths_leaves_the_last_ones_and_no_more_of_each_than_fits() -> None:
    async with watched() as gate:
        peer = await gate.house.connect()
        async with peer.stream:
            for number in range(MAX_REQUESTS + 50):
                await peer.send(gate.house.raw(b"/%d-" % number + b"a" * 2000, token=False))
                await peer.body(await peer.head())
        rows = (await news(gate))["rows"]
        assert [row["number"] for row in rows] == list(range(51, MAX_REQUESTS + 51))
        assert max(len(row["request"]) for row in rows) == MAX_TEXT + len("GET ")
        assert len((await page(gate)).encode()) < 400_000


def server(session: bytes = b"") -> Any:
    """A server of the older era with three tools."""

    async def script(peer: Peer, head: Head) -> None:
        body = await peer.body(head)
        call = json.loads(body) if body else {}
        results: dict[str, Any] = {
            "initialize": {"protocolVersion": "2025-11-25", "serverInfo": {"name": "Three"}},
            "tools/list": {"tools": [{"name": name} for name in "abc"]},
        }
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": call.get("id")}
        if call.get("method") in results:
            message["result"] = results[call["method"]]
        else:
            message["error"] = {"code": -32601, "message": "no such method"}
        said = json.dumps(message).encode()
        lines = [
            b"HTTP/1.1 200 OK",
            b"Content-Type: application/json",
            b"Mcp-Session-Id: " + session,
            b"Content-Length: %d" % len(said),
        ]
        await peer.send(b"\r\n".join(lines) + b"\r\n\r\n" + said)

    return script


async def test_the_tools_are_counted_over_the_way_of_all_calls(way: dict[str, Any]) -> None:
    async with watched(**way) as gate:
        gate.house.upstream.script = server(b"s-7")
        facts = {"tools": "unknown"}
        with trio.fail_after(10):
            while facts["tools"] == "unknown":  # on a busy machine the first page does not wait
                facts = {fact["key"]: fact["text"] for fact in (await news(gate))["facts"]}
        assert (facts["server"], facts["tools"], facts["state"]) == ("Three", "3", "up")
        assert (await news(gate))["rows"] == []
        with trio.fail_after(5):
            while not (last := gate.house.upstream.heads[-1]).start_line.startswith(b"DELETE"):
                await trio.sleep(0.01)
        assert last.get(b"mcp-session-id") == b"s-7"
        assert {head.start_line.split()[1] for head in gate.house.upstream.heads} == {b"/mcp"}
