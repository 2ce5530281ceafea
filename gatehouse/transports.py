"""The connections to the upstream: one httpx transport for each, kept on a free list.

Not one shared httpx client, for two reasons found by experiment with httpx 0.28.1: its pool loses a
slot at each cancelled request until none is left, and its cost per request grows with every open
stream. A transport that carries one exchange at a time has neither fault. And not the client's
helpers: they would keep cookies across callers, obey proxy variables and add headers of their own.
"""

from __future__ import annotations

import ssl
import time
from collections import deque

import httpx
import trio

IDLE_SECONDS = 60.0
"""How long a kept connection may rest. The hosted upstream keeps it far longer (`hosting`), so that
we close first: a server that closes just as a POST comes in would lose it."""


class Transports:
    """A free list of transports to one upstream.

    With `keep_alive` a connection is used again after a clean exchange; without, each exchange has
    a connection of its own, which is right for an upstream whose own time limits we do not know.
    """

    def __init__(self, *, keep_alive: bool) -> None:
        self._keep_alive = keep_alive
        self._free: deque[tuple[float, httpx.AsyncHTTPTransport]] = deque()
        self._ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # costly to make, never used
        self._limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1 if keep_alive else 0,
            keepalive_expiry=IDLE_SECONDS,
        )

    def take(self) -> httpx.AsyncHTTPTransport:
        """A transport for one exchange; the caller gives it back or discards it."""
        if self._free:
            return self._free.pop()[1]
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context, trust_env=False, limits=self._limits
        )

    async def give_back(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Keep a transport whose exchange came to a clean end; let go of one that rests too long."""
        now = time.monotonic()
        self._free.append((now, transport))
        if self._free[0][0] < now - IDLE_SECONDS:
            await self.discard(self._free.popleft()[1])

    async def discard(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Close a transport, and with it whatever is still going on, even while being cancelled."""
        with trio.CancelScope(shield=True):
            await transport.aclose()

    async def aclose(self) -> None:
        """Close all that is kept."""
        while self._free:
            await self.discard(self._free.pop()[1])
