"""The pages for probes: is the gate alive, is the server behind it ready."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from gatehouse.http.reply import Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.downstream.in_flight import InFlight
    from gatehouse.upstream.base import Upstream


Status = Literal["ready", "starting", "unreachable", "stopping"]
"""Whether the gate takes calls. "unreachable": it has reached the server before, and now does not."""


class State(NamedTuple):
    """Whether the gate takes calls, and since when."""

    status: Status
    since: float | None = None
    """For "ready" and "unreachable": the Unix time from which on that is so, as far as the gate knows. Else None."""


ALIVE = json_reply(200, {"status": "ok"})


def ready(stalls: Mapping[str, float]) -> Reply:
    """The reply while the server takes calls; `stalls` tells how often everybody had to wait for a tool."""
    return json_reply(200, {"status": "ready", "stalls": stalls} if stalls else {"status": "ready"})


@cache
def not_ready(status: Status) -> Reply:
    """The reply while it takes none."""
    return json_reply(503, {"status": status}, (b"Retry-After", b"2"))


async def alive(exchange: Exchange) -> Reply:
    """The page for liveness: whoever can answer is alive."""
    return ALIVE


class Readiness:
    """The page for readiness. `stalls` tells how often everybody had to wait for a tool."""

    def __init__(
        self, upstream: Upstream, in_flight: InFlight, stalls: Callable[[], Mapping[str, float]]
    ) -> None:
        self._upstream = upstream
        self._in_flight = in_flight
        self._stalls = stalls

    async def state(self) -> State:
        """Whether calls are taken now, and since when."""
        if self._in_flight.draining:
            return State("stopping")
        reachable, reached = await self._upstream.is_reachable(), self._upstream.reached
        if reachable:
            return State("ready", reached.since)
        return State("unreachable", reached.since) if reached.ever else State("starting")

    async def __call__(self, exchange: Exchange) -> Reply:
        status = (await self.state()).status
        return ready(self._stalls()) if status == "ready" else not_ready(status)
