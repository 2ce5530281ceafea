"""Doubts about a server that runs elsewhere are told once, and only until it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.records.doubts import Doubts
from tests.harness.records import ANSWERED

if TYPE_CHECKING:
    import pytest


def test_a_server_that_refuses_calls_from_the_first_on_is_told_once_with_its_likely_faults(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doubts = Doubts("mcp.example")
    doubts(ANSWERED._replace(status=404, rpc_method="server/discover"))
    for status in (404, 404, 405, 401, 401):
        doubts(ANSWERED._replace(status=status))
    lines = [entry.getMessage() for entry in caplog.records]
    assert len(lines) == 3
    assert "mcp.example answers calls with 404: is its MCP endpoint elsewhere" in lines[0]
    assert "old HTTP+SSE transport (/sse) only" in lines[1]
    assert "UPSTREAM_AUTHORIZATION" in lines[2]


def test_a_server_that_works_is_doubted_only_if_it_no_longer_knows_the_gate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doubts = Doubts("mcp.example")
    doubts(ANSWERED)
    for status in (404, 405, 403):
        doubts(ANSWERED._replace(status=status))
    doubts(ANSWERED._replace(status=401, outcome="refused", reason="token"))
    doubts(ANSWERED._replace(status=405, method="GET"))
    assert not caplog.records
    doubts(ANSWERED._replace(status=401))
    doubts(ANSWERED)
    doubts(ANSWERED._replace(status=401))
    assert len(caplog.records) == 2
