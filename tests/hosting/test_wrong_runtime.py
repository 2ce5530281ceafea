"""A server on Trio that needs asyncio is told which setting mends it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from fastmcp import FastMCP

from gatehouse.hosting.server import tools_of
from gatehouse.hosting.wrong_runtime import ADVICE, WrongRuntime, needs_asyncio

if TYPE_CHECKING:
    import pytest


def server_on_trio(*, mask: bool = False) -> FastMCP[None]:
    server: FastMCP[None] = FastMCP("x", mask_error_details=mask)
    server.add_middleware(WrongRuntime())

    @server.tool
    async def sleeps() -> None:
        await asyncio.sleep(1)

    @server.tool
    async def pauses() -> None:
        await asyncio.sleep(0)

    @server.tool
    def asks_in_a_thread() -> None:
        asyncio.get_event_loop()

    @server.tool
    async def hides() -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise ValueError("no good") from error

    @server.tool
    async def answers() -> str:
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            return f"Error: {error}"
        return ""

    @server.tool
    async def fails() -> None:
        raise ValueError("something else")

    @server.resource("some://thing")
    async def thing() -> str:
        await asyncio.sleep(1)
        return ""

    return server


async def test_each_thing_that_fails_for_lack_of_asyncio_is_told_once_with_the_setting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = ["sleeps", "pauses", "asks_in_a_thread", "hides", "answers", "fails"]
    for mask in (False, True):
        server = server_on_trio(mask=mask)
        caplog.clear()
        for name in [*names, *names]:
            with suppress(Exception):
                await server.call_tool(name)
        with suppress(Exception):
            await server.read_resource("some://thing")
        told = [line for line in caplog.messages if ADVICE in line]
        things = [*(f"tools/call {name}" for name in names[:-1]), "resources/read some://thing"]
        assert told == [f"{thing} failed for lack of asyncio: {ADVICE}" for thing in things]


async def test_no_server_fills_the_log_with_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatehouse.hosting.wrong_runtime.MAX_NAMES", 10)  # each takes 60 ms
    server: FastMCP[None] = FastMCP("x")
    server.add_middleware(WrongRuntime())
    for number in range(15):

        async def sleeps() -> None:
            await asyncio.sleep(1)

        server.tool(sleeps, name=f"t{number}")
        with suppress(Exception):
            await server.call_tool(f"t{number}")
    assert sum(ADVICE in line for line in caplog.messages) == 10


def test_a_long_chain_of_errors_is_not_followed_to_its_end() -> None:
    error: BaseException = RuntimeError("no running event loop")
    for _ in range(1000):
        error = ExceptionGroup("many", [ValueError("x")] * 20).with_traceback(error.__traceback__)
        error.__cause__ = error.__context__ = ValueError()
    assert not needs_asyncio(error)


async def test_the_tools_of_a_server_are_counted_without_asking_others() -> None:
    class Never(FastMCP[None]):
        async def list_tools(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise AssertionError

    server = server_on_trio()
    assert await tools_of(server) == "6 tools"
    server.mount(Never("other"))
    assert await tools_of(server) == "6 tools, and those of other servers"
    assert await tools_of(object()) == ""  # type: ignore[arg-type]
