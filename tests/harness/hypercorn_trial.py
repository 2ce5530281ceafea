"""A program for `test_hypercorn.py`: how does the gate serve with each of these copies of Hypercorn?

It forks for each copy, so that everything that stays the same is imported once.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h2.connection  # noqa: F401 - these four: what Hypercorn imports
import h11  # noqa: F401
import priority  # noqa: F401
import trio
import wsproto  # noqa: F401

if TYPE_CHECKING:
    from gatehouse.downstream.serve import GateConfig

ROOT = Path(__file__).resolve().parent.parent.parent
HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    fields = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 299, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def configured() -> GateConfig:
    from gatehouse.downstream.places import Places
    from gatehouse.downstream.serve import GateConfig

    config = GateConfig()
    config.bind, config.backlog, config.errorlog = ["127.0.0.1:0"], 9, None
    config.places, config.hops = Places(9, by_name=False), 0
    config.max_target, config.max_lines, config.graceful_timeout = 999, 99, 1.0
    config.header_timeout = config.write_timeout = config.keep_alive_timeout = 9
    return config


async def trial() -> str:
    from gatehouse.downstream.serve import serve

    stop = trio.Event()
    heard: list[bytes] = []
    started = False
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                serving = partial(serve, app, configured(), shutdown_trigger=stop.wait)
                (url,) = await nursery.start(serving)
                started = True
                for sent in (HTTP, PREFACE):
                    heard += [await said(int(url.rpartition(":")[2]), sent)]
                stop.set()
    except Exception:
        if not started:
            raise
        return f"fails while it serves, after {heard}"
    answers = [answer.split(b" ")[:2] for answer in heard]
    good = answers[0] == [b"HTTP/1.1", b"299"] and answers[1][0] == b"HTTP/1.1"
    return "serves as before" if good else f"serves {heard}"


async def said(port: int, data: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        return bytes(await stream.receive_some(1000))


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
