"""All connections with clients, and what they have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import trio

from gatehouse.records.ends import Ends
from gatehouse.scheduling.turns import SLICE_SECONDS, Crowd, LoopShare

if TYPE_CHECKING:
    from gatehouse.downstream.places import Places
    from gatehouse.http.limits import Limits

SWEEP_SECONDS = 1.0
"""How often deadlines are checked: one task for all connections instead of a timer in each."""


class Open(Protocol):
    """An open connection, as the others see it."""

    resting: bool
    client: tuple[str, int] | None

    def has_unread(self) -> bool:
        """True if bytes have arrived that nobody has read."""

    def cut(self) -> None:
        """End everything about the connection."""

    def cut_if_late(self, now: float) -> None:
        """End the connection if its deadline is over, or its client has gone unnoticed."""


class Connections:
    """The register of connections, their limits, their places, and their turns on the loop.

    `hops` fronts stand between a client and the other end of its connection.
    """

    def __init__(self, limits: Limits, places: Places, *, hops: int = 0) -> None:
        self.limits = limits
        self.places = places
        self.hops = hops
        self.open: set[Open] = set()
        self.share = LoopShare()
        self.crowd = Crowd()
        self.turned_away = 0
        """How many connections over the limit are getting their 503."""
        self.failures = 0
        """How many connections an unforeseen error has ended."""
        self.ends = Ends()
        self.closing = False
        """True if each connection must end with the answer under way."""

    def close_resting(self) -> None:
        """From now on, each connection ends with its answer; those that rest end at once.

        Clients then go elsewhere, if there are several gates. A request that has arrived is still answered;
        a connection that is just opened stays, since it is about to bring one.
        """
        self.closing = True
        for connection in self.open:
            if connection.resting and not connection.has_unread():
                connection.cut()

    async def sweep(self) -> None:
        """Cut the connections whose deadline is over, or whose client has gone unnoticed. Never returns."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            self.ends.tell()
            began = time.perf_counter()
            for connection in tuple(self.open):
                if time.perf_counter() - began > SLICE_SECONDS:
                    # The tasks of those cut end before the next are cut.
                    await trio.lowlevel.checkpoint()
                    began = time.perf_counter()
                connection.cut_if_late(now)
