"""The servers under measurement that are Python: the gate, its floor, and FastMCP by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gatehouse.settings.environment import Settings
from tests.harness.program import ROOT, TOKEN, free_port
from tests.load.processes import NotThereError, in_python

if TYPE_CHECKING:
    from tests.load.processes import Server, Stage


HOSTED = ("FASTMCP_STATELESS_HTTP", "SQLITE_PATH")
"""Settings of the servers that the gate hosts, not its own."""


def gate(stage: Stage, **settings: str) -> Server:
    """The whole program, `run.py`, with these settings; the server that it hosts, if any, is up."""
    server = launch_gate(stage, **settings)
    server.wait("/ready" if settings.get("MCP_APP", "FoodWise") else "/health")
    return server


def launch_gate(stage: Stage, **settings: str) -> Server:
    """The same, not waited for. NotThereError if it has no such setting, which it would ignore."""
    for name in settings:
        if name not in HOSTED and name.lower() not in Settings.model_fields:
            raise NotThereError(f"no setting {name}")
    port = free_port()
    ports = {"PORT": str(port), "UPSTREAM_PORT": str(free_port())}
    environment = {"MCP_AUTH_TOKEN": TOKEN, **ports, **settings}
    return stage.start([sys.executable, str(ROOT / "run.py")], port, **environment)


def gate_before(stage: Stage, upstream_port: int, **settings: str) -> Server:
    """The gate before a server that runs elsewhere, at a port of this machine."""
    return gate(stage, MCP_APP="", UPSTREAM_PORT=str(upstream_port), **settings)


def null_upstream(stage: Stage) -> Server:
    """The upstream that costs next to nothing."""
    return in_module(stage, "tests.load.null_upstream")


def floor(stage: Stage) -> Server:
    """A bare application on stock Hypercorn."""
    return in_module(stage, "tests.load.floor")


def ungated(stage: Stage, *arguments: str, **environment: str) -> Server:
    """The small server in FastMCP's own server."""
    return in_module(stage, "tests.load.small_server", *arguments, **environment)


def in_module(stage: Stage, module: str, *arguments: str, **environment: str) -> Server:
    """A module that serves at the port it is told first."""
    port = free_port()
    server = stage.start(in_python(module, port, *arguments), port, **environment)
    server.wait()
    return server
