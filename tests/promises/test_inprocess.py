"""The hosted server called directly: its app gets what ASGI promises, and can break no promise of ours.

A client's view of it is in `test_wire.py` and `test_streaming.py`, which run on every way to the upstream.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.upstream.handover import MAX_HELD_PIECES
from tests.harness.house import House, open_house
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.upstream.inprocess import App

MIB = 1024 * 1024
START = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.fixture(params=["trio", "asyncio"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def calling(app: App | None, runtime: str, **settings: Any) -> AsyncIterator[House]:
    """A gate that calls `app`."""
    async with open_house(runtime=runtime, **settings) as house:
        house.gate.upstream.app = app  # type: ignore[attr-defined]
        yield house


def part(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_the_app_gets_the_scope_that_asgi_promises_without_the_token(runtime: str) -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send(START)
        await send(part(b"{}"))

    async with calling(app, runtime) as house:
        target = b"/mcp/a%20b?c=%2F&key=" + TOKEN.encode()
        head, body = await house.request(target, b"X-Case: Kept", method=b"DELETE")
        assert (head.status, body) == (200, b"{}")
        assert (head.get(b"Date") or b"").endswith(b"GMT")
    (scope,) = scopes
    assert (scope["type"], scope["method"], scope["http_version"]) == ("http", "DELETE", "1.1")
    assert (scope["path"], scope["raw_path"]) == ("/mcp/a b", b"/mcp/a%20b")
    assert scope["query_string"] == b"c=%2F"
    assert scope["client"][0] == "127.0.0.1"
    assert (b"x-case", b"Kept") in scope["headers"]
    assert all(name == name.lower() for name, _ in scope["headers"])
    assert TOKEN not in repr(scope)


async def test_a_client_that_leaves_is_a_disconnect_and_the_app_may_go_on(
    caplog: pytest.LogCaptureFixture, runtime: str
) -> None:
    asked, over = trio.Event(), trio.Event()
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        while (message := await receive())["type"] == "http.request":
            heard.append(f"more {message['more_body']}")
        heard.append(message["type"])
        await send(START)
        for _ in range(3):
            await send(part(b"into nothing", more=True))
        over.set()

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw(method=b"POST", body=b"{}"))
        await asked.wait()
        await peer.reset()
        with trio.fail_after(2):
            await over.wait()
    assert heard == ["more True", "more False", "http.disconnect"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_upload_that_is_cut_never_looks_complete_to_the_app(runtime: str) -> None:
    began, over = trio.Event(), trio.Event()
    heard: list[tuple[str, bool]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            heard.append((message["body"].decode(), message["more_body"]))
            began.set()
        over.set()

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw(b"/mcp", b"Content-Length: 10", method=b"POST") + b"half ")
        await began.wait()
        await peer.reset()
        with trio.fail_after(2):
            await over.wait()
    assert heard == [("half ", True)]


@pytest.mark.parametrize(
    "messages",
    [[], [part(b"a body without a head")], [START, START]],
    ids=["none", "order", "twice"],
)
async def test_an_app_that_fails_is_a_502_or_a_cut_answer_and_ends_nothing_else(
    runtime: str, messages: list[dict[str, Any]]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            for message in messages:
                await send(message)
            raise KeyError(TOKEN)
        await send(START)
        await send(part(b"fine"))

    async with calling(app, runtime) as house:
        if START in messages:
            with pytest.raises(EOFError):
                await house.request(method=b"POST", body=b"{}")
        else:
            head, body = await house.request(method=b"POST", body=b"{}")
            assert head.status == 502
            assert TOKEN.encode() not in body
        assert (await house.request())[1] == b"fine"


async def test_an_answer_that_the_app_breaks_off_is_cut(runtime: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(part(b"some of it", more=True))

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        assert await peer.chunk() == b"some of it"
        with pytest.raises(EOFError):
            await peer.chunk()
        assert head.status == 200
        await peer.reset()


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_a_body_where_none_may_be_is_dropped(
    runtime: str, method: bytes, status: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "status": status})
        await send(part(b"x" * MIB, more=True))
        await send(part(b"x" * MIB))

    async with calling(app, runtime) as house:
        peer = await house.connect()
        for _ in range(2):
            await peer.send(house.raw(method=method))
            assert (await peer.head()).status == status
        await peer.reset()


async def test_a_client_that_does_not_read_stops_the_app(runtime: str) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        for _ in range(256):
            await send(part(bytes(MIB), more=True))
            sent += 1
        await send(part(b""))

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        await trio.sleep(0.5)
        assert sent < 32  # what the kernel's buffers hold, and the one chunk on its way
        assert len(await peer.body(head)) == 256 * MIB
        await peer.reset()


async def test_single_bytes_are_joined_and_never_keep_the_word(runtime: str) -> None:
    turns, over = 0, trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for _ in range(20 * MAX_HELD_PIECES):
            await send(part(b"x", more=True))
        await send(part(b""))
        over.set()

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw())
        head = await peer.head()
        while not over.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()
        assert turns >= 15
        assert await peer.body(head) == b"x" * 20 * MAX_HELD_PIECES
        await peer.reset()


async def test_an_app_that_does_not_read_stops_the_client(runtime: str) -> None:
    go_on, received = trio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        while not go_on.is_set():
            await pause(0.01)
        while (message := await receive())["more_body"]:
            received += len(message["body"])
        await send(START)
        await send(part(b""))

    async def pause(seconds: float) -> None:
        import anyio

        await anyio.sleep(seconds)

    size = 64 * MIB
    async with calling(app, runtime, max_body_bytes=size) as house:
        peer = await house.connect()
        length = b"Content-Length: %d" % size
        await peer.send(house.raw(b"/mcp", length, method=b"POST"))
        with trio.move_on_after(0.5) as early:
            await peer.stream.send_all(bytes(size))
        assert early.cancelled_caught
        await peer.reset()
        go_on.set()
        with trio.fail_after(2):
            while not received:
                await trio.sleep(0.01)
        assert received < size


async def test_while_there_is_no_app_the_upstream_counts_as_unreachable(runtime: str) -> None:
    async with calling(None, runtime) as house:
        assert (await house.request(b"/ready"))[0].status == 503
        head, body = await house.request(method=b"POST", body=b"{}")
        assert head.status == 502
        assert b"has stopped answering" in body


async def test_stopping_cancels_what_the_app_still_does(runtime: str) -> None:
    asked, ended = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import anyio

        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with calling(app, runtime) as house:
        peer = await house.connect()
        await peer.send(house.raw())
        await asked.wait()
        assert house.door is not None
        house.door.stop()
        with trio.fail_after(2):
            await ended.wait()
            assert (await peer.head()).status == 502
        await peer.reset()
