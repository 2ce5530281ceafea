"""A real gate on Hypercorn and Trio, in front of a scripted upstream, both on loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from gatehouse.assembly.house import House as Parts
from gatehouse.downstream.listeners import bind
from gatehouse.downstream.serve import serve
from gatehouse.identity.verifiers import Verifiers
from gatehouse.settings.environment import Settings
from gatehouse.tokens.contents import Contents
from gatehouse.upstream.inprocess import Calls
from tests.harness import bridge
from tests.harness.certificates import authority
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gate import Gate
    from gatehouse.downstream.connections import Connections
    from gatehouse.hosting.runtimes import Direct
    from gatehouse.identity.verifiers import Verifier
    from gatehouse.policy.shared_state import SharedState
    from gatehouse.tokens.keyring import Keyring
    from gatehouse.tokens.token import Token

BEARER = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"

WAYS: dict[str, dict[str, Any]] = {
    "close": {"keep_alive": False},
    "keep-alive": {"keep_alive": True},
    "tls": {"keep_alive": True, "tls": True},
    "inprocess-trio": {"runtime": "trio"},
    "inprocess-asyncio": {"runtime": "asyncio"},
}


network_only = pytest.mark.parametrize("way", ["close", "keep-alive", "tls"], indirect=True)
"""For tests that make no sense in one process: those of connections, and of their failing."""

one_way = pytest.mark.parametrize("way", ["close"], indirect=True)
"""For tests that end before the upstream is asked."""


@dataclass
class House:
    """The gate as a client meets it, and the upstream behind it."""

    port: int
    upstream: Upstream
    gate: Gate
    connections: Connections
    stop: trio.Event
    keyring: Keyring
    door: Direct | None
    """The way to the upstream, if the two are in one process."""
    parts: Parts

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> Peer:
        return Peer(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def request(
        self,
        target: bytes = b"/mcp",
        *fields: bytes,
        method: bytes = b"GET",
        body: bytes = b"",
        token: bool = True,
    ) -> tuple[Head, bytes]:
        """One request on a connection of its own, and its whole answer."""
        peer = await self.connect()
        async with peer.stream:
            await peer.send(self.raw(target, *fields, method=method, body=body, token=token))
            head = await peer.head()
            return head, b"" if method == b"HEAD" else await peer.body(head)

    def raw(
        self,
        target: bytes = b"/mcp",
        *fields: bytes,
        method: bytes = b"GET",
        body: bytes = b"",
        token: bool = True,
    ) -> bytes:
        lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: gate.example"]
        if token:
            lines.append(BEARER.rstrip())
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, *fields]) + b"\r\n\r\n" + body

    def client(self, *, token: bool = True) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {TOKEN}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False)


@asynccontextmanager
async def open_house(
    *,
    keep_alive: float = True,
    runtime: str = "",
    tls: bool = False,
    started: trio.Event | None = None,
    background: bool = False,
    tokens: Sequence[Token] | None = None,
    shared: SharedState | None = None,
    others: Verifier | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A gate and its upstream, until the block ends. With `runtime`, the two are in one process; with
    `tls`, they speak it; with
    `tokens`, these are in force beside TOKEN, as if they stood in a tokens file. With `background`, the work
    beside the serving is done, too. `shared` is what it has in
    common with other gates. `others` knows callers beside tokens, in place of the settings' own ways in.
    """
    async with trio.open_nursery() as nursery:
        upstream = Upstream(tls=authority().server() if tls else None)
        await nursery.start(upstream.serve)
        door, calls = None, Calls("127.0.0.1:7870") if runtime else None
        if calls:
            door = await nursery.start(bridge.serve, calls, runtime, upstream)
        listeners = bind("PORT", "127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        there: dict[str, Any] = {"upstream_port": upstream.port}
        if tls:
            there = {
                "upstream_url": f"https://127.0.0.1:{upstream.port}/mcp",
                "upstream_ca": authority().file,
            }
        given = Settings(
            _env_file=None,
            port=port,
            upstream_keep_alive=keep_alive,
            mcp_app="",
            tokens_file=None if tokens is None else Path("tokens.toml"),
            **{
                "allowed_hosts": "gate.example,127.0.0.1",
                **there,
                **settings,
            },
        )
        parts = Parts(
            given,
            listeners,
            contents=Contents(tuple(tokens or ())),
            shared_token=TOKEN,
            shared_state=shared,
            upstream=calls,
            started=started,
        )
        if others is not None:
            failures = parts.identity.failures.retry_after
            parts.identity.verifiers = Verifiers([parts.keyring, others], failures)
        for task in parts.background if background else ():
            nursery.start_soon(task)
        stop = trio.Event()
        async with trio.open_nursery() as gate_nursery:
            await gate_nursery.start(
                serve, parts.gate, parts.listeners, parts.connections, stop.wait
            )
            yield House(
                port, upstream, parts.gate, parts.connections, stop, parts.keyring, door, parts
            )
            stop.set()
        nursery.cancel_scope.cancel()
