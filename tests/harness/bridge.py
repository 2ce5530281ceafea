"""An ASGI app that asks the scripted upstream, so that one script tests both ways to an upstream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import h11
import trio

from gatehouse.hosting.loops import aio_as_trio, open_loop
from gatehouse.hosting.runtimes import Direct

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from gatehouse.upstream.inprocess import Calls
    from tests.harness.wire import Upstream


async def serve(
    calls: Calls,
    runtime: str,
    upstream: Upstream,
    task_status: trio.TaskStatus[Direct] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Let `calls` reach the upstream, as they would reach a hosted server on that runtime, until cancelled; starts with the door."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with await anyio.connect_tcp("127.0.0.1", upstream.port) as stream:
            await carry(stream, scope, receive, send)

    door = Direct(calls)
    started = partial(task_status.started, door)
    if runtime == "asyncio":
        async with open_loop():
            await aio_as_trio(door.serve)(app, started)
    else:
        await door.serve(app, started)


async def carry(stream: ByteStream, scope: Any, receive: Any, send: Any) -> None:
    """One exchange. A client that leaves, and an upstream that breaks off, are handed on as such."""
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    lines = [b"%s %s HTTP/1.1" % (scope["method"].encode(), target)]
    lines += [b": ".join(pair) for pair in scope["headers"]]
    await stream.send(b"\r\n".join(lines) + b"\r\n\r\n")
    async with anyio.create_task_group() as group:
        group.start_soon(feed, stream, receive, chunked, group.cancel_scope)
        await relay(stream, scope["method"], send)
        group.cancel_scope.cancel()


async def feed(stream: ByteStream, receive: Any, chunked: bool, scope: anyio.CancelScope) -> None:
    """Send the body as it comes; end the exchange when the client has left."""
    while (message := await receive())["type"] == "http.request":
        body = message["body"]
        await stream.send(b"%x\r\n%b\r\n" % (len(body), body) if chunked and body else body)
        if chunked and not message["more_body"]:
            await stream.send(b"0\r\n\r\n")
    scope.cancel()


async def relay(stream: ByteStream, method: str, send: Any) -> None:
    """Hand on the answer as it comes. Raises what the upstream did wrong."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "upstream")]))
    http.send(h11.EndOfMessage())
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                http.receive_data(await stream.receive())
            except anyio.EndOfStream:
                http.receive_data(b"")
        elif isinstance(event, h11.Response):
            headers = event.headers.raw_items()
            start = {"type": "http.response.start", "status": event.status_code, "headers": headers}
            await send(start)
        elif isinstance(event, h11.Data):
            body = bytes(event.data)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        elif isinstance(event, h11.EndOfMessage):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
