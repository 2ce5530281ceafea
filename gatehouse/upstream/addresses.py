"""Where the upstream is: the addresses of its name, and a connection to the first that takes one.

One task at a time looks the name up, in a thread that nobody else waits for, and the addresses are used
again. A slow resolver thus costs calls nothing, and a broken one as little as possible.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.keepalive import notice_vanished
from gatehouse.upstream.shared_look import SharedLook

if TYPE_CHECKING:
    from collections.abc import Callable

    Address = tuple[int, Any]  # the family, and what `connect` takes

MAX_CONNECT_SECONDS = 2.0
"""How long the upstream may take to accept a connection. On loopback it accepts at once or never."""

MAX_LOOK_UP_SECONDS = 5.0
"""How long a call waits for the name to be looked up: a resolver's first time limit."""

FRESH_SECONDS = 2.0
"""How long the addresses of a name are fresh. Older ones are still used, and looked up again meanwhile for the
next call."""

OLD_SECONDS = 30.0
"""From this age on, addresses are used only if no newer ones can be had: another host may have them by now. No
longer than usual DNS records are good for."""

MIN_AGE_SECONDS = 0.25
"""How old addresses must be before the name is looked up again because none of them takes a connection."""

HEAD_START_SECONDS = 0.25
"""How long one address is tried alone before the next is tried too (RFC 8305 section 5)."""

MAX_UNACKNOWLEDGED_SECONDS = 120
"""How long an upstream may acknowledge nothing before it counts as gone. Longer than on the client's side,
because a busy upstream may leave a request unread for a while."""


class Addresses:
    """The addresses of `host`, which is a name or an address; only those that `takes` takes, as if there were no others."""

    def __init__(self, host: str, port: int, takes: Callable[[str], bool] | None = None) -> None:
        self._host, self._port = host, port
        self._takes = takes
        self._limiter = trio.CapacityLimiter(1)
        self._look = SharedLook(self._look_up, failed=None)
        self._given_up: trio.Event | None = None  # the look that has taken too long
        self._found: list[Address] = []
        self._numeric = False
        with suppress(OSError):
            self._found = self._ask(socket.AI_NUMERICHOST)
            self._numeric = True

    async def get(self) -> list[Address]:
        """All known addresses, the best first. Raises OSError if there are none."""
        if not self._numeric:
            await self._renew()
        if not self._found:
            raise socket.gaierror(socket.EAI_NONAME, "no address is known")
        return self._found

    async def other_than(self, tried: list[Address]) -> list[Address]:
        """The addresses that a new look finds, without those that were `tried`."""
        if not self._numeric and self._look.age > MIN_AGE_SECONDS:
            await self._wait_for(self._look.begin())
        return [address for address in self._found if address not in tried]

    async def _renew(self) -> None:
        """Have the name looked up; wait for that only if the known addresses are too old."""
        age = self._look.age
        if age <= FRESH_SECONDS:
            return
        over = self._look.begin()
        if age > OLD_SECONDS:
            await self._wait_for(over)

    async def _wait_for(self, over: trio.Event) -> None:
        """Wait for the end of a look, unless another call has already given it up."""
        if over is self._given_up:
            return
        with trio.move_on_after(MAX_LOOK_UP_SECONDS):
            await over.wait()
        if not over.is_set():
            self._given_up = over

    async def _look_up(self) -> None:
        """Find the addresses of the name. If that fails, the known ones stay."""
        self._found = await trio.to_thread.run_sync(
            self._ask, abandon_on_cancel=True, limiter=self._limiter
        )

    def _ask(self, flags: int = 0) -> list[Address]:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags)
        taken: list[Address] = [
            (family, address) for family, _, _, _, address in found if self._is_taken(address)
        ]
        return alternating(taken) if taken else []

    def _is_taken(self, address: Any) -> bool:
        return self._takes is None or self._takes(address[0])


def alternating(addresses: list[Address]) -> list[Address]:
    """The addresses in their order, but the second of another family (RFC 8305 section 4)."""
    first = addresses[0][0]
    other = next((address for address in addresses if address[0] != first), None)
    if other is None:
        return addresses
    return [addresses[0], other, *(one for one in addresses[1:] if one is not other)]


async def connect(addresses: Addresses) -> trio.SocketStream:
    """A connection to one of the addresses. Raises OSError, or trio.TooSlowError if none answers in time.

    If all addresses of a name fail, the name is looked up once more: it may have just moved.
    """
    known = await addresses.get()
    try:
        return await first_of(known)
    except (OSError, trio.TooSlowError):
        others = await addresses.other_than(known)
        if not others:
            raise
    return await first_of(others)


async def attempt(family: int, address: Any) -> trio.SocketStream:
    """A connection to this address. Raises OSError."""
    made = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        notice_vanished(made, MAX_UNACKNOWLEDGED_SECONDS)
        await made.connect(address)
    except BaseException:
        made.close()
        raise
    return trio.SocketStream(made)


async def first_of(addresses: list[Address]) -> trio.SocketStream:
    """The first connection that comes, within MAX_CONNECT_SECONDS. Raises OSError or trio.TooSlowError."""
    with trio.fail_after(MAX_CONNECT_SECONDS):
        if len(addresses) == 1:
            return await attempt(*addresses[0])
        return await race(addresses)


async def race(addresses: list[Address]) -> trio.SocketStream:
    """The first connection: each address gets a start of HEAD_START_SECONDS. Raises OSError if all fail."""
    made: list[trio.SocketStream] = []
    errors: list[OSError] = []

    async def compete(family: int, address: Any, failed: trio.Event) -> None:
        try:
            made.append(await attempt(family, address))
        except OSError as error:
            errors.append(error)
            failed.set()
        else:
            racers.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as racers:
            for address in addresses:
                failed = trio.Event()
                racers.start_soon(compete, *address, failed)
                with trio.move_on_after(HEAD_START_SECONDS):
                    await failed.wait()
        if not made:
            raise errors[0]
        return made.pop(0)
    finally:
        for late in made:
            late.socket.close()
