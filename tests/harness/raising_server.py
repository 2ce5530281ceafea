"""A FastMCP server whose parts raise all that is no `Exception`: `MCP_APP=raising_server:mcp`.

It uses AnyIO and Trio where it can, so that it runs on every runtime; what needs asyncio says so by its name.
"""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import sys
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import Middleware
from fastmcp.server.providers import Provider
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import BaseModel, model_serializer
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastmcp.tools import Tool
    from starlette.requests import Request


class Panic(BaseException):
    """As Rust extensions raise it (`pyo3_runtime.PanicException`)."""


class Nameless(type):
    """A class of classes that have no name to tell."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit(SECRET)


class Untellable(BaseException, metaclass=Nameless):
    """An error that can be raised, but not be told."""

    def __repr__(self) -> str:
        raise SystemExit(SECRET)

    __str__ = __repr__


def nested(text: str) -> BaseException:
    """A group of a group, and on like that: too deep for a `repr`."""
    error: BaseException = SystemExit(text)
    for _ in range(500):
        error = BaseExceptionGroup(text, [error])
    return error


SECRET = "s3cret-in-the-message"


def made(kind: str) -> BaseException:
    """The error to raise, by its name."""
    makers: dict[str, Any] = {
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "CancelledError": asyncio.CancelledError,
        "GeneratorExit": GeneratorExit,
        "StopIteration": StopIteration,
        "Panic": Panic,
        "Untellable": Untellable,
        "nested": nested,
        "group": lambda text: BaseExceptionGroup(text, [SystemExit(text), Panic(text)]),
    }
    error: BaseException = makers[kind](SECRET)
    return error


class Meddling(Middleware):
    """A middleware of the server's own, which fails for one tool."""

    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        if context.message.name == "in_middleware":
            raise made((context.message.arguments or {})["kind"])
        return await call_next(context)


class Unlisted(Provider):
    """Fails whenever the gate asks what it has, each time in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = cycle(["SystemExit", "CancelledError", "Panic"])

    async def list_tools(self) -> Sequence[Tool]:
        await anyio.lowlevel.checkpoint()
        try:
            get_http_request()
        except RuntimeError:  # nobody's
            raise made(next(self.kinds)) from None
        return []


mcp: FastMCP[None] = FastMCP("Raising", middleware=[Meddling()])
mcp.add_provider(Unlisted())


@mcp.tool
def add(a: int, b: int) -> int:
    return a + b


at_import: contextvars.ContextVar[str] = contextvars.ContextVar("at_import", default="lost")
at_import.set("kept")

decimal.getcontext().prec = 7


@mcp.tool
async def set_at_import() -> str:
    return f"{at_import.get()} {decimal.Decimal(1) / 3}"


@mcp.tool
async def in_async_tool(kind: str) -> str:
    raise made(kind)


@mcp.tool
def in_sync_tool(kind: str) -> str:
    raise made(kind)


@mcp.tool
async def in_middleware(kind: str) -> str:
    return kind


@mcp.tool
async def in_task_group(kind: str) -> str:
    async def fail() -> None:
        raise made(kind)

    async with anyio.create_task_group() as group:
        group.start_soon(fail)
        await anyio.sleep(5)
    return "over"


class Spiteful(BaseModel):
    kind: str

    @model_serializer
    def dump(self) -> dict[str, str]:
        raise made(self.kind)


@mcp.tool(output_schema=None)
async def in_result(kind: str) -> Spiteful:
    return Spiteful(kind=kind)


@mcp.tool
async def after_progress(kind: str, ctx: Context) -> str:
    """Raise when the answer has begun, as an event stream."""
    await ctx.report_progress(1, 2)
    raise made(kind)


@mcp.resource("raise://fixed")
async def fixed() -> str:
    raise made("SystemExit")


@mcp.resource("raise://by/{kind}")
async def by_kind(kind: str) -> str:
    raise made(kind)


@mcp.prompt
async def in_prompt(kind: str) -> str:
    raise made(kind)


@mcp.custom_route("/mcp/raise", methods=["GET"])
async def route(request: Request) -> Response:
    raise made(request.query_params.get("kind", "SystemExit"))


@mcp.custom_route("/mcp/fine", methods=["GET"])
async def fine(_: Request) -> Response:
    return PlainTextResponse("fine")


class Endless(Response):
    """Says something, or listens, for three seconds and with no pause, whoever is still there."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._piece = {"byte": b"x", "nothing": b""}.get(kind)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        end = time.monotonic() + 3
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while time.monotonic() < end:
            if self._piece is None:
                await receive()
            else:
                part = {"type": "http.response.body", "body": self._piece, "more_body": True}
                await send(part)
        await send({"type": "http.response.body", "body": b""})


@mcp.custom_route("/mcp/endless", methods=["GET", "HEAD"])
async def endless(request: Request) -> Response:
    return Endless(request.query_params["kind"])


@mcp.tool
async def end_the_server() -> str:
    """Cancel all that the MCP SDK does, the task that serves included."""
    gc.unfreeze()
    for found in gc.get_objects():
        if isinstance(found, StreamableHTTPSessionManager):
            assert found._task_group  # noqa: SLF001
            found._task_group.cancel_scope.cancel()  # noqa: SLF001
    await anyio.sleep(5)
    return "never"


# For asyncio only.


@mcp.tool
async def asyncio_background(kind: str) -> str:
    async def fail() -> None:
        raise made(kind)

    background.append(asyncio.create_task(fail()))
    return "left behind"


background: list[asyncio.Task[None]] = []


@mcp.tool
async def asyncio_callback(kind: str) -> str:
    def fail() -> None:
        raise made(kind)

    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    loop.call_later(0.001, fail)
    loop.call_soon_threadsafe(fail)
    return "left behind"


@mcp.tool
async def asyncio_reader(kind: str) -> str:
    import socket

    here, there = socket.socketpair()

    def fail() -> None:
        asyncio.get_running_loop().remove_reader(here)
        here.close()
        there.close()
        raise made(kind)

    asyncio.get_running_loop().add_reader(here, fail)
    there.send(b"x")
    await asyncio.sleep(0.05)
    return "left behind"


@mcp.tool
async def asyncio_stop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "goes on"


@mcp.tool
async def asyncio_cancelled_other() -> str:
    other = asyncio.create_task(asyncio.sleep(5))
    other.cancel()
    await other
    return "never"


@mcp.tool
async def asyncio_cancels_itself() -> str:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(1)
    return "never"


@mcp.tool
async def asyncio_cancels_itself_late() -> str:
    task = asyncio.current_task()
    assert task
    task.cancel()
    return "at its end"


@mcp.tool
async def exit_in_thread() -> str:
    await anyio.to_thread.run_sync(sys.exit)
    return "never"
