"""Fixtures for all tests, the order of the files, and one profile of Hypothesis."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from gatehouse.policy.seals import Seals
from gatehouse.policy.shared_state import SharedState
from gatehouse.records import loggers
from tests.harness.house import WAYS, House, open_house
from tests.harness.only_ci import IN_CI
from tests.harness.pipes import Pipe
from tests.harness.redis_server import SOON, RedisServer, Share, need_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

hypothesis_settings.register_profile(
    "unhurried",
    deadline=None,
    max_examples=100 if IN_CI else 50,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("unhurried")
"""The one profile: on a busy machine an example that has nothing wrong with it may take a second. CI tries twice as many."""


SLOWEST_FIRST = [
    "test_node_clients.py",
    "test_sign_in.py",
    "test_strangers.py",
    "test_dashboard.py",
    "test_run.py",
    "test_the_end.py",
    "test_busy_threads.py",
    "test_doctor.py",
    "test_asyncio_idioms.py",
    "test_named_tokens.py",
    "test_hypercorn.py",
    "test_life.py",
    "test_session_bounds.py",
    "test_forks.py",
    "test_upset_process.py",
    "test_token_commands.py",
    "test_python_clients.py",
    "test_callers.py",
    "test_unruly_upstream.py",
    "test_raising_tools.py",
    "test_log_reader.py",
    "test_serving.py",
    "test_framing.py",
    "test_upstream_failures.py",
    "test_kept_connections.py",
    "test_inprocess.py",
    "test_permits.py",
    "test_slow_clients.py",
    "test_house.py",
    "test_reader.py",
    "test_events.py",
    "test_tool_lock.py",
]
"""The files that take longest begin first, so that no worker has one left when all others are done."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let `caplog`, and the report of a test that fails, have the gate's lines, too."""
    plugin = session.config.pluginmanager.get_plugin("logging-plugin")
    assert plugin is not None
    loggers.root.handlers = [plugin.caplog_handler, plugin.report_handler]
    # No client here speaks TLS, and each of some thousand clients would compute for 25 ms to be ready for it.
    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", lambda **_: ready)


SOCKETS = {"promises", "clients", "containers", "load", "browser"}
"""The folders of tests that may open internet sockets."""


@pytest.fixture(autouse=True)
def _inner_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail each test outside these folders that opens one."""
    if request.path.relative_to(request.config.rootpath / "tests").parts[0] in SOCKETS:
        return

    make = socket.socket.__init__

    def opened(
        self: socket.socket,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - the names of the parameters it has
        proto: int = 0,
        fileno: int | None = None,
    ) -> None:
        if fileno is None and family != socket.AF_UNIX:
            pytest.fail("a test without sockets opens one: its place is tests/promises")
        make(self, family, type, proto, fileno)

    monkeypatch.setattr(socket.socket, "__init__", opened)


@pytest.fixture(params=[False, True], ids=["close", "keep-alive"])
def keep_alive(request: pytest.FixtureRequest) -> bool:
    """True if connections to the upstream are used again: every test runs both ways."""
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
        made.append(SharedState(url, Seals([b"a token's digest"]), retry_seconds=retry_seconds))
        return made[-1]

    yield share
    for shared in made:
        shared.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        with suppress(OSError):  # the test may have closed it
            os.close(descriptor)
