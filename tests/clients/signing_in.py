"""Clients that can sign in without a human, each with a home of its own: what `add` of 2 and 3 is, or why not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import fastmcp
import httpx2
import mcp
import trio
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.clients.authorization_servers import MACHINE, MACHINE_SECRET
from tests.clients.node import HERE
from tests.clients.stdio import NodeProgram, NodePrograms
from tests.harness.identity import person
from tests.harness.program import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Sequence
    from pathlib import Path

SECONDS = 60.0
CALLBACK = "http://127.0.0.1:7/callback"
"""Nobody listens there: the person stops before it."""
BROWSER = [sys.executable, str(person.__file__)]
ADD = {"a": 2, "b": 3}


def programs(bin_folder: Path, home: Path) -> NodePrograms:
    """The Node clients, with a person at their browser."""
    home.mkdir()
    return NodePrograms(bin_folder, home, BROWSER)


async def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on asyncio, in a thread of its own."""
    return await trio.to_thread.run_sync(lambda: asyncio.run(asyncio.wait_for(main, SECONDS)))


async def together(starts: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, Any]:
    """The results of all these, by name: of each, its value or its error."""
    results: dict[str, Any] = {}

    async def use(name: str) -> None:
        try:
            results[name] = await starts[name]()
        except Exception as error:  # noqa: BLE001 - it is the result
            results[name] = error

    async with trio.open_nursery() as nursery:
        for name in starts:
            nursery.start_soon(use, name)
    return results


# FastMCP's client.


async def by_fastmcp(url: str, *, bearer: str = "", mode: str = "auto", tool: str = "add") -> Any:
    """With a static token, or by signing in: it opens a browser and listens for the answer."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    auth = None if bearer else OAuth(callback_timeout=SECONDS)
    transport = StreamableHttpTransport(url, headers=headers, auth=auth)
    async with fastmcp.Client(transport, mode=mode) as client:
        await client.list_tools()  # the request that signs in cannot ask for more scopes, too
        called = await client.call_tool(tool, ADD if tool == "add" else {})
        return called.data


class Browser:
    """Stands in for `webbrowser` while clients in this process sign in."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4)

    def __enter__(self) -> None:
        self._open = webbrowser.open
        webbrowser.open = self.open  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        webbrowser.open = self._open
        self._threads.shutdown()

    def open(self, url: str) -> bool:
        """Sign in, elsewhere: whoever opens a browser goes on at once."""
        self._threads.submit(person.sign_in, url)
        return True


# The Python SDK.


class Kept:
    """All that the SDK wants to find again."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


Visit = Callable[[str, str], str]
"""Follows an authorization URL until one that begins so, and returns that."""


def signed_in(url: str, until: str) -> str:
    """The visit of a person who signs in."""
    return person.sign_in(url, until=until)


class Person:
    """Visits the authorization server for the SDK, and brings what that sends back."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    async def go(self, url: str) -> None:
        self._there = await asyncio.to_thread(self._visit, url, CALLBACK)

    async def come_back(self) -> AuthorizationCodeResult:
        brought = {
            name: values[0] for name, values in parse_qs(urlsplit(self._there).query).items()
        }
        return AuthorizationCodeResult(
            code=brought["code"], state=brought.get("state"), iss=brought.get("iss")
        )


async def by_sdk(
    url: str, *, bearer: str = "", kept: Kept | None = None, visit: Visit = signed_in
) -> Any:
    """With a static token, or by signing in, unless it is `kept`."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    someone = Person(visit)
    metadata = OAuthClientMetadata(
        client_name="tests of the gate",
        redirect_uris=[AnyUrl(CALLBACK)],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    auth = OAuthClientProvider(url, metadata, kept or Kept(), someone.go, someone.come_back)
    async with httpx2.AsyncClient(
        headers=headers, auth=None if bearer else auth, timeout=SECONDS
    ) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http)) as client:
            result = await client.call_tool("add", ADD)
            assert result.structured_content is not None
            return result.structured_content["result"]


# The TypeScript SDK.


async def by_typescript(
    url: str,
    home: Path,
    *,
    era: str,
    bearer: str = "",
    tool: str = "add",
    browser: Sequence[str] = BROWSER,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Its line of JSON: `text` or `error`, and the `scopes` of each sign-in. It keeps what it has in the file `kept`."""
    variables = {"URL": url, "ERA": era, "BEARER": bearer, "TOOL": tool}
    more = {"PERSON": json.dumps([*browser]), "KEPT": str(kept or "")}
    ended = await trio.run_process(
        ["node", str(HERE / "sign_in.mjs")],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **variables, **more},
        capture_stdout=True,
        capture_stderr=True,
    )
    return dict(json.loads(ended.stdout))


# Node programs.


async def by_mcp_remote(node: NodePrograms, url: str, *more: str, **variables: str) -> Any:
    """Through mcp-remote, as Claude Desktop calls it."""
    given = ("--transport", "http-only", "--allow-http", *more)
    async with node.start("mcp-remote", url, *given, **variables) as bridge:
        return await added_by(bridge)


async def by_supergateway(node: NodePrograms, url: str) -> Any:
    """Through supergateway, with a URL that has its token in it."""
    async with node.start("supergateway", "--streamableHttp", url) as bridge:
        return await added_by(bridge)


async def added_by(bridge: NodeProgram) -> Any:
    """The sum, as Claude Desktop would ask for it."""
    await bridge.initialize()
    await bridge.notify("notifications/initialized")
    called = await bridge.request("tools/call", name="add", arguments=ADD)
    return called["structuredContent"]["result"]


MACHINE_INFO = json.dumps({"client_id": MACHINE, "client_secret": "${SECRET}"})
AS_A_MACHINE = ("--client-credentials", "--static-oauth-client-info", MACHINE_INFO)
MACHINE_VARIABLES = {"SECRET": MACHINE_SECRET}


def inspector_arguments(url: str, *more: str) -> list[str]:
    call = ["--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=2", "b=3"]
    return ["--cli", url, "--transport", "http", *more, *call]


async def by_inspector(node: NodePrograms, url: str, *more: str, opens: bool = False) -> Any:
    """Through the Inspector's command line; with `opens`, it may open a browser."""
    variables = {"MCP_OAUTH_CALLBACK_URL": f"http://127.0.0.1:{free_port()}/oauth/callback"}
    if opens:
        variables["MCP_AUTO_OPEN_ENABLED"] = "true"
    ended = await node.run("mcp-inspector", *inspector_arguments(url, *more), **variables)
    assert ended.status == 0, ended.stderr
    return json.loads(ended.stdout)["structuredContent"]["result"]
