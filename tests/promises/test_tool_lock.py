"""The lock in the hosted server: in every era, on every way to it, a token sees and calls what it may."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import mcp_types
import pytest
import trio
from fastmcp import Client, Context, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import Middleware
from fastmcp.server.middleware.tool_injection import ToolInjectionMiddleware
from fastmcp.server.transforms.search import RegexSearchTransform
from fastmcp.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import encode_header_value
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ListToolsResult,
    RequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
)

from gatehouse.downstream.listeners import bind
from gatehouse.hosting.loops import aio_as_trio, open_loop
from gatehouse.hosting.port import Port
from gatehouse.hosting.runtimes import Direct
from gatehouse.hosting.tool_lock import lock
from gatehouse.hosting.unknown_names import unknown_names
from gatehouse.http.mcp import KINDS
from gatehouse.http.reply import FORBIDDEN
from gatehouse.identity.callers import Callers
from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.upstream.inprocess import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from gatehouse.upstream.inprocess import Call

SECRET = "s" * 32
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
GRANTS = {
    "root": EVERYTHING,
    "cook": Grants(
        tools=("list_*", "relay", "bulk", "pets_feed", "injected", "peek"),
        resources=("kitchen://items*",),
        prompts=("plan",),
    ),
    "nobody": Grants(tools=()),
}


def knowing(grants: Mapping[str, Grants]) -> Callers:
    """Knows static tokens with these grants, and nobody else."""
    return Callers(lambda: grants, lambda _: None, names=True, kinds=False, ids=True)


WAYS = ["port", "inprocess-asyncio", "inprocess-trio"]
ERAS = ["modern", "legacy", "stateless"]


class Seen(Middleware):
    """The server's own middleware: it notes what comes by."""

    def __init__(self) -> None:
        self.methods: list[str | None] = []

    async def on_message(self, context: Any, call_next: Any) -> Any:
        self.methods.append(context.method)
        return await call_next(context)


def kitchen(done: list[str]) -> FastMCP[Any]:
    """A server full of ways to reach a tool. `done` gets what was in fact called or read."""
    server: FastMCP[Any] = FastMCP("Kitchen", list_page_size=2)
    pets: FastMCP[Any] = FastMCP("Pets")
    register = server.tool
    for name in (
        "list_items",
        "list_more",
        "list_shops",
        "delete_item",
        "Delete_item",
        "\u017fecret",
    ):
        register(noting(done, name), name=name)
    for name in ("feed", "sell"):
        pets.tool(noting(done, name), name=name)
    server.mount(pets, namespace="pets")

    @server.tool
    async def relay(name: str, ctx: Context) -> str:
        """Call another tool by its name."""
        await ctx.fastmcp.call_tool(name)
        return "relayed"

    @server.tool
    async def bulk(name: str) -> str:
        """Call another tool by its name as a client would."""
        async with Client(server) as client:
            await client.call_tool(name)
        return "called"

    @server.tool
    async def peek(uri: str, ctx: Context) -> str:
        """Read a resource, and tell what there is."""
        tools = [tool.name for tool in await ctx.fastmcp.list_tools()]
        await ctx.fastmcp.read_resource(uri)
        return ",".join(sorted(tools))

    for uri in ("kitchen://items", "kitchen://secret", "kitchen://items/{number}", "safe://{door}"):
        server.resource(uri)(reading(done, uri))
    server.prompt(noting(done, "plan"), name="plan")
    server.prompt(noting(done, "spy"), name="spy")

    @server.completion
    def complete(ref: Any, argument: Any, context: Any) -> list[str]:
        done.append("completion")
        return ["done"]

    async def answer(ctx: Any, params: Any) -> EmptyResult:
        done.append(ctx.method)
        return EmptyResult()

    low = server._mcp_server  # noqa: SLF001
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, answer)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, answer)
    for method in ("tasks/get", "tasks/cancel", "tasks/update", "tasks/result"):
        low.add_request_handler(method, RequestParams, answer)
    low.add_request_handler("tasks/list", RequestParams, partial(listing_tasks, done))
    low.middleware.append(beginning_tasks)
    low.add_request_handler("kitchen/burn", RequestParams, answer)
    injected = [Tool.from_function(noting(done, name), name=name) for name in ("injected", "slip")]
    server.add_middleware(ToolInjectionMiddleware(injected))
    return server


