"""FastMCP's and MCP's own Python clients, in both eras of the protocol, through the whole program."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import fastmcp
import httpx2
import mcp
import pytest
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client.streamable_http import streamable_http_client

from tests.clients.credentials import REFUSAL, SPELLINGS, WRONG, every_way, header_fields
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from mcp.shared.dispatcher import ProgressFnT

    from tests.clients.programs import Sealed
    from tests.harness.program import Program

SECONDS = 30.0

LEGACY, MODERN = "2025-11-25", "2026-07-28"
"""The newest version with an `initialize` handshake, and the first one without."""

STEPS, PAUSE = 3, 0.2


class Connection:
    """The calls that all three clients have, each in its own words."""

    def __init__(self, client: fastmcp.Client[Any] | mcp.Client | mcp.ClientSession) -> None:
        self._client = client

    @property
    def version(self) -> str | None:
        return self._client.protocol_version

    async def tools(self) -> set[str]:
        listed = await self._client.list_tools()
        return {tool.name for tool in (listed if isinstance(listed, list) else listed.tools)}

    async def call(
        self, tool: str, arguments: dict[str, Any], on_progress: ProgressFnT | None = None
    ) -> Any:
        if isinstance(self._client, fastmcp.Client):
            called = await self._client.call_tool(tool, arguments, progress_handler=on_progress)
            return called.data
        result = await self._client.call_tool(tool, arguments, progress_callback=on_progress)
        assert not result.is_error
        assert result.structured_content is not None
        return result.structured_content["result"]


# Each takes the endpoint's URL, header fields and a `mode`: "legacy" opens with `initialize`, "auto"
# (the default) with `server/discover`, a version with neither.


@asynccontextmanager
async def fastmcp_client(url: str, headers: dict[str, str], mode: str) -> AsyncIterator[Connection]:
    transport = StreamableHttpTransport(url, headers=headers)
    async with fastmcp.Client(transport, mode=mode) as client:
        yield Connection(client)


@asynccontextmanager
async def mcp_client(url: str, headers: dict[str, str], mode: str) -> AsyncIterator[Connection]:
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
        transport = streamable_http_client(url, http_client=http)
        async with mcp.Client(transport, mode=mode) as client:
            yield Connection(client)


@asynccontextmanager
async def client_session(url: str, headers: dict[str, str], mode: str) -> AsyncIterator[Connection]:
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with mcp.ClientSession(*streams) as session:
                await (session.initialize() if mode == "legacy" else session.discover())
                yield Connection(session)


if TYPE_CHECKING:
    Connect = Callable[[str, dict[str, str], str], AbstractAsyncContextManager[Connection]]


@pytest.fixture(scope="session", params=["network", "inprocess"])
def upstream_mode(request: pytest.FixtureRequest) -> str:
    """Both ways to the probe server, which needs asyncio."""
    return str(request.param)


every_client = pytest.mark.parametrize(
    "connect", [fastmcp_client, mcp_client, client_session], ids=lambda connect: connect.__name__
)
every_era = pytest.mark.parametrize("mode", ["legacy", MODERN, "auto"])


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on asyncio, as most users of these clients do, and not for ever."""
    asyncio.run(asyncio.wait_for(main, SECONDS))


@every_client
@every_era
@pytest.mark.parametrize(("query", "headers"), every_way(TOKEN))
def test_a_client_with_the_token_lists_and_calls_tools(
    program: Program, connect: Connect, mode: str, query: str, headers: dict[str, str]
) -> None:
    # Each client meets both spellings of the endpoint, one with each half of the ways.
    path = SPELLINGS[bool(query)]

    async def main() -> None:
        async with connect(program.url + path + query, headers, mode) as connection:
            assert connection.version == (LEGACY if mode == "legacy" else MODERN)
            assert await connection.tools() >= {"add", "asyncio_only", "count"}
            assert await connection.call("add", {"a": 19, "b": 23}) == 42
            assert await connection.call("asyncio_only", {"seconds": 0.01}) == "exit 0"

    run(main())


@every_client
@pytest.mark.parametrize("mode", ["legacy", MODERN])
def test_progress_arrives_while_the_call_still_runs(
    program: Program, connect: Connect, mode: str
) -> None:
    reports: list[tuple[float, float | None, str | None]] = []
    times: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))
        times.append(time.monotonic())

    async def main() -> None:
        headers = header_fields(TOKEN)["authorization"]
        async with connect(program.endpoint, headers, mode) as connection:
            arguments = {"to": STEPS, "pause": PAUSE}
            assert await connection.call("count", arguments, on_progress) == STEPS
            times.append(time.monotonic())

    run(main())
    assert reports == [(step + 1, STEPS, None) for step in range(STEPS)]
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) > PAUSE / 3, gaps  # each step came well before the next one, and the result


@every_client
@every_era
@pytest.mark.parametrize(
    ("query", "headers"), [*every_way(WRONG), pytest.param("", {}, id="no-token")]
)
def test_a_client_without_the_token_fails_and_shows_the_gates_message(
    sealed: Sealed, connect: Connect, mode: str, query: str, headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with connect(f"{sealed.url}/mcp{query}", headers, mode) as connection:
            await connection.tools()

    refusal = pytest.RaisesExc(mcp.MCPError, match=f"^{REFUSAL}")
    with pytest.RaisesGroup(refusal, flatten_subgroups=True, allow_unwrapped=True):
        run(main())
    sealed.assert_answered("POST /mcp 401")
