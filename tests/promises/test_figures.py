"""The figures tell of tools only what answers have proved, whichever way the server is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from tests.harness.house import open_house
from tests.harness.wire import answer

if TYPE_CHECKING:
    from tests.harness.house import House

METRICS_TOKEN = "f1gures/for+prometheus~only-7b1c90ad"
RESULT = {"content": [{"type": "text", "text": "pong"}], "isError": False}
FAILED = {"content": [{"type": "text", "text": "Unknown tool"}], "isError": True}
UNKNOWN = {"code": -32602, "message": "Unknown tool"}


async def call(house: House, tool: bytes, body: bytes, kind: bytes = b"application/json") -> None:
    house.upstream.script = answer(body, b"Content-Type: " + kind)
    fields = [b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: tools/call", b"Mcp-Name: " + tool]
    head, _ = await house.request(b"/mcp", *fields, method=b"POST", body=b"{}")
    assert head.status == 200


async def figures(house: House) -> str:
    bearer = b"Authorization: Bearer " + METRICS_TOKEN.encode()
    _, page = await house.request(b"/metrics", bearer, token=False)
    return page.decode()


async def test_a_tool_is_named_once_a_call_of_it_has_ended_with_a_result(
    way: dict[str, Any],
) -> None:
    async with open_house(metrics_token=METRICS_TOKEN, **way) as house:
        for number in range(5):
            for end in ({"result": FAILED}, {"error": UNKNOWN}):
                body = json.dumps({"jsonrpc": "2.0", "id": 1, **end}).encode()
                event = b"event: message\r\ndata: " + body + b"\r\n\r\n"
                await call(house, b"invented-%d" % number, body)
                await call(house, b"invented-%d" % number, event, b"text/event-stream")
        long = "x" * 8000  # a client chooses the id and the name, and the server repeats both
        for number, end in enumerate(({"result": FAILED}, {"error": UNKNOWN})):
            body = json.dumps({"jsonrpc": "2.0", "id": long, **end, "z": long}).encode()
            await call(house, b"invented-long-%d" % number, body)
        repeated = {"content": [{"type": "text", "text": long * 2}], "isError": True}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": repeated}).encode()
        await call(house, b"invented" + long.encode(), body)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": RESULT}).encode()
        await call(house, b"ping", body)
        await call(house, b"poll", b"data: " + body + b"\n\n", b"text/event-stream")
        await call(house, b"list", body.replace(b"pong", b"x" * 20_000))
        with trio.fail_after(5):
            while 'tool="list"' not in (
                page := await figures(house)
            ):  # a record comes a moment after its answer
                await trio.sleep(0.01)
    assert "invented" not in page
    assert 'calls_total{token="default",tool="other"} 23.0' in page
    for tool in ("ping", "poll", "list"):
        assert f'calls_total{{token="default",tool="{tool}"}} 1.0' in page
