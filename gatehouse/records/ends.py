"""Counts and logs ends below the application: requests refused unread, and connections that were ended.

The application makes a record of each request that it sees. It sees none of these, so they are counted
here, and logged within a budget: only the reason and the address, nothing that a client sent.
"""

from __future__ import annotations

from collections import Counter

from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of

logger = logger_of("gate.connections")

SAYS = {
    "given-up": "all places are taken: gave up a connection from %s, for a newcomer or beyond its share",
    "turned-away": "all places are taken, and none can be given up: turned away a connection from %s",
    "head-late": "ended a connection from %s: its request's head did not come in time",
    "write-late": "ended a connection from %s: it did not take its answer in time",
    "garbled": "ended a connection from %s: the bytes behind its request are no HTTP",
    "limit-lowered": "code in this process lowered the limit of file descriptors: raised it again to %s",
    "descriptors": "no file descriptor is left to accept a connection with: %s",
}
"""The reasons for which a connection is ended, as one word for figures, each with its line."""

ONE_LINE = {"given-up", "turned-away", "limit-lowered", "descriptors"}
"""The reasons that come by thousands: each has one line a minute, which says how many."""


class Ends:
    """Counts the ends for the page of figures, and writes their lines."""

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()
        """Requests that were answered unread, by the reason."""
        self.connections: Counter[str] = Counter()
        """Connections that were ended, by the reason."""
        self._log = LogBudget(logger)

    def refused(self, status: int, reason: str, client: str) -> None:
        """A request from that address got this answer, unread."""
        self.refusals[reason] += 1
        self._log.warning(
            f"refused ({status})", "refused a request from %s: %s (%d)", client, reason, status
        )

    def ended(self, reason: str, client: str) -> None:
        """A connection from that address was ended for that reason, one of SAYS."""
        self.connections[reason] += 1
        words = f"{SAYS[reason]} ({reason})"
        if reason in ONE_LINE:
            self._log.warning(reason, words, client, lines=1)
        else:
            self._log.warning(reason, words, client)

    def tell(self, *, at_once: bool = False) -> None:
        """Log how many more there were; to be called now and then."""
        self._log.tell(at_once=at_once)
