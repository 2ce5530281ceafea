"""The configuration of the client's side, and all that its connections have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hypercorn.config import Config

from gatehouse.records.ends import Ends
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.turns import Crowd, LoopShare

if TYPE_CHECKING:
    import socket

    from gatehouse.downstream.places import Places
    from gatehouse.http.limits import Limits

SWEEP_SECONDS = 1.0
"""How often deadlines are checked: one task for all connections instead of a timer in each."""


class Connected(Protocol):
    """A connection, as the others see it."""

    resting: bool
    client: tuple[str, int] | None

    def has_unread(self) -> bool:
        """True if bytes have arrived that nobody has read."""

    def cut(self) -> None:
        """End everything about the connection."""

    def cut_if_late(self, now: float) -> None:
        """End the connection if its deadline is over, or its client has gone unnoticed."""


class GateConfig(Config):
    """Hypercorn's configuration, and the listeners, the limits and the register of our connections.

    `hops` fronts stand between a client and the other end of its connection.
    """

    errorlog = logger_of("hypercorn.error")

    def __init__(
        self, listeners: list[socket.socket], limits: Limits, places: Places, *, hops: int = 0
    ) -> None:
        self.listeners = listeners
        self.limits = limits
        self.places = places
        self.hops = hops
        self.connections: set[Connected] = set()
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
        for connection in self.connections:
            if connection.resting and not connection.has_unread():
                connection.cut()
