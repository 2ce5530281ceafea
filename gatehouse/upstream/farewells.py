"""Ends sessions of the upstream that nobody can use any more, each by a DELETE, in the background.

A server may hold a limited number of sessions, for all callers together. One that the gate has dropped from its
ledger would keep its place until the server forgets it, in half an hour or never.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, cast

import httpx
import trio

from gatehouse.errors import without_message
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from gatehouse.upstream.base import Upstream
    from gatehouse.upstream.outbound import Outbound

logger = logger_of("gate.upstream")

MAX_AT_ONCE = 16
"""How many sessions are ended at a time: at a hundred openings a time, the server's turns are shared fairly."""

MAX_WAITING = 256
"""How many sessions of one name may wait for their end before its requests that bring about one more wait, too. A name
is here a principal's id."""

END_SECONDS = 5.0
"""How long the server may take to end one."""


class Farewells:
    """Ends sessions of `upstream`, with the requests that `outbound` makes."""

    def __init__(self, upstream: Upstream, outbound: Outbound) -> None:
        self._upstream = upstream
        self._outbound = outbound
        self._given, self._waiting = trio.open_memory_channel[tuple[bytes, str]](math.inf)
        self._waiting_of: Counter[str] = Counter()
        self._progress = trio.Event()

    def end(self, session: bytes, name: str) -> None:
        """End the session of that name some time soon."""
        self._given.send_nowait((session, name))
        self._waiting_of[name] += 1

    async def room(self, name: str) -> None:
        """Return once less than MAX_WAITING sessions of that name wait for their end."""
        while self._waiting_of[name] >= MAX_WAITING:
            await self._progress.wait()

    async def run(self) -> None:
        """End sessions for ever."""
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_AT_ONCE):
                nursery.start_soon(self._end_all)

    async def _end_all(self) -> None:
        async for session, name in self._waiting:
            self._waiting_of -= Counter([name])
            try:
                with trio.move_on_after(END_SECONDS):
                    await self._end(session, name)
            except httpx.HTTPError:
                pass  # the server is away, and perhaps the session with it
            except Exception as error:  # noqa: BLE001 - the others are to be ended, too
                logger.error("failed to end a session: %s", without_message(error))
            self._progress.set()
            self._progress = trio.Event()

    async def _end(self, session: bytes, name: str) -> None:
        transport = await self._upstream.take()
        whole = False
        try:
            response = await transport.handle_async_request(self._outbound.farewell(session, name))
            stream = cast("httpx.AsyncByteStream", response.stream)
            async for _ in stream:
                pass
            await stream.aclose()
            whole = True
        finally:
            await transport.release(whole=whole)