async def beginning_tasks(ctx: Any, call_next: Any) -> Any:
    """Make a task of each call of `list_more`, as an extension of a server's does."""
    result = await call_next(ctx)
    if ctx.method == "tools/call" and ctx.params["name"] == "list_more":
        name = dict(ctx.request.headers)["x-gate-principal"]
        return {"resultType": "task", "taskId": f"task of {name}", "status": "working"}
    return result


async def listing_tasks(done: list[str], ctx: Any, params: Any) -> dict[str, Any]:
    done.append(ctx.method)
    names = ("root", "cook", "nobody", "another")
    return {"tasks": [{"taskId": f"task of {name}"} for name in names]}


def noting(done: list[str], name: str) -> Callable[[], str]:
    def note() -> str:
        done.append(name)
        return name

    return note


def reading(done: list[str], uri: str) -> Callable[..., str]:
    def read() -> str:
        done.append(uri)
        return uri

    def read_number(number: str) -> str:
        return read()

    def read_door(door: str) -> str:
        return read()

    return {"{number}": read_number, "{door}": read_door}.get(uri.rpartition("/")[2], read)


class Through(httpx.AsyncBaseTransport):
    """Sends requests as the gate does to a server in its process."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["target"] = request.url.raw_path
        request.headers.update({"X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1"})
        call = await self._calls.take()
        response = await call.handle_async_request(request)
        body = Released(call, response.stream)
        return httpx.Response(response.status_code, headers=response.headers, stream=body)


class Released(httpx.AsyncByteStream):
    def __init__(self, call: Call, stream: Any) -> None:
        self._call, self._stream = call, stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._call.release(whole=True)


@dataclass
class House:
    """A locked server, and a client that says for each request which token it has."""

    client: httpx.AsyncClient
    way: str
    era: str
    done: list[str]
    seen: Seen
    grants: dict[str, Grants]
    session: str = ""
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def post(self, body: Any, *names: str, **fields: str) -> httpx.Response:
        """Send `body` in the requests of these tokens."""
        headers = [
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            *(("X-Gate-Principal", name) for name in names),
            *self.headers.items(),
            *((name.replace("_", "-"), value) for name, value in fields.items()),
        ]
        if self.session:
            headers.append(("Mcp-Session-Id", self.session))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post("/mcp", content=content, headers=headers)

    async def ask(self, token: str, method: str, /, **params: Any) -> Any:
        """The result of a request, or the JSON-RPC error."""
        answer = await self.post(
            *self.request(method, params), token, **self.fields(method, params)
        )
        return reply_in(answer)

    def request(self, method: str, params: dict[str, Any]) -> tuple[dict[str, Any]]:
        if self.era == "modern":
            params = {**params, "_meta": META}
        return ({"jsonrpc": "2.0", "id": 7, "method": method, "params": params},)

    def fields(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        if self.era != "modern":
            return {}
        name = params.get("uri" if method.startswith("resources") else "name", "")
        named = {"Mcp_Name": encode_header_value(name)} if method in KINDS else {}
        return {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method, **named}

    async def refused(self, token: str, method: str, /, **params: Any) -> str:
        """The words of the refusal; the server must not have noticed anything."""
        before = [*self.done], [*self.seen.methods]
        answer = await self.ask(token, method, **params)
        assert answer["code"] == FORBIDDEN, answer
        assert before == (self.done, self.seen.methods)
        return str(answer["message"])

    async def listed(self, token: str, kind: str, method: str, key: str = "name") -> list[str]:
        """All that a list shows over its pages."""
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.ask(token, method, **cursor)
            found += [thing[key] for thing in page[kind]]
            if not page.get("nextCursor"):
                return sorted(found)
            cursor = {"cursor": page["nextCursor"]}


def reply_in(answer: httpx.Response) -> Any:
    """The result or the error in an answer, JSON or event stream."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data: {")][-1][6:]
    reply = json.loads(text)
    return reply["error"] if "error" in reply else reply["result"]


