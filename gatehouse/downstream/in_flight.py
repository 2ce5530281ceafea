"""The exchanges with the upstream that are not over: watched, counted, revoked and drained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.identity.principal import Principal

WATCH_SECONDS = 0.025
"""An exchange that runs longer than this gets a watcher, at most twice as late. Most end sooner, and the
task would add a fifth to their cost."""

LOOK_SECONDS = 1.0
"""How often exchanges in flight are checked for revoked and expired credentials, and for silent upstreams."""


REVOKED_GRACE_SECONDS = 2.5
"""How long an exchange whose credential is no longer good may take to reach a border between two events: with the
time until that is noticed, less than 5 s."""


class InFlight:
    """The exchanges in flight. `in_force` tells whether a principal's credential is still good."""

    def __init__(
        self, in_force: Callable[[Principal], bool], *, upstream: str, grace_seconds: float
    ) -> None:
        self.draining = False
        """True once no new requests are taken."""
        self._in_force = in_force
        self._upstream = upstream
        self._grace_seconds = grace_seconds
        self._exchanges: set[Exchange] = set()
        self._ended: set[Exchange] = set()  # though the credential may still be good
        self._unwatched: dict[Exchange, None] = {}  # the oldest first
        self._some_unwatched = trio.Event()
        self._drained = trio.Event()

    def __len__(self) -> int:
        """How many requests are being carried."""
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(tuple(self._exchanges))

    def __str__(self) -> str:
        """How many, in words."""
        streams = self.open_streams
        told = f" (event streams: {streams})" if streams else ""
        return f"requests in flight: {len(self)}{told}"

    @property
    def open_streams(self) -> int:
        """How many of them are being answered with an event stream."""
        return sum(exchange.carries_events for exchange in self._exchanges)

    def add(self, exchange: Exchange) -> None:
        """From now on, the exchange is in flight."""
        self._exchanges.add(exchange)
        self._unwatched[exchange] = None
        self._some_unwatched.set()

    async def remove(self, exchange: Exchange) -> None:
        """The exchange, if it was in flight, is over."""
        if exchange not in self._exchanges:
            return
        self._exchanges.discard(exchange)
        self._ended.discard(exchange)
        self._unwatched.pop(exchange, None)
        await exchange.end_watcher()
        if self.draining and not self._exchanges:
            self._drained.set()

    async def keep(self) -> None:
        """Watch over the exchanges, for ever."""
        async with trio.open_nursery() as watchers:
            watchers.start_soon(self.end_overdue)
            await self._start_watchers(watchers)

    async def end_overdue(self) -> None:
        """End every exchange whose credential was revoked or has expired, and every one whose upstream has been
        silent for too long in the middle of its answer.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            for exchange in self._exchanges:
                if self._is_over(exchange):
                    self._revoke(exchange)
                if limit := exchange.end_silence():
                    exchange.complain(
                        self._upstream, "fell silent for %g s in the middle of its answer", limit
                    )

    def end_all(self, principal: str) -> int:
        """End all exchanges of the principal with that id, calls in progress, too; returns how many there are.

        Event streams end at the next border between two events, or are cut after the grace, which the opening of a
        session has, too. All others are cut now.
        """
        found = [each for each in self._exchanges if each.id == principal]
        for exchange in found:
            self._ended.add(exchange)
            exchange.revoked_at = min(exchange.revoked_at, trio.current_time())
            self._revoke(exchange)
            if not exchange.carries_events and not exchange.must_see_head:
                self._cut(exchange)
        return len(found)

    def has_ended(self, exchange: Exchange) -> bool:
        """True if `end_all` ends the exchange, though its credential may still be good."""
        return exchange in self._ended

    def _is_over(self, exchange: Exchange) -> bool:
        """True if somebody has ended the exchange, or its credential is no longer good."""
        if self.has_ended(exchange):
            return True
        return exchange.principal is not None and not self._in_force(exchange.principal)

    def _revoke(self, exchange: Exchange) -> None:
        """End the exchange, because its credential is no longer good or somebody wants it ended: after its respite, at a
        border between two events if that comes within the grace.
        """
        now = trio.current_time()
        exchange.revoked_at = min(exchange.revoked_at, now + exchange.respite)
        if not exchange.revoked and now >= exchange.revoked_at:
            exchange.revoked = True
            exchange.end_events()
        elif now >= exchange.revoked_at + REVOKED_GRACE_SECONDS:
            self._cut(exchange)

    @staticmethod
    def _cut(exchange: Exchange) -> None:
        """End the exchange now, wherever it is."""
        if not exchange.over:
            exchange.outcome = "revoked"
            exchange.leaving.cancel()

    async def drain(self) -> None:
        """Take no new requests; return when those in flight are over, or after the grace.

        Streams that stand open end at once, and those that answer a call when the grace is over; both at
        a border between two events. The caller cuts all other exchanges that are left.
        """
        self.draining = True
        for exchange in self:
            if exchange.is_subscription:
                exchange.end_events()
        if self._exchanges:
            with trio.move_on_after(self._grace_seconds):
                await self._drained.wait()
        for exchange in self:
            exchange.end_events()

    async def _start_watchers(self, watchers: trio.Nursery) -> None:
        """Start a watcher for every exchange that has been in flight for WATCH_SECONDS."""
        while True:
            await self._some_unwatched.wait()
            await trio.sleep(WATCH_SECONDS)
            young = time.perf_counter() - WATCH_SECONDS
            while self._unwatched:
                exchange = next(iter(self._unwatched))
                if exchange.began > young:
                    break
                del self._unwatched[exchange]
                exchange.start_watcher(watchers)
            else:
                self._some_unwatched = trio.Event()
