"""A real gate on Hypercorn and Trio, in front of a scripted upstream, both on loopback."""

from __future__ import annotations

import logging
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from gate import Gate
from gatehouse.downstream.listeners import bind
from gatehouse.downstream.serve import GateConfig, serve
from gatehouse.policy.sessions import Sessions
from gatehouse.policy.shared_state import SharedState
from gatehouse.policy.throttles import Limits
from gatehouse.records import loggers
from gatehouse.settings import Settings
from gatehouse.tokens.keyring import Keyring
from gatehouse.upstream.inprocess import AsyncioCalls, Calls, TrioCalls
from run import hypercorn_config, permits_for
from tests.harness import bridge
from tests.harness.program import TOKEN
from tests.harness.redis_server import RedisServer, need_redis
from tests.harness.wire import Head, Peer, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from gatehouse.tokens.reader import Token

    Share = Callable[..., SharedState]

BEARER = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"


CALLS: dict[str, type[Calls]] = {"trio": TrioCalls, "asyncio": AsyncioCalls}

WAYS: dict[str, dict[str, Any]] = {
    "close": {"keep_alive": False},
    "keep-alive": {"keep_alive": True},
    "inprocess-trio": {"runtime": "trio"},
    "inprocess-asyncio": {"runtime": "asyncio"},
}


hypothesis_settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("unhurried")
"""On a busy machine an example may take a second that has nothing wrong with it."""

network_only = pytest.mark.parametrize("way", ["close", "keep-alive"], indirect=True)
"""For what makes no sense in one process: connections, and their failing."""

one_way = pytest.mark.parametrize("way", ["close"], indirect=True)
"""For what ends before the upstream comes into it."""


LONGEST = [
    "test_node_clients.py",
    "test_deploy.py",
    "test_run.py",
    "test_named_tokens.py",
    "test_life.py",
    "test_contained_end.py",
    "test_contained_callers.py",
    "test_contained_upstream.py",
    "test_contained_tools.py",
    "test_serving.py",
    "test_python_clients.py",
    "test_framing.py",
    "test_upstream_failures.py",
    "test_permits.py",
    "test_log_reader.py",
    "test_slow_clients.py",
    "test_contained_threads.py",
    "test_events.py",
    "test_tool_lock.py",
    "test_load_tool.py",
]
"""The files that take longest begin first, so that no worker has one left when all others are done."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let `caplog`, and the report of a test that fails, have the gate's lines, too."""
    plugin = session.config.pluginmanager.get_plugin("logging-plugin")
    assert plugin is not None
    loggers.root.handlers = [plugin.caplog_handler, plugin.report_handler]
    # Nothing here speaks TLS, and each of some thousand clients would compute for 25 ms to be ready for it.
    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", lambda **_: ready)


@dataclass
class House:
    """The gate as a client meets it, and the upstream behind it."""

    port: int
    upstream: Upstream
    gate: Gate
    config: GateConfig
    stop: trio.Event
    keyring: Keyring

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
    keep_alive: bool = True,
    runtime: str = "",
    started: trio.Event | None = None,
    tokens: Sequence[Token] | None = None,
    shared: SharedState | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A gate and its upstream, until the block ends. With `runtime`, the two are in one process; with
    `tokens`, these are in force beside TOKEN, as if they stood in a tokens file. `shared` is what it has in
    common with other gates.
    """
    async with trio.open_nursery() as nursery:
        upstream = Upstream()
        await nursery.start(upstream.serve)
        calls = CALLS[runtime]("127.0.0.1:7870") if runtime else None
        if calls:
            await nursery.start(bridge.serve, calls, upstream)
        listeners = bind("PORT", "127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        given = Settings(
            _env_file=None,
            port=port,
            upstream_port=upstream.port,
            upstream_keep_alive=keep_alive,
            mcp_app="",
            tokens_file=None if tokens is None else Path("tokens.toml"),
            **{"allowed_hosts": "gate.example,127.0.0.1", **settings},
        )
        keyring = Keyring(tokens or (), shared=TOKEN, query_keys=given.allow_query_key)
        permits = permits_for(given, Limits(shared), None if tokens is None else Sessions(shared))
        gate = Gate(given, keyring, permits=permits, calls=calls, started=started)
        config = hypercorn_config(given, listeners)
        stop = trio.Event()
        async with trio.open_nursery() as gate_nursery:
            await gate_nursery.start(partial(serve, gate, config, shutdown_trigger=stop.wait))
            yield House(port, upstream, gate, config, stop, keyring)
            stop.set()
        nursery.cancel_scope.cancel()


@pytest.fixture(params=[False, True], ids=["close", "keep-alive"])
def keep_alive(request: pytest.FixtureRequest) -> bool:
    """Whether connections to the upstream are used again: every test runs both ways."""
    return bool(request.param)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The way to the upstream: every test runs on all of them."""
    return WAYS[request.param]


@pytest.fixture
async def house(way: dict[str, Any]) -> AsyncIterator[House]:
    async with open_house(**way) as house:
        yield house


@pytest.fixture
def access_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every line of every library, from the lowest level on."""
    caplog.set_level(logging.DEBUG)
    return caplog


SOON = 0.15
"""After how many seconds the tests' gates ask a Redis again that was away."""


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis to break."""
    need_redis()
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def share() -> Iterator[Share]:
    """Makes the shared state of one more gate."""
    made: list[SharedState] = []

    def share(url: str, retry_seconds: float = SOON) -> SharedState:
        made.append(SharedState(url, retry_seconds=retry_seconds))
        return made[-1]

    yield share
    for shared in made:
        shared.close()
