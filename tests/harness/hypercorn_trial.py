"""A program for `test_hypercorn.py`: how does the gate serve with each of these copies of Hypercorn?

It forks for each copy, so that everything that stays the same is imported once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h2.connection  # noqa: F401 - these four: what Hypercorn imports
import h11  # noqa: F401
import priority  # noqa: F401
import trio
import wsproto  # noqa: F401

if TYPE_CHECKING:
    from gatehouse.downstream.connections import Connections

ROOT = Path(__file__).resolve().parent.parent.parent
HTTP = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive())["more_body"]:
        pass
    fields = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 299, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def connections() -> Connections:
    from gatehouse.downstream.connections import Connections
    from gatehouse.downstream.places import Places
    from gatehouse.http.limits import Limits

    return Connections(Limits(*[9999] * len(Limits.__annotations__)), Places(9, by_name=False))


async def trial() -> str:
    from gatehouse.downstream.listeners import bind
    from gatehouse.downstream.serve import serve

    stop = trio.Event()
    heard: list[bytes] = []
    started = False
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                all_of_them = connections()
                listeners = bind("PORT", "127.0.0.1", 0)
                port = listeners[0].getsockname()[1]
                (url,) = await nursery.start(serve, app, listeners, all_of_them, stop.wait)
                started = True
                heard += await said(port, HTTP, HTTP)
                heard += await said(port, PREFACE)
                stop.set()
    except Exception:
        if not started:
            raise
        return f"fails while it serves, after {heard}"
    answers = [answer.split(b" ")[:2] for answer in heard]
    good = answers[:2] == [[b"HTTP/1.1", b"299"]] * 2 and answers[2][0] == b"HTTP/1.1"
    good = good and url == f"http://127.0.0.1:{port}" and not all_of_them.failures
    return "serves as before" if good else f"serves {heard} at {url}"


async def said(port: int, *requests: bytes) -> list[bytes]:
    """The answers to these requests, one after the other on one connection."""
    answers = []
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for request in requests:
            await stream.send_all(request)
            answers.append(bytes(await stream.receive_some(1000)))
    return answers


def outcome_of(copy: str) -> str:
    sys.path[:0] = [copy, str(ROOT)]
    try:
        return trio.run(trial)
    except Exception:  # noqa: BLE001 - whatever it is, nothing was served
        return "does not start"


for copy in sys.argv[1:]:
    if not os.fork():
        print(f"{Path(copy).name}: {outcome_of(copy)}", flush=True)  # noqa: T201
        assert (
            "hypercorn" not in sys.modules
            or sys.modules["hypercorn"].__file__ == f"{copy}/hypercorn/__init__.py"
        )
        os._exit(0)
    os.wait()
