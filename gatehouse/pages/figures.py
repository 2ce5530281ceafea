"""The page of figures for Prometheus, for those who have METRICS_TOKEN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gatehouse.http.reply import Reply

if TYPE_CHECKING:
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.identity.verifiers import Verifiers
    from gatehouse.records.metrics import Metrics
    from gatehouse.upstream.base import Upstream

MAX_LOOK_SECONDS = 2.0
"""How long a page waits to learn whether the server can be asked. A server that hangs would keep the page longer than
Prometheus waits for it, and with it all figures, just when they are needed."""


class Figures:
    """The page. `upstream` is asked before each, at most once a second, as for `/ready`."""

    def __init__(self, metrics: Metrics, verifiers: Verifiers, upstream: Upstream) -> None:
        self._metrics = metrics
        self._upstream = upstream
        self._verifiers = verifiers

    async def __call__(self, exchange: Exchange) -> Reply:
        if refused := await exchange.identify(self._verifiers):
            return refused
        up = False
        with trio.move_on_after(MAX_LOOK_SECONDS):
            up = await self._upstream.is_reachable()
        self._metrics.upstream_up = up
        content_type, body = self._metrics.page()
        headers = ((b"Content-Type", content_type), (b"Cache-Control", b"no-store"))
        return Reply(200, body, headers)
