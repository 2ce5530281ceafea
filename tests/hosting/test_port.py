"""The port of a hosted server."""

from __future__ import annotations

from gatehouse.hosting import port
from gatehouse.upstream import base


def test_the_gate_closes_a_resting_connection_before_the_server_does() -> None:
    assert base.HOSTED_IDLE_SECONDS < port.IDLE_SECONDS
