"""The MCP server as a client sees it: tools, resource, prompt, and errors that say what to do."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import fastmcp
import httpx
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError

import mcp_app
from pantry import PantrySettings, PantrySettingsError
from tests.harness.notion_stand_in import (
    INVENTORY,
    SECRET,
    SHOPPING,
    NotionStandIn,
    notion_stand_in,
)
from tests.harness.program import ROOT

DAY = date(2026, 11, 24)
TOOLS = {  # name: (only reads, destroys, may be repeated)
    "list_inventory": (True, False, True),
    "get_item": (True, False, True),
    "add_item": (False, False, False),
    "update_item": (False, True, True),
    "consume_item": (False, True, False),
    "remove_item": (False, True, True),
    "list_expiring": (True, False, True),
    "list_low_stock": (True, False, True),
    "list_shopping": (True, False, True),
    "add_to_shopping": (False, False, False),
    "mark_purchased": (False, False, True),
}
Talk = Callable[[Client[Any]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _a_new_kitchen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in PantrySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(mcp_app, "today", lambda: DAY)


@pytest.fixture
def notion(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotionStandIn]:
    with notion_stand_in() as stand_in:
        monkeypatch.setenv("NOTION_SECRET", SECRET)
        monkeypatch.setenv("NOTION_BASE_URL", stand_in.url)
        monkeypatch.setenv("NOTION_INVENTORY_DB_ID", stand_in.add_database(INVENTORY))
        monkeypatch.setenv("NOTION_SHOPPING_DB_ID", stand_in.add_database(SHOPPING))
        yield stand_in


@pytest.fixture(params=["sqlite", "notion"])
def _either_store(request: pytest.FixtureRequest) -> None:
    if request.param == "notion":
        request.getfixturevalue("notion")


def converse(talk: Talk) -> None:
    """Start the server, let a client talk to it, and stop it."""

    async def run() -> None:
        async with Client(mcp_app.mcp) as client:
            await talk(client)

    asyncio.run(run())


async def ask(client: Client[Any], tool: str, **arguments: Any) -> Any:
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    return answer


def names(page: Any) -> list[str]:
    return [item["name"] for item in page["items"]]


def test_each_tool_is_described_typed_and_annotated() -> None:
    async def talk(client: Client[Any]) -> None:
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert tools.keys() == TOOLS.keys()
        for name, tool in tools.items():
            hints = tool.annotations
            assert hints
            assert TOOLS[name] == (
                hints.read_only_hint,
                hints.destructive_hint,
                hints.idempotent_hint,
            )
            assert hints.open_world_hint is False
            assert tool.description
            assert tool.output_schema
            for parameter in tool.input_schema["properties"].values():
                assert "description" in json.dumps(parameter)

    converse(talk)


def test_bounds_and_usual_values_are_in_the_schemas() -> None:
    async def talk(client: Client[Any]) -> None:
        tools = {tool.name: tool.input_schema["properties"] for tool in await client.list_tools()}
        limit, days = tools["list_inventory"]["limit"], tools["list_expiring"]["days"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 100, 50)
        assert (days["minimum"], days["maximum"], days["default"]) == (0, 365, 7)
        assert tools["consume_item"]["amount"]["exclusiveMinimum"] == 0
        assert tools["add_item"]["name"]["minLength"] == 1
        assert "Produce" in tools["add_item"]["category"]["description"]

    converse(talk)


@pytest.mark.usefixtures("_either_store")
def test_a_day_in_the_kitchen() -> None:
    async def talk(client: Client[Any]) -> None:
        milk = await ask(
            client, "add_item", name=" Milk ", quantity=2, unit="l", category="Dairy",
            location="Fridge", expires="2026-11-23", staple=True, min_quantity=1,
        )  # fmt: skip
        await ask(client, "add_item", name="Rice", quantity=1, expires="2026-11-30")
        assert milk["name"] == "Milk"
        assert await ask(client, "get_item", item_id=milk["id"]) == milk

        page = await ask(client, "list_inventory", limit=1)
        rest = await ask(client, "list_inventory", limit=1, cursor=page["next_cursor"])
        assert names(page) + names(rest) == ["Milk", "Rice"]
        assert rest["next_cursor"] is None
        assert page["items"] == [milk]
        assert names(await ask(client, "list_inventory", category="dairy", query="mil")) == ["Milk"]

        expiring = await ask(client, "list_expiring", days=6)
        flags = [(item["name"], item["days_left"], item["expired"]) for item in expiring["items"]]
        assert flags == [("Milk", -1, True), ("Rice", 6, False)]
        assert names(await ask(client, "list_expiring", days=5)) == ["Milk"]

        assert names(await ask(client, "list_low_stock")) == []
        left = await ask(client, "consume_item", item_id=milk["id"], amount=1.5)
        assert left["quantity"] == 0.5
        assert names(await ask(client, "list_low_stock")) == ["Milk"]

        changed = await ask(
            client, "update_item", item_id=milk["id"], name="Oat milk", clear=["expires"]
        )
        assert (changed["name"], changed["expires"], changed["quantity"]) == ("Oat milk", None, 0.5)
        removed = await ask(client, "remove_item", item_id=milk["id"])
        assert removed["removed"] == changed
        assert removed["message"].startswith("'Oat milk' was ")
        assert names(await ask(client, "list_inventory")) == ["Rice"]

    converse(talk)


@pytest.mark.usefixtures("_either_store")
def test_a_shopping_trip() -> None:
    async def talk(client: Client[Any]) -> None:
        tea = await ask(client, "add_to_shopping", name="Tea", notes="green")
        await ask(client, "add_to_shopping", name="Bread", quantity=2)
        assert names(await ask(client, "list_shopping")) == ["Bread", "Tea"]
        assert (await ask(client, "mark_purchased", item_id=tea["id"]))["purchased"] is True
        assert names(await ask(client, "list_shopping")) == ["Bread"]
        everything = await ask(client, "list_shopping", include_purchased=True, query="GREEN")
        assert names(everything) == ["Tea"]
        undone = await ask(client, "mark_purchased", item_id=tea["id"], purchased=False)
        assert undone == tea

    converse(talk)


@pytest.mark.usefixtures("_either_store")
@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("get_item", {"item_id": "milk"}, "No item with id milk. Call list_inventory to see"),
        ("consume_item", {"item_id": "x", "amount": 1}, "Call list_inventory to see the ids"),
        ("mark_purchased", {"item_id": "x"}, "Call list_shopping to see the ids"),
        ("list_inventory", {"cursor": "xyz"}, "Call again without a cursor"),
        ("update_item", {"item_id": "x"}, "Nothing to change. Give at least one field"),
        ("update_item", {"item_id": "x", "unit": "l", "clear": ["unit"]}, "Both a value and"),
        ("add_item", {"name": "   "}, "at least 1 character"),
        ("add_item", {"name": "Salt", "quantity": -1}, "greater than or equal to 0"),
        ("consume_item", {"item_id": "x", "amount": 0}, "greater than 0"),
        ("list_expiring", {"days": 366}, "less than or equal to 365"),
        ("list_inventory", {"limit": 101}, "less than or equal to 100"),
    ],
)
def test_errors_say_what_to_do(tool: str, arguments: dict[str, Any], words: str) -> None:
    async def talk(client: Client[Any]) -> None:
        with pytest.raises(ToolError, match=words):
            await client.call_tool(tool, arguments)

    converse(talk)


def test_taking_too_much_tells_how_much_is_there() -> None:
    async def talk(client: Client[Any]) -> None:
        item = await ask(client, "add_item", name="Milk", quantity=0.5, unit="l")
        with pytest.raises(ToolError, match=r"Cannot take 2 of 'Milk': only 0\.5 l left"):
            await client.call_tool("consume_item", {"item_id": item["id"], "amount": 2})

    converse(talk)


@pytest.mark.usefixtures("_either_store")
def test_the_resource_holds_the_whole_inventory() -> None:
    async def talk(client: Client[Any]) -> None:
        for name in ("Rice", "Milk"):
            await ask(client, "add_item", name=name, expires="2026-12-01")
        (content,) = await client.read_resource("foodwise://inventory")
        document = json.loads(content.model_dump()["text"])
        assert names(document) == ["Milk", "Rice"]
        assert document["items"][0]["expires"] == "2026-12-01"
        assert document["next_cursor"] is None

    converse(talk)


def test_the_prompt_asks_for_what_expires_first() -> None:
    async def talk(client: Client[Any]) -> None:
        (prompt,) = await client.list_prompts()
        answer = await client.get_prompt(prompt.name, {"days": 3, "servings": 4})
        text = answer.messages[0].content.model_dump()["text"]
        assert "days=3" in text
        assert "4 servings" in text

    converse(talk)


def test_the_records_are_there_again_when_the_server_starts_again() -> None:
    async def first(client: Client[Any]) -> None:
        await ask(client, "add_item", name="Rice")

    async def second(client: Client[Any]) -> None:
        assert names(await ask(client, "list_inventory")) == ["Rice"]

    converse(first)
    converse(second)


def test_faults_in_the_settings_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        async with mcp_app.lifespan(mcp_app.mcp):
            pass

    monkeypatch.setenv("NOTION_SECRET", SECRET)
    with pytest.raises(PantrySettingsError) as caught:
        asyncio.run(start())
    assert "NOTION_INVENTORY_DB_ID is missing" in caught.value.faults[0]


def test_notion_being_away_does_not_stop_the_start_and_is_told_by_the_tools(
    notion: NotionStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTION_BASE_URL", "http://127.0.0.1:9")

    async def talk(client: Client[Any]) -> None:
        with pytest.raises(ToolError, match="could not be reached"):
            await client.call_tool("list_inventory", {})
        with pytest.raises(Exception, match="could not be reached"):
            await client.read_resource("foodwise://inventory")

    converse(talk)
    assert notion.requests == []


def test_without_a_shopping_database_the_tools_name_the_setting(
    notion: NotionStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTION_SHOPPING_DB_ID")

    async def talk(client: Client[Any]) -> None:
        with pytest.raises(ToolError, match="Set NOTION_SHOPPING_DB_ID"):
            await client.call_tool("list_shopping", {})

    converse(talk)
    assert notion.requests == []


def test_an_unforeseen_error_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> date:
        raise RuntimeError("private detail")

    monkeypatch.setattr(mcp_app, "today", broken)

    async def talk(client: Client[Any]) -> None:
        with pytest.raises(ToolError) as caught:
            await client.call_tool("list_expiring", {})
        assert "private detail" not in str(caught.value)

    converse(talk)


def test_the_secret_is_in_no_log_of_the_server(
    notion: NotionStandIn, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def talk(client: Client[Any]) -> None:
        await ask(client, "add_item", name="Rice")
        notion.fail(401, "unauthorized")
        with pytest.raises(ToolError, match="NOTION_SECRET"):
            await client.call_tool("list_inventory", {})

    converse(talk)
    assert "POST http://127.0.0.1" in caplog.text
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_it_is_served_without_sessions() -> None:
    async def call_without_initializing() -> httpx.Response:
        app = mcp_app.mcp.http_app()
        async with app.lifespan(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.post(
                    "/mcp",
                    headers={"Accept": "application/json, text/event-stream"},
                    json={
                        "jsonrpc": "2.0",
                        "id": 1,
                        "method": "tools/call",
                        "params": {"name": "add_item", "arguments": {"name": "Rice"}},
                    },
                )

    response = asyncio.run(call_without_initializing())
    assert response.status_code == 200
    assert '"name":"Rice"' in response.text
    assert "mcp-session-id" not in response.headers
    assert fastmcp.settings.stateless_http


def test_importing_it_touches_no_file(tmp_path: Path) -> None:
    code = "import mcp_app; assert mcp_app.mcp.name == 'FoodWise'"
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert not list(tmp_path.glob("*.sqlite3"))
