"""The server's name and the number of its tools: as the server tells them, or unknown."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fastmcp import FastMCP

from gatehouse.hosting.caller import WithCaller
from gatehouse.hosting.runtimes import Direct
from gatehouse.hosting.tool_lock import lock
from gatehouse.identity.callers import Callers
from gatehouse.identity.grants import Grants
from gatehouse.identity.principal import GATE
from gatehouse.upstream.farewells import Farewells
from gatehouse.upstream.inprocess import Calls
from gatehouse.upstream.inventory import (
    AGAIN_SECONDS,
    ANSWER_SECONDS,
    KEPT_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_PAGES,
    PATIENCE_SECONDS,
    UNKNOWN,
    Found,
    Inventory,
)
from gatehouse.upstream.outbound import Outbound, Shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from gatehouse.upstream.inprocess import App

MODERN = "2026-07-28"
TOKENS = {"alice": Grants(tools=("tool_1",))}


def callers() -> Callers:
    return Callers(lambda: TOKENS, lambda _: None, names=True, kinds=True, ids=True)


class House:
    """The way to the app, and the inventory."""

    def __init__(self, who: Callers) -> None:
        self.calls = Calls("up:1")
        outbound = Outbound("up:1", b"/mcp", [], callers=who, shown=Shown())
        self.farewells = Farewells(self.calls, outbound)
        self.inventory = Inventory(self.calls, outbound, self.farewells, GATE)


@asynccontextmanager
async def asking(app: App, who: Callers | None = None) -> AsyncIterator[Inventory]:
    house, started = House(who or callers()), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.farewells.run)
        nursery.start_soon(Direct(house.calls).serve, app, started.set)
        await started.wait()
        yield house.inventory
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


class Server:
    """An MCP server of few words: in one era, and with what is wrong with it."""

    def __init__(
        self,
        *,
        modern: bool = False,
        events: bool = False,
        session: str = "",
        pages: int = 1,
        fault: str = "",
        at: str = "tools/list",
    ) -> None:
        self.modern, self.events, self.session, self.pages = modern, events, session, pages
        self.fault, self.at = fault, at
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fields = {name: value.decode() for name, value in scope["headers"]}
        if scope["method"] == "DELETE":
            self.asked.append(f"DELETE {fields[b'mcp-session-id']}")
            await respond(send, 200, b"", "application/json")
            return
        body = b""
        while (message := await receive())["body"] or message["more_body"]:
            body += message["body"]
        call = json.loads(body)
        self.asked.append(call["method"])
        assert self.fits(call, fields)
        fault = self.fault if call["method"] == self.at else ""
        await self.fail(fault, send, call) if fault else await self.answer(send, call)

    def fits(self, call: dict[str, Any], fields: dict[bytes, str]) -> bool:
        """True if the request is as its era has it."""
        assert fields[b"x-gate-principal"] == GATE.name
        assert fields[b"content-length"] == str(len(json.dumps(call)))
        if call["method"] == "initialize":
            return b"mcp-session-id" not in fields
        version, session = fields.get(b"mcp-protocol-version"), fields.get(b"mcp-session-id", "")
        if call["method"] == "server/discover" or self.modern:
            meta = call["params"]["_meta"]
            told = fields[b"mcp-method"], meta["io.modelcontextprotocol/protocolVersion"]
            return told == (call["method"], MODERN) and version == MODERN and not session
        return (version, session) == ("2025-06-18", self.session)

    async def answer(self, send: Any, call: dict[str, Any]) -> None:
        method, params = call["method"], call.get("params", {})
        page = int(params.get("cursor", 1))
        last: dict[str, Any] = {} if page >= self.pages else {"nextCursor": str(page + 1)}
        results: dict[str, Any] = {
            "tools/list": {"tools": [{"name": f"tool_{page}_{n}"} for n in range(2)], **last},
        }
        if self.modern:
            about = {"io.modelcontextprotocol/serverInfo": {"name": "Few\nwords"}}
            results["server/discover"] = {"supportedVersions": [MODERN], "_meta": about}
        else:
            results["initialize"] = {
                "serverInfo": {"name": "Few\nwords"},
                "protocolVersion": "2025-06-18",
            }
        if "id" not in call:
            await respond(send, 202, b"", "application/json")
        elif method in results:
            await self.say(send, {"id": call["id"], "result": results[method]}, method)
        else:
            error = {"code": -32601, "message": "no such method"}
            await self.say(send, {"id": call["id"], "error": error}, method)

    async def say(self, send: Any, message: dict[str, Any], method: str) -> None:
        said = json.dumps({"jsonrpc": "2.0", **message})
        session = self.session if method == "initialize" else ""
        if not self.events:
            await respond(send, 200, said.encode(), "application/json", session)
            return
        notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        events = (
            f"data: {json.dumps(notice)}\r\n\r\nid: 1\r\nevent: message\r\ndata: {said}\r\n\r\n"
        )
        await respond(send, 200, events.encode(), "text/event-stream", session, ends=False)

    async def fail(self, fault: str, send: Any, call: dict[str, Any]) -> None:
        wrong: dict[str, bytes] = {
            "no json": b"<p>hello",
            "a list": b"[]",
            "too deep": b"[" * 100_000,
            "another id": json.dumps({"id": 99, "result": {"tools": []}}).encode(),
            "no tools": json.dumps({"id": call["id"], "result": {}}).encode(),
            "tools are none": json.dumps({"id": call["id"], "result": {"tools": 3}}).encode(),
            "numbers": json.dumps({"id": call["id"], "result": {"tools": [1, 2, 3]}}).encode(),
            "no name": json.dumps({"id": call["id"], "result": {"tools": [{"name": 1}]}}).encode(),
            "an error": json.dumps({"id": call["id"], "error": {"code": -32000}}).encode(),
            "too large": b'"' + b"a" * MAX_ANSWER_BYTES + b'"',
            "a page": b"<html>",
        }
        if fault == "hangs":
            await trio.sleep_forever()
        elif fault == "late":
            await trio.sleep(ANSWER_SECONDS + 2)
            await self.answer(send, call)
        elif fault == "breaks off":
            raise RuntimeError
        elif fault == "unknown method":
            error = {"code": -32601, "message": "no such method"}
            await self.say(send, {"id": call["id"], "error": error}, call["method"])
        else:
            await respond(send, 200, wrong[fault], "application/json")


async def respond(
    send: Any, status: int, body: bytes, kind: str, session: str = "", *, ends: bool = True
) -> None:
    headers = [(b"content-type", kind.encode())]
    headers += [(b"mcp-session-id", session.encode())] * bool(session)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": not ends})
    if not ends:
        await trio.sleep_forever()


HANDSHAKE = ["server/discover", "initialize", "notifications/initialized"]


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("session", ["", "s-7"])
@pytest.mark.parametrize("modern", [False, True])
async def test_both_eras_tell_name_and_number_and_the_session_is_ended(
    autojump_clock: MockClock, *, modern: bool, session: str, pages: int, events: bool
) -> None:
    server = Server(modern=modern, events=events, session=session, pages=pages)
    async with asking(server) as inventory:
        assert await inventory.found() == Found(r"Few\nwords", 2 * pages)
    lists = ["tools/list"] * pages
    if modern:
        assert server.asked == ["server/discover", *lists]
    else:
        assert server.asked == [*HANDSHAKE, *lists, *([f"DELETE {session}"] * bool(session))]


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("modern", [False, True])
async def test_a_server_without_tools_has_none(
    autojump_clock: MockClock, *, modern: bool, events: bool
) -> None:
    server = Server(modern=modern, events=events, fault="unknown method")
    async with asking(server) as inventory:
        assert (await inventory.found()).tools == 0


UNREADABLE = [
    *(
        "no json",
        "a list",
        "too deep",
        "another id",
        "no tools",
        "tools are none",
        "numbers",
        "no name",
    ),
]


@pytest.mark.parametrize("fault", [*UNREADABLE, "an error", "too large", "a page", "breaks off"])
@pytest.mark.parametrize("modern", [False, True])
async def test_no_number_is_told_unless_the_server_tells_it(
    autojump_clock: MockClock, *, modern: bool, fault: str
) -> None:
    server = Server(modern=modern, session="s-7", fault=fault)
    async with asking(server) as inventory:
        assert await inventory.found() == Found(r"Few\nwords", None)
    assert (server.asked[-1] == "DELETE s-7") == (not modern)


@pytest.mark.parametrize("fault", ["no json", "an error", "too large", "breaks off", "hangs"])
async def test_a_server_that_does_not_even_begin_is_unknown(
    autojump_clock: MockClock, fault: str
) -> None:
    server = Server(fault=fault, at="initialize")
    async with asking(server) as inventory:
        assert await inventory.found() == UNKNOWN
    assert server.asked == HANDSHAKE[:2]


async def test_a_page_waits_for_a_moment_and_the_session_of_a_slow_server_is_ended(
    autojump_clock: MockClock,
) -> None:
    server = Server(session="s-7", fault="late", at="initialize")
    async with asking(server) as inventory:
        began = trio.current_time()
        assert await inventory.found() == UNKNOWN
        assert trio.current_time() == pytest.approx(began + PATIENCE_SECONDS)
        await trio.sleep(2 * ANSWER_SECONDS)
    assert server.asked[:2] == HANDSHAKE[:2]
    assert server.asked[-1] == "DELETE s-7"


async def test_a_list_without_end_is_not_counted(autojump_clock: MockClock) -> None:
    server = Server(modern=True, pages=10**6)
    async with asking(server) as inventory:
        assert (await inventory.found()).tools is None
    assert len(server.asked) == 1 + MAX_PAGES


async def test_the_server_is_asked_once_a_minute_and_in_the_era_that_worked(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    async with asking(server) as inventory:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(inventory.found)
        assert server.asked == [*HANDSHAKE, "tools/list"]
        server.pages = 2
        await trio.sleep(KEPT_SECONDS + 1)
        assert (await inventory.found()).tools == 4
        assert server.asked[4:] == [*HANDSHAKE[1:], "tools/list", "tools/list"]


async def test_a_server_that_is_down_is_unknown_and_so_is_one_that_went_down(
    autojump_clock: MockClock,
) -> None:
    house = House(callers())
    assert await house.inventory.found() == UNKNOWN
    async with asking(Server()) as inventory:
        assert (await inventory.found()).tools == 2
    await trio.sleep(KEPT_SECONDS + 1)
    assert await inventory.found() == UNKNOWN


async def test_a_server_that_tells_nothing_is_asked_again_soon(autojump_clock: MockClock) -> None:
    server = Server(pages=10**6)
    async with asking(server) as inventory:
        assert (await inventory.found()).tools is None
        server.pages = 1
        assert (await inventory.found()).tools is None
        await trio.sleep(AGAIN_SECONDS + 1)
        assert (await inventory.found()).tools == 2


@pytest.mark.parametrize("stateless", [False, True])
async def test_the_number_of_a_hosted_server_is_that_of_a_token_without_lists(
    *, stateless: bool
) -> None:
    server: FastMCP[Any] = FastMCP("Kitchen")
    for number in range(7):
        server.tool(lambda: "", name=f"tool_{number}")
    who = callers()
    lock(server, who)
    app = server.http_app(path="/mcp", stateless_http=stateless)
    async with app.router.lifespan_context(app):
        async with asking(WithCaller(app, lambda _: False), who) as inventory:
            with trio.fail_after(10):
                while (found := await inventory.found()) == UNKNOWN:  # on a busy machine
                    pass
            assert found == Found("Kitchen", 7)