@asynccontextmanager
async def serving(
    server: FastMCP[Any], way: str, *, stateless: bool = False
) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """The server, reached in one of the ways in which the gate reaches it; and its port, if it has one."""
    app = server.http_app(path="/mcp", stateless_http=stateless)
    port, started = 0, trio.Event()
    door: Any
    if way == "port":
        listeners = bind("UPSTREAM_PORT", "127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        door = Port(listeners, SECRET)
        transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport()
    else:
        calls = Calls("127.0.0.1:80")
        door = Direct(calls)
        transport = Through(calls)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await door.serve(app, started.set)

    async def host() -> None:
        if way == "inprocess-trio":
            await run()
        else:
            async with open_loop():
                await aio_as_trio(run)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(host)
        await started.wait()
        url = f"http://127.0.0.1:{port or 80}"
        async with httpx.AsyncClient(base_url=url, transport=transport) as client:
            yield client, port
        door.stop()


@asynccontextmanager
async def open_house(
    way: str, era: str, make: Callable[[list[str]], FastMCP[Any]] = kitchen
) -> AsyncIterator[House]:
    """A locked server; in the era that has sessions, with one that the token `root` has opened."""
    done: list[str] = []
    server, seen, grants = make(done), Seen(), dict(GRANTS)
    server.middleware.insert(0, seen)
    lock(server, knowing(grants))
    async with serving(server, way, stateless=era == "stateless") as (client, port):
        house = House(client, way, era, done, seen, grants, port=port)
        if way == "port":
            house.headers["X-Gate-Secret"] = SECRET
        if era == "legacy":
            await open_session(house, "root")
        yield house


async def open_session(house: House, name: str) -> None:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    answer = await house.post(*house.request("initialize", params), name)
    assert "serverInfo" in reply_in(answer)
    house.session = answer.headers["mcp-session-id"]
    await house.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, name)
    with trio.fail_after(2):
        while "notifications/initialized" not in house.seen.methods:
            await trio.sleep(0.001)


