"""The figures tell of tools only what answers have proved, whichever way the server is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.records.record import Record
from tests.harness.house import open_house
from tests.harness.wire import answer

if TYPE_CHECKING:
    import pytest

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
    counts = [("other", "error", 20), ("other", "unknown", 3), ("list", "unknown", 1)]
    for tool, result, count in [*counts, ("ping", "ok", 1), ("poll", "ok", 1)]:
        label = f'calls_total{{result="{result}",token="default",tool="{tool}"}}'
        assert f"{label} {count}.0" in page


async def test_probes_have_routes_of_their_own_and_the_server_is_up_as_ready_says(
    way: dict[str, Any],
) -> None:
    async with open_house(metrics_token=METRICS_TOKEN, **way) as house:
        for path in (b"/ready", b"/health", b"/mcp", b"/webhook", b"/"):
            await house.request(path, token=False)
        with trio.fail_after(5):
            while (page := await figures(house)).count("requests_total{") < 5:
                await trio.sleep(0.01)
    for route in ("ready", "health", "mcp", "other", "landing"):
        assert f'route="{route}"' in page
    assert "mcp_gate_upstream_up 1.0" in page


OLD = b"MCP-Protocol-Version: 2025-06-18"


async def records(house: House, access_log: pytest.LogCaptureFixture, count: int) -> list[Record]:
    """The records of so many requests."""
    with trio.fail_after(5):
        while True:
            found = [entry.msg for entry in access_log.records if isinstance(entry.msg, Record)]
            if len(found) >= count:
                return found
            await trio.sleep(0.01)


async def test_a_record_tells_the_call_and_its_end_of_a_client_that_names_it_only_in_the_body(
    way: dict[str, Any], access_log: pytest.LogCaptureFixture
) -> None:
    def called(name: str, pad: int = 0) -> bytes:
        params = {"name": name, "arguments": {"private": "x" * pad}}
        return json.dumps({"id": 1, "method": "tools/call", "params": params}).encode()

    ends = (
        {"result": RESULT},
        {"result": FAILED},
        {"error": {"code": -32015, "message": "Forbidden: no"}},
    )
    bodies = [json.dumps({"jsonrpc": "2.0", "id": 1, **end}).encode() for end in ends]
    async with open_house(**way) as house:

        async def ask(said: bytes, *fields: bytes, reply: bytes = bodies[0]) -> None:
            house.upstream.script = answer(reply, b"Content-Type: application/json")
            await house.request(b"/mcp", *fields, method=b"POST", body=said)

        for body in bodies:
            await ask(called("add"), OLD, reply=body)
        await ask(called("large", pad=65_536), OLD)
        await ask(called("packed"), OLD, b"Content-Encoding: gzip")
        telling = b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: tools/call"
        await ask(called("add"), *telling, b"Mcp-Name: remove")
        found = await records(house, access_log, 6)
    told = [(one.rpc_method, one.tool, one.differs, one.result) for one in found]
    assert told[:3] == [("tools/call", "add", False, end) for end in ("ok", "error", "refused")]
    assert (found[2].outcome, found[2].reason) == ("refused", "grants")
    assert told[3] == ("", "", False, "")
    assert told[4][:2] in {("", ""), ("tools/call", "packed")}  # it says gzip, and is none
    assert told[5] == ("tools/call", "remove", True, "ok")
    assert "private" not in access_log.text


async def test_record_calls_false_reads_no_body(access_log: pytest.LogCaptureFixture) -> None:
    async with open_house(record_calls=False) as house:
        body = b'{"id": 1, "method": "tools/call", "params": {"name": "add"}}'
        await house.request(b"/mcp", OLD, method=b"POST", body=body)
        (found,) = await records(house, access_log, 1)
    assert (found.rpc_method, found.tool, found.result) == ("", "", "")
