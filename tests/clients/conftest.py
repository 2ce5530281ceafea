"""The whole program for real clients to meet, and the Node clients themselves.

Two programs run for the whole session. `program` hosts the probe server. `sealed` has an upstream that
nobody may ever connect to: it is for the clients that are to be refused. When the session is over, both
must have kept their token to themselves, and stop as they should.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.clients.node import node_programs
from tests.clients.programs import Sealed, discreet
from tests.clients.stdio import NodePrograms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.program import Program


@pytest.fixture(scope="session")
def upstream_mode() -> str:
    """How the gate reaches the probe server: UPSTREAM_MODE."""
    return "network"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, upstream_mode: str) -> Iterator[Program]:
    """The program in front of the probe server, with TOKEN."""
    folder = tmp_path_factory.mktemp("program")
    with discreet(folder, MCP_APP="probe_server:mcp", UPSTREAM_MODE=upstream_mode) as program:
        program.wait_for("/ready")
        yield program


@pytest.fixture(scope="session")
def sealed_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.setblocking(False)
        port = str(upstream.getsockname()[1])
        folder = tmp_path_factory.mktemp("sealed")
        with discreet(folder, MCP_APP="", UPSTREAM_PORT=port, LOG_LEVEL="debug") as program:
            program.wait_for_log("ready after")
            upstream.accept()[0].close()  # the gate's one look at it, at the start
            yield Sealed(program, upstream)


@pytest.fixture
def sealed(sealed_program: Sealed) -> Sealed:
    """The sealed program, with its log marked for one test."""
    sealed_program.begin()
    return sealed_program


@pytest.fixture(scope="session")
def node_folder() -> Path:
    """The Node clients, ready to run."""
    return node_programs()


@pytest.fixture
def node(node_folder: Path, tmp_path: Path) -> Iterator[NodePrograms]:
    """The Node clients with a home of their own, where opening a browser fails the test."""
    programs = NodePrograms(node_folder, tmp_path)
    yield programs
    assert not programs.opened_in_browser.exists(), programs.opened_in_browser.read_text()
