"""Real clients that a person lets in, each with a browser and a home that outlive it: a start is a new client there."""

from __future__ import annotations

import webbrowser
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

import fastmcp
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import StreamableHttpTransport
from key_value.aio.stores.memory import MemoryStore

from tests.clients.person_at_home import PersonAtHome, at_home
from tests.clients.signing_in import (
    ADD,
    SECONDS,
    Kept,
    by_inspector,
    by_mcp_remote,
    by_sdk,
    by_typescript,
    run,
)
from tests.clients.stdio import NodePrograms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

PYTHON = ("fastmcp", "Python SDK")
NODE = ("TypeScript SDK", "TypeScript SDK, modern", "mcp-remote", "Inspector")


@dataclass
class RealClient:
    """A client: `start` takes the URL of an endpoint, and gives the sum of 2 and 3 as the server there has it."""

    home: PersonAtHome
    start: Callable[[str], Awaitable[Any]]


@contextmanager
def real_clients(folder: Path, node_folder: Path | None = None) -> Iterator[dict[str, RealClient]]:
    """The clients in Python, and those for Node if it is there, until the block ends."""
    with ExitStack() as stack:
        names = PYTHON + (NODE if node_folder else ())
        homes = {name: stack.enter_context(at_home()) for name in names}
        started: dict[str, Callable[[str], Awaitable[Any]]] = {
            "fastmcp": fastmcp_of(homes["fastmcp"], stack),
            "Python SDK": sdk_of(homes["Python SDK"]),
        }
        if node_folder:
            started |= node_clients(folder, node_folder, homes)
        yield {name: RealClient(homes[name], started[name]) for name in names}


def fastmcp_of(home: PersonAtHome, stack: ExitStack) -> Callable[[str], Awaitable[Any]]:
    """FastMCP's client, which opens a browser and listens for the answer."""
    stack.enter_context(browser_of(home))
    store = MemoryStore()

    async def main(url: str) -> Any:
        auth = OAuth(callback_timeout=SECONDS, token_storage=store)
        async with fastmcp.Client(StreamableHttpTransport(url, auth=auth)) as client:
            return (await client.call_tool("add", ADD)).data

    return lambda url: run(main(url))


@contextmanager
def browser_of(home: PersonAtHome) -> Iterator[None]:
    """`webbrowser` is the person's browser."""
    threads: list[Thread] = []

    def opened(url: str) -> bool:
        threads.append(Thread(target=home.browse, args=[url]))
        threads[-1].start()
        return True  # whoever opens a browser goes on at once

    real, webbrowser.open = webbrowser.open, opened  # type: ignore[assignment]
    try:
        yield
    finally:
        webbrowser.open = real
        for thread in threads:
            thread.join()


def sdk_of(home: PersonAtHome) -> Callable[[str], Awaitable[Any]]:
    """A client on the Python SDK."""
    kept = Kept()
    return lambda url: run(by_sdk(url, kept=kept, visit=home.go))


def node_clients(
    folder: Path, node_folder: Path, homes: dict[str, PersonAtHome]
) -> dict[str, Callable[[str], Awaitable[Any]]]:
    """The clients for Node, each with a folder for all that it keeps."""
    for name in NODE:
        (folder / name).mkdir()

    def programs(name: str) -> NodePrograms:
        return NodePrograms(node_folder, folder / name, homes[name].browser)

    async def typescript(name: str, era: str, url: str) -> Any:
        browser = homes[name].browser
        told = await by_typescript(
            url, folder / name, era=era, browser=browser, kept=folder / name / "kept.json"
        )
        return int(told["text"]) if "text" in told else told

    remote, inspector = programs("mcp-remote"), programs("Inspector")
    return {
        "TypeScript SDK": partial(typescript, "TypeScript SDK", "legacy"),
        "TypeScript SDK, modern": partial(typescript, "TypeScript SDK, modern", "2026-07-28"),
        "mcp-remote": lambda url: by_mcp_remote(remote, url),
        "Inspector": lambda url: by_inspector(inspector, url, opens=True),
    }