async def on_asyncio(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """For FastMCP's client, which runs on nothing else."""
    await trio.to_thread.run_sync(lambda: asyncio.run(run()))


@pytest.fixture(params=[f"{way} {era}" for way in WAYS for era in ERAS])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with open_house(*request.param.split()) as house:
        yield house


@pytest.fixture(params=ERAS)
async def one_way(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """For tests that do not depend on the way."""
    async with open_house("inprocess-trio", request.param) as house:
        yield house


async def test_each_message_is_judged_by_the_token_of_its_own_request(house: House) -> None:
    """The session, where there is one, is root's."""
    assert "content" in await house.ask("cook", "tools/call", name="list_items")
    said = await house.refused("cook", "tools/call", name="delete_item")
    assert "'cook' may not call the tool 'delete_item'" in said
    assert "content" in await house.ask("root", "tools/call", name="delete_item")
    await house.refused("nobody", "tools/call", name="list_items")
    assert house.done == ["list_items", "delete_item"]
    await house.refused("stranger", "tools/list")
    await house.refused("", "tools/list")
    house.grants["cook"] = Grants(tools=("delete_item",))
    assert "content" in await house.ask("cook", "tools/call", name="delete_item")
    del house.grants["root"]
    await house.refused("root", "tools/call", name="list_items")


async def test_a_request_that_names_no_token_or_two_may_do_nothing(house: House) -> None:
    params = {"name": "list_items"}
    for names in [(), ("root", "cook"), ("root", "root")]:
        for method in ("tools/call", "tools/list", "ping"):
            fields = house.fields(method, params)
            answer = await house.post(*house.request(method, params), *names, **fields)
            assert reply_in(answer)["code"] == FORBIDDEN
    assert house.done == []


async def test_lists_show_what_may_be_called_over_all_pages(house: House) -> None:
    tools = ["bulk", "injected", "list_items", "list_more", "list_shops", "peek", "pets_feed"]
    assert await house.listed("cook", "tools", "tools/list") == [*tools, "relay"]
    assert len(await house.listed("root", "tools", "tools/list")) == 13
    for kind, method, key, cooks in [
        ("resources", "resources/list", "uri", ["kitchen://items"]),
        (
            "resourceTemplates",
            "resources/templates/list",
            "uriTemplate",
            ["kitchen://items/{number}"],
        ),
        ("prompts", "prompts/list", "name", ["plan"]),
    ]:
        assert await house.listed("cook", kind, method, key) == cooks
        assert len(await house.listed("root", kind, method, key)) == 2
        assert await house.listed("nobody", kind, method, key) == []


async def test_what_is_listed_or_read_may_not_be_kept_for_other_tokens() -> None:
    def cached(done: list[str]) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("Cached", cache_ttl=60, cache_scope="public")
        server.resource("kitchen://items")(reading(done, "kitchen://items"))
        return server

    async with open_house("inprocess-trio", "modern", cached) as house:
        for name in ("root", "cook"):
            for answer in (
                await house.ask(name, "tools/list"),
                await house.ask(name, "resources/read", uri="kitchen://items"),
            ):
                assert (answer["ttlMs"], answer["cacheScope"]) == (60_000, "private")


@pytest.mark.parametrize(
    "name",
    [
        "Delete_item",
        " list_items",
        "list_items ",
        "secret",
        "\u017fecret",
        "feed",
        "pets_sell",
        "slip",
        "0123456789ab_list_items",
        "",
    ],
)
async def test_a_name_is_taken_to_the_letter(one_way: House, name: str) -> None:
    if (
        name == "list_items "
    ):  # the glob is list_*, so the lock lets it pass, and there is no such tool
        answer = await one_way.ask("cook", "tools/call", name=name)
        assert answer["isError"]
    else:
        await one_way.refused("cook", "tools/call", name=name)
    assert one_way.done == []


async def test_what_a_list_names_can_be_used_of_every_kind(one_way: House) -> None:
    for name in ("pets_feed", "injected"):
        await one_way.ask("cook", "tools/call", name=name)
    await one_way.ask("cook", "prompts/get", name="plan")
    await one_way.ask("cook", "resources/read", uri="kitchen://items")
    await one_way.ask("cook", "resources/read", uri="kitchen://items/7")
    used = ["feed", "injected", "plan", "kitchen://items", "kitchen://items/{number}"]
    assert one_way.done == used


async def test_what_no_list_names_is_refused_of_every_kind(one_way: House) -> None:
    assert "prompt 'spy'" in await one_way.refused("cook", "prompts/get", name="spy")
    for uri in ("kitchen://secret", "safe://a", "safe://a#kitchen://items", "kitchen://items/.."):
        assert "resource" in await one_way.refused("cook", "resources/read", uri=uri)
    assert one_way.done == []


async def test_what_is_completed_or_subscribed_to_must_be_granted(one_way: House) -> None:
    argument = {"name": "x", "value": ""}
    for ref, may in [
        ({"type": "ref/prompt", "name": "plan"}, True),
        ({"type": "ref/resource", "uri": "kitchen://items/{number}"}, True),
        ({"type": "ref/prompt", "name": "spy"}, False),
        ({"type": "ref/prompt", "name": "spy", "uri": "kitchen://items"}, False),
        ({"type": "ref/resource", "uri": "safe://{door}", "name": "plan"}, False),
        ({"name": "plan"}, False),
        ("plan", False),
    ]:
        if may:
            answer = await one_way.ask("cook", "completion/complete", ref=ref, argument=argument)
            assert answer["completion"]["values"] == ["done"]
        else:
            await one_way.refused("cook", "completion/complete", ref=ref, argument=argument)
    if one_way.era == "modern":
        method = "subscriptions/listen"
        for asked in [
            {"resourceSubscriptions": ["kitchen://items", "kitchen://secret"]},
            {"resourceSubscriptions": "kitchen://items"},
            {"resource_subscriptions": ["kitchen://secret"]},
            [],
        ]:
            await one_way.refused("cook", method, notifications=asked)
        asked = {"resourceSubscriptions": ["kitchen://items"], "toolsListChanged": True}
        await one_way.ask("cook", method, notifications=asked)
    else:
        method = "resources/subscribe"
        await one_way.refused("cook", method, uri="kitchen://secret")
        await one_way.ask("cook", method, uri="kitchen://items")
    assert one_way.done == ["completion", "completion", method]


async def test_a_method_that_is_not_known_is_refused_unless_the_token_has_no_lists(
    one_way: House,
) -> None:
    for method in (
        "kitchen/burn",
        "no/such",
        "Tools/Call",
        "tools/call ",
        "tasks/gets",
        "Tasks/get",
    ):
        assert repr(method) in await one_way.refused("cook", method, name="list_items")
    await one_way.ask("root", "kitchen/burn")
    assert one_way.done == ["kitchen/burn"]
    assert (await one_way.ask("root", "no/such"))["code"] == -32601


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update", "tasks/result"])
async def test_a_task_is_followed_by_whoever_began_it_and_by_nobody_else(
    one_way: House, method: str
) -> None:
    for name in ("cook", "root"):
        await one_way.ask(name, "tools/call", name="list_more")
        assert "code" not in await one_way.ask(name, method, taskId=f"task of {name}")
    assert one_way.done == ["list_more", method] * 2
    one_way.done.clear()
    for name, asked in [
        *(("cook", asked) for asked in ("task of root", "no such", "", None, 7, ["task of cook"])),
        ("nobody", "task of cook"),
        *(("root", asked) for asked in ("task of cook", None, 7, ["task of cook"])),
    ]:
        refusal = await one_way.ask(name, method, taskId=asked)
        said = f"Task {asked} not found" if isinstance(asked, str) else "Task not found"
        assert (refusal["code"], refusal["message"]) == (-32602, said)
    for name in ("cook", "root"):
        assert (await one_way.ask(name, method))["code"] == -32602
        message = {"jsonrpc": "2.0", "method": method, "params": {"taskId": "task of cook"}}
        fields = one_way.fields(method, {})
        for body in ([{"id": 7, **message}], message):  # a batch, a notification
            answer = await one_way.post(body, name, **fields)
            assert answer.status_code in {202, 400}
    assert one_way.done == []
    # Whoever may not call the tool any more may not follow its tasks either.
    one_way.grants["cook"] = Grants(tools=("list_items",))
    assert (await one_way.ask("cook", method, taskId="task of cook"))["code"] == FORBIDDEN
    assert one_way.done == []


async def test_news_of_tasks_are_for_whoever_began_them() -> None:
    async with open_house("inprocess-trio", "modern") as house:
        for name in ("cook", "root"):
            await house.ask(name, "tools/call", name="list_more")
        house.done.clear()
        for name, ids in [
            ("cook", ["task of root"]),
            ("cook", ["task of cook", "task of root"]),
            ("cook", ["no such"]),
            ("cook", "task of cook"),
            ("root", ["task of cook"]),
            ("root", [["task of cook"]]),
        ]:
            answer = await house.ask(name, "subscriptions/listen", notifications={"taskIds": ids})
            assert answer["code"] == -32602, (name, ids)
        assert house.done == []
        for name in ("cook", "root"):
            asked = {"taskIds": [f"task of {name}"], "toolsListChanged": True}
            await house.ask(name, "subscriptions/listen", notifications=asked)
        assert house.done == ["subscriptions/listen"] * 2


async def test_a_list_of_tasks_shows_ones_own(one_way: House) -> None:
    for name in ("cook", "root"):
        await one_way.ask(name, "tools/call", name="list_more")

    async def listed(name: str) -> list[str]:
        tasks = (await one_way.ask(name, "tasks/list"))["tasks"]
        return [task["taskId"] for task in tasks]

    assert await listed("cook") == ["task of cook"]
    assert await listed("nobody") == []
    assert await listed("root") == ["task of root", "task of nobody", "task of another"]


async def test_a_call_in_an_odd_form_calls_nothing(one_way: House) -> None:
    """A batch, a key twice, a name that is none, a notification: whatever is made of it, it is refused."""
    call = b'"jsonrpc":"2.0","id":7,"method":"tools/call"'
    meta = b'"_meta":' + json.dumps(META).encode()
    fields = one_way.fields("tools/call", {"name": "list_items"})
    for body in (
        b'[{%b,"params":{"name":"delete_item"}}]' % call,
        b'{%b,"params":{"name":"list_items","name":"delete_item",%b}}' % (call, meta),
        b'{%b,"params":{"name":"list_items",%b},"params":{"name":"delete_item",%b}}'
        % (call, meta, meta),
        b'{%b,"method":"ping","method":"tools/call","params":{"name":"delete_item",%b}}'
        % (call, meta),
        b'{%b,"params":{"name":["list_items"],%b}}' % (call, meta),
        b'{%b,"params":{"Name":"list_items",%b}}' % (call, meta),
        b'{%b,"params":["delete_item"]}' % call,
        b'{%b,"params":{"name":"delete_item\\u0000",%b}}' % (call, meta),
        b'{%b,"params":{"name":"\\ud800",%b}}' % (call, meta),
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_item",%b}}' % meta,
    ):
        answer = await one_way.post(body, "cook", **fields)
        assert answer.status_code in {200, 202, 400}
        if answer.status_code == 200:
            assert reply_in(answer)["code"] in {FORBIDDEN, -32602}, body
    assert one_way.done == []


async def test_header_fields_of_mcp_change_nothing_for_the_lock(one_way: House) -> None:
    lies = {"Mcp_Method": "ping", "Mcp_Name": "list_items"}
    answer = await one_way.post(
        *one_way.request("tools/call", {"name": "delete_item"}),
        "cook",
        **(one_way.fields("ping", {}) | lies),
    )
    refused = -32020 if one_way.era == "modern" else FORBIDDEN
    assert reply_in(answer)["code"] == refused
    assert one_way.done == []


async def test_a_notification_that_is_not_allowed_is_dropped(one_way: House) -> None:
    if one_way.era == "modern":
        pytest.skip("the SDK drops all of them")
    for method in ("notifications/kitchen/burn", "notifications/cancelled"):
        for name in ("cook", "stranger"):
            answer = await one_way.post({"jsonrpc": "2.0", "method": method, "params": {}}, name)
            assert answer.status_code == 202
    await one_way.ask("cook", "ping")
    assert "notifications/kitchen/burn" not in one_way.seen.methods
    assert one_way.seen.methods.count("notifications/cancelled") == 1


async def test_what_a_tool_calls_through_the_server_must_be_granted_too(house: House) -> None:
    for tool in ("relay",) if house.way == "inprocess-trio" else ("relay", "bulk"):
        for name in ("list_items", "delete_item"):
            arguments = {"name": name}
            answer = await house.ask("cook", "tools/call", name=tool, arguments=arguments)
            assert answer["isError"] == (name == "delete_item")
        assert "may not call the tool 'delete_item'" in json.dumps(answer)
        await house.ask("root", "tools/call", name=tool, arguments=arguments)
        assert house.done == ["list_items", "delete_item"]
        house.done.clear()


@pytest.mark.parametrize("opener", ["root", "cook"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_tool_that_keeps_a_client_calls_for_the_token_that_uses_it(
    opener: str, mode: Any
) -> None:
    def keeping(done: list[str]) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("Keeping")
        kept, stack = list[Client[Any]](), AsyncExitStack()

        @server.tool
        async def list_open() -> None:
            kept.append(await stack.enter_async_context(Client(server, mode=mode)))

        @server.tool
        async def list_by(name: str) -> None:
            await kept[0].call_tool(name)

        @server.tool
        async def list_close() -> None:
            await stack.aclose()

        server.tool(noting(done, "delete_item"), name="delete_item")
        return server

    async with open_house("inprocess-asyncio", "legacy", keeping) as house:
        await house.ask(opener, "tools/call", name="list_open")
        call = {"name": "list_by", "arguments": {"name": "delete_item"}}
        assert (await house.ask("cook", "tools/call", **call))["isError"]
        assert house.done == []
        assert not (await house.ask("root", "tools/call", **call))["isError"]
        assert (await house.ask("cook", "tools/call", **call))["isError"]
        assert house.done == ["delete_item"]
        await house.ask("root", "tools/call", name="list_close")


async def test_what_a_tool_lists_and_reads_through_the_server_is_what_the_token_may(
    one_way: House,
) -> None:
    secret = {"uri": "kitchen://secret"}
    assert (await one_way.ask("cook", "tools/call", name="peek", arguments=secret))["isError"]
    items = {"uri": "kitchen://items"}
    told = json.dumps(await one_way.ask("cook", "tools/call", name="peek", arguments=items))
    assert "list_items" in told
    assert "delete_item" not in told
    assert one_way.done == ["kitchen://items"]


async def test_searching_finds_and_calls_only_what_the_token_may() -> None:
    def searched(done: list[str]) -> FastMCP[Any]:
        server = kitchen(done)
        server.add_transform(RegexSearchTransform())
        return server

    async with open_house("inprocess-trio", "modern", searched) as house:
        house.grants["cook"] = Grants(tools=("search_tools", "call_tool", "list_*"))
        found = await house.ask(
            "cook", "tools/call", name="search_tools", arguments={"pattern": "item"}
        )
        assert "list_items" in json.dumps(found)
        assert "delete_item" not in json.dumps(found)
        for name in ("delete_item", "list_items"):
            await house.ask("cook", "tools/call", name="call_tool", arguments={"name": name})
        assert house.done == ["list_items"]


async def test_a_handler_that_is_not_fastmcps_is_behind_the_lock_as_well() -> None:
    def replaced(done: list[str]) -> FastMCP[Any]:
        async def call(ctx: Any, params: Any) -> CallToolResult:
            done.append(params.name)
            return CallToolResult(content=[])

        async def show(ctx: Any, params: Any) -> ListToolsResult:
            names = ("list_items", "delete_item")
            return ListToolsResult(
                tools=[mcp_types.Tool(name=n, input_schema={"type": "object"}) for n in names]
            )

        server: FastMCP[Any] = FastMCP("Replaced")
        low = server._mcp_server  # noqa: SLF001
        low.add_request_handler("tools/call", CallToolRequestParams, call)
        low.add_request_handler("tools/list", RequestParams, show)
        return server

    async with open_house("inprocess-trio", "legacy", replaced) as house:
        await house.refused("cook", "tools/call", name="delete_item")
        await house.ask("cook", "tools/call", name="list_items")
        assert house.done == ["list_items"]
        assert await house.listed("cook", "tools", "tools/list") == ["list_items"]


async def test_what_the_program_calls_by_itself_passes_and_a_client_without_a_request_does_not() -> (
    None
):
    done: list[str] = []
    server = kitchen(done)
    lock(server, knowing(GRANTS))
    assert len(await server.list_tools()) == 13
    await server.call_tool("delete_item")
    assert done == ["delete_item"]

    async def connect() -> None:
        with pytest.raises(MCPError, match="does not tell which token"):
            async with Client(server, mode="legacy"):
                pass

    await on_asyncio(connect)


async def test_many_tokens_in_one_session_at_once_are_not_mixed_up() -> None:
    """Each call is judged, and runs, with the request that has brought it."""
    together, names = trio.Event(), list[str]()

    def crowded(done: list[str]) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("Crowded")

        @server.tool
        async def list_me(ctx: Context) -> str:
            names.append(get_http_request().headers["x-gate-principal"])
            if len(names) == 20:
                together.set()
            await together.wait()
            try:
                await ctx.fastmcp.call_tool("delete_item")
            except MCPError:
                return "refused"
            return "deleted"

        server.tool(noting(done, "delete_item"), name="delete_item")
        return server

    async with open_house("inprocess-trio", "legacy", crowded) as house:
        answers: dict[int, tuple[str, str]] = {}

        async def call(number: int, name: str) -> None:
            body = {"jsonrpc": "2.0", "id": number, "method": "tools/call"}
            answer = await house.post({**body, "params": {"name": "list_me"}}, name)
            answers[number] = name, reply_in(answer)["content"][0]["text"]

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number, ("root", "cook")[number % 2])
        assert sorted(names) == ["cook"] * 10 + ["root"] * 10
        assert set(answers.values()) == {("root", "deleted"), ("cook", "refused")}


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_real_clients_see_and_call_what_their_token_may(mode: Any) -> None:
    async def use(url: str) -> None:
        headers = {"X-Gate-Secret": SECRET, "X-Gate-Principal": "cook"}
        transport = StreamableHttpTransport(url, headers=headers)
        async with Client(transport, mode=mode) as client:
            tools = {tool.name for tool in await client.list_tools()}
            assert {"list_items", "list_shops"} < tools
            assert "delete_item" not in tools
            assert (await client.call_tool("list_items")).data == "list_items"
            with pytest.raises(
                MCPError, match="'cook' may not call the tool 'delete_item'"
            ) as error:
                await client.call_tool("delete_item")
            assert error.value.error.code == FORBIDDEN
            with pytest.raises(MCPError, match="may not use the prompt 'spy'"):
                await client.get_prompt("spy")

    async with open_house("port", "modern") as house:
        await on_asyncio(partial(use, f"http://127.0.0.1:{house.port}/mcp"))
        assert house.done == ["list_items"]


async def test_names_in_lists_that_nothing_has_are_told() -> None:
    server = kitchen([])
    lock(server, knowing(GRANTS))
    told = await unknown_names(
        server,
        {
            "token alice": Grants(
                tools=("lst_*", "list_*", "pets_*", "injected"), prompts=("plan", "plot")
            ),
            "scope bob": Grants(
                resources=("kitchen://items/7", "safe://*", "safe:/x", "kitchen://secret")
            ),
            "[[people]] root": EVERYTHING,
        },
    )
    assert told == [
        "token alice: its tools name `lst_*`, which no tool of Kitchen is called",
        "token alice: its prompts name `plot`, which no prompt of Kitchen is called",
        "scope bob: its resources name `safe:/x`, which no resource of Kitchen is called",
    ]
