"""The Node clients that users have: supergateway, mcp-remote and the Inspector.

The two bridges stand between Claude Desktop, which speaks JSON-RPC on stdio, and the gate.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.clients.credentials import REFUSAL, SPELLINGS, WRONG, every_way
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from tests.clients.programs import Sealed
    from tests.clients.stdio import NodeProgram, NodePrograms
    from tests.harness.program import Program

both_spellings = pytest.mark.parametrize("path", SPELLINGS)

WRONG_OR_NONE = [*every_way(WRONG), pytest.param("", {}, id="no-token")]

DISCOVERY = [
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration/mcp",
    "/.well-known/openid-configuration",
    "/mcp/.well-known/openid-configuration",
]
"""Where mcp-remote looks for OAuth."""


async def use_and_leave(bridge: NodeProgram) -> None:
    """Do what Claude Desktop does, from the handshake to its end."""
    initialized = await bridge.initialize()
    assert initialized["serverInfo"]["name"] == "Probe"
    await bridge.notify("notifications/initialized")
    listed = await bridge.request("tools/list")
    assert {tool["name"] for tool in listed["tools"]} >= {"add", "asyncio_only", "count"}
    called = await bridge.request("tools/call", name="add", arguments={"a": 19, "b": 23})
    assert called["structuredContent"] == {"result": 42}
    await bridge.hang_up()
    ended = await bridge.end()
    assert ended.status == 0, ended.stderr


def header_arguments(headers: dict[str, str]) -> list[str]:
    """`--header "Name: value"` for each, as supergateway and the Inspector take them."""
    return [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]


# supergateway


@both_spellings
async def test_supergateway_with_a_url_key_lists_and_calls_tools(
    program: Program, node: NodePrograms, path: str
) -> None:
    url = f"{program.url}{path}?key={TOKEN}"
    async with node.start("supergateway", "--streamableHttp", url) as bridge:
        await use_and_leave(bridge)


@both_spellings
async def test_supergateway_with_a_bearer_token_lists_and_calls_tools(
    program: Program, node: NodePrograms, path: str
) -> None:
    url, name = program.url + path, f"supergateway{path.replace('/', '-')}"
    given = ("--oauth2Bearer", TOKEN, "--header", f"X-Request-Id: {name}", "--logLevel", "none")
    async with node.start("supergateway", "--streamableHttp", url, *given) as bridge:
        await use_and_leave(bridge)
    program.wait_for_log(f"tools/call add, id {name}\n")


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        pytest.param(f"?key={WRONG}", [], id="url-key"),
        pytest.param("", ["--oauth2Bearer", WRONG], id="bearer"),
        pytest.param("", ["--header", f"X-API-Key: {WRONG}"], id="x-api-key"),
        pytest.param("", [], id="no-token"),
    ],
)
async def test_supergateway_without_the_token_ends_with_status_1_and_the_gates_message(
    sealed: Sealed, node: NodePrograms, query: str, arguments: list[str]
) -> None:
    url = f"{sealed.url}/mcp{query}"
    async with node.start("supergateway", "--streamableHttp", url, *arguments) as bridge:
        await bridge.begin_to_initialize()
        ended = await bridge.end()
    assert ended.status == 1
    assert ended.stdout == ""
    assert REFUSAL in ended.stderr
    sealed.assert_answered("POST /mcp 401")


# The Inspector, in CLI mode


@both_spellings
@pytest.mark.parametrize(("query", "headers"), every_way(TOKEN))
async def test_the_inspector_with_the_token_calls_a_tool(
    program: Program, node: NodePrograms, path: str, query: str, headers: dict[str, str]
) -> None:
    url = program.url + path + query
    call = ["--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=19", "b=23"]
    ended = await node.run(
        "mcp-inspector", "--cli", url, "--transport", "http", *header_arguments(headers), *call
    )
    assert ended.status == 0, ended.stderr
    assert json.loads(ended.stdout)["structuredContent"] == {"result": 42}


async def test_the_inspector_with_the_token_lists_tools(
    program: Program, node: NodePrograms
) -> None:
    ended = await node.run(
        "mcp-inspector",
        *("--cli", program.endpoint, "--transport", "http"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--method", "tools/list"),
    )
    assert ended.status == 0, ended.stderr
    tools = {tool["name"] for tool in json.loads(ended.stdout)["tools"]}
    assert tools >= {"add", "asyncio_only", "count"}


@pytest.mark.parametrize(("query", "headers"), WRONG_OR_NONE)
async def test_the_inspector_without_the_token_says_that_it_needs_authorization(
    sealed: Sealed, node: NodePrograms, query: str, headers: dict[str, str]
) -> None:
    ended = await node.run(
        "mcp-inspector",
        *("--cli", f"{sealed.url}/mcp{query}", "--transport", "http"),
        *header_arguments(headers),
        *("--method", "tools/list"),
    )
    assert ended.status == 3
    assert ended.stdout == ""
    assert json.loads(ended.stderr)["error"]["code"] == "auth_required"
    sealed.assert_answered("POST /mcp 401")


async def test_the_inspector_told_to_ask_nobody_shows_the_gates_message(
    sealed: Sealed, node: NodePrograms
) -> None:
    ended = await node.run(
        "mcp-inspector",
        *("--cli", f"{sealed.url}/mcp", "--transport", "http"),
        *("--stored-auth-only", "--method", "tools/list"),
    )
    assert ended.status == 3
    assert REFUSAL in json.loads(ended.stderr)["error"]["message"]
    sealed.assert_answered("POST /mcp 401")


# mcp-remote


MCP_REMOTE = ("--transport", "http-only", "--allow-http")


@both_spellings
async def test_mcp_remote_with_a_header_from_its_environment_lists_and_calls_tools(
    program: Program, node: NodePrograms, path: str
) -> None:
    header = ("--header", "Authorization:${AUTH_HEADER}")
    async with node.start(
        "mcp-remote", program.url + path, *header, *MCP_REMOTE, AUTH_HEADER=f"Bearer {TOKEN}"
    ) as bridge:
        await use_and_leave(bridge)


async def test_mcp_remote_with_a_header_file_lists_and_calls_tools(
    program: Program, node: NodePrograms
) -> None:
    file = node.home / "headers.txt"
    file.write_text(f"X-API-Key: {TOKEN}\nX-Request-Id: mcp-remote\n")
    header = ("--header-file", str(file))
    async with node.start("mcp-remote", program.endpoint, *header, *MCP_REMOTE) as bridge:
        await use_and_leave(bridge)
    program.wait_for_log(r"tools/call add, id mcp-remote\n")


async def test_mcp_remote_with_a_url_key_lists_and_calls_tools(
    program: Program, node: NodePrograms
) -> None:
    url = f"{program.endpoint}?key={TOKEN}"
    async with node.start("mcp-remote", url, *MCP_REMOTE) as bridge:
        await use_and_leave(bridge)


@pytest.mark.parametrize(("query", "headers"), WRONG_OR_NONE)
async def test_mcp_remote_without_the_token_finds_no_oauth_and_ends_with_status_1(
    sealed: Sealed, node: NodePrograms, query: str, headers: dict[str, str]
) -> None:
    url = f"{sealed.url}/mcp{query}"
    arguments = [*header_arguments(headers), *MCP_REMOTE]
    async with node.start("mcp-remote", url, *arguments) as bridge:
        await bridge.begin_to_initialize()
        ended = await bridge.end()
    assert ended.status == 1
    assert ended.stdout == ""
    # All that its user gets to see of a refusal is the answer to its attempt to register.
    assert "Dynamic Client Registration rejected (HTTP 404)" in ended.stderr
    sealed.assert_answered(
        "GET /mcp 401",
        "POST /mcp 401",
        "POST /register 404",
        *(f"GET {path} 404" for path in DISCOVERY),
    )
