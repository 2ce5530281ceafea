"""The page of figures comes whatever the server behind the gate does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from gatehouse.pages.figures import MAX_LOOK_SECONDS, Figures
from gatehouse.records.metrics import Metrics

if TYPE_CHECKING:
    from trio.testing import MockClock


async def lets_in(_: object) -> None:
    """Know every credential."""


async def test_a_server_that_hangs_does_not_keep_the_page(autojump_clock: MockClock) -> None:
    metrics = Metrics(in_flight=int, open_streams=int, connections=int)
    metrics.upstream_up = True
    upstream = SimpleNamespace(is_reachable=trio.sleep_forever)
    page = Figures(metrics, cast("Any", None), cast("Any", upstream))
    began = trio.current_time()
    reply = await page(cast("Any", SimpleNamespace(identify=lets_in)))
    assert trio.current_time() - began == pytest.approx(MAX_LOOK_SECONDS)
    assert b"mcp_gate_upstream_up 0.0" in reply.body
