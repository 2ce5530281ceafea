"""Clients of the gate, beside the browser: one of FastMCP's that calls a tool, and one that listens until it is cut off."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import httpx
from fastmcp import Client

if TYPE_CHECKING:
    from types import TracebackType

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "listener", "version": "1"},
    },
}


def add(endpoint: str, token: str, a: int, b: int) -> int:
    """Have the server add two numbers, with FastMCP's client."""
    return int(called(endpoint, token, "add", a=a, b=b))


def called(endpoint: str, token: str, tool: str, **arguments: Any) -> Any:
    """The answer of a tool to FastMCP's client."""

    async def call() -> Any:
        async with Client(endpoint, auth=token) as client:
            return (await client.call_tool(tool, arguments)).data

    # The browser's driver has the event loop of this thread.
    with ThreadPoolExecutor(1, initializer=_own_loops) as threads:
        return threads.submit(asyncio.run, call()).result(60)


def _own_loops() -> None:
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())


class Listener:
    """A client with an open event stream, until the block ends; `cut` is set when the stream is over."""

    def __init__(self, endpoint: str, token: str) -> None:
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}", **ACCEPT}, trust_env=False, timeout=60
        )
        self._endpoint = endpoint
        self._thread = Thread(target=self._listen)
        self.listens, self.cut = Event(), Event()

    def __enter__(self) -> Listener:
        hello = self._client.post(self._endpoint, content=json.dumps(HELLO))
        hello.raise_for_status()
        self._client.headers["Mcp-Session-Id"] = hello.headers["Mcp-Session-Id"]
        self._thread.start()
        assert self.listens.wait(10), "the event stream does not open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._thread.join(10)

    def _listen(self) -> None:
        with suppress(httpx.TransportError):
            with self._client.stream("GET", self._endpoint) as answer:
                answer.raise_for_status()
                self.listens.set()
                for _ in answer.iter_raw():
                    pass
        self.cut.set()
