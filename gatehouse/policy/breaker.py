"""Decides whether the store that several gates share is worth asking, and logs when it goes and comes back."""

from __future__ import annotations

import math
import threading
import time

from gatehouse.records.loggers import logger_of

logger = logger_of("gate.shared")

SETTLING_RETRIES = 2
"""How many times the time between two tries passes, after the server is back or has lost its keys, until all gates have
told it the missing keys. Each notices within one such time, and a `LOOKS_PER_RETRY`-th part of one."""


class Breaker:
    """Decides whether the server is worth asking. Any thread may call its methods.

    A ticket is the number of failures known when it was given out, so the result of a call counts
    only if no other call has failed since.
    """

    def __init__(self, address: str, retry_seconds: float) -> None:
        self._address = address
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None  # by time.monotonic(); None while the server answers
        self._settled_at = -math.inf

    def admit(self, *, again: bool = False) -> int | None:
        """A ticket for one call, or None: after a failure, only one call `again` every `retry_seconds`."""
        with self._lock:
            if self._retry_at is not None:
                now = time.monotonic()
                if not again or now < self._retry_at:
                    return None
                self._retry_at = now + self._retry_seconds
            return self._failures

    @property
    def away(self) -> bool:
        """True if the last call that counts failed."""
        return self._retry_at is not None

    @property
    def settling(self) -> bool:
        """True while other gates may still have to tell the server its missing keys."""
        return time.monotonic() < self._settled_at

    def settle(self) -> None:
        """From now on, give the other gates time for that."""
        self._settled_at = time.monotonic() + SETTLING_RETRIES * self._retry_seconds

    def valid(self, ticket: int) -> bool:
        """True if no call has failed since the ticket was given out."""
        return ticket == self._failures

    def failed(self, ticket: int, why: str) -> None:
        """The call got no answer. `why` goes into the log, and holds nothing secret."""
        with self._lock:
            if not self.valid(ticket):
                return
            news = self._retry_at is None
            self._failures += 1
            self._retry_at = time.monotonic() + self._retry_seconds
        if news:
            logger.warning(
                "shared state at %s is unavailable (%s); until it is back, each gate goes by what it knows itself",
                self._address,
                why,
            )

    def succeeded(self, ticket: int) -> None:
        """The call got an answer."""
        with self._lock:
            news = self.valid(ticket) and self._retry_at is not None
            if news:
                self._retry_at = None
                self.settle()
        if news:
            logger.info("shared state at %s is back", self._address)
