"""The pages for probes: is the gate alive, is the server behind it ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.downstream.in_flight import InFlight
    from gatehouse.http.refusals import Reply, Status
    from gatehouse.upstream.base import Upstream


async def alive(exchange: Exchange) -> Reply:
    """The page for liveness: whoever can answer is alive."""
    return refusals.ALIVE


class Readiness:
    """The page for readiness. `stalls` tells how often everybody had to wait for a tool."""

    def __init__(
        self, upstream: Upstream, in_flight: InFlight, stalls: Callable[[], Mapping[str, float]]
    ) -> None:
        self._upstream = upstream
        self._in_flight = in_flight
        self._stalls = stalls

    async def status(self) -> Status:
        """Whether calls are taken now."""
        if self._in_flight.draining:
            return "stopping"
        if await self._upstream.is_reachable():
            return "ready"
        return "unreachable" if self._upstream.was_reached else "starting"

    async def __call__(self, exchange: Exchange) -> Reply:
        status = await self.status()
        return refusals.ready(self._stalls()) if status == "ready" else refusals.not_ready(status)
