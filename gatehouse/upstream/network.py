"""The connections to the upstream: an httpx transport for each one, kept on a free list.

One shared httpx client will not do, as experiments with httpx 0.28.1 have shown: its pool loses a
slot at each cancelled request until none is left, hands surplus bytes of one answer to the next
request, and costs more for every open stream. The client's helpers will not do either: they would
keep cookies across callers, obey proxy variables and add header fields of their own.

Each transport here is one HTTP/1.1 connection (httpcore's), carries one exchange at a time, and is
thrown away after anything but a clean end.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import httpcore
import trio

from gatehouse.errors import connection_trouble
from gatehouse.scheduling.turns import Turns
from gatehouse.upstream.addresses import Addresses, connect
from gatehouse.upstream.answers import Connection
from gatehouse.upstream.reached import Reached
from gatehouse.upstream.shared_look import SharedLook
from gatehouse.upstream.tls import tls_trouble
from gatehouse.upstream.transport import NetworkTransport
from gatehouse.upstream.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.upstream.tls import Tls
    from gatehouse.upstream.wire import Stream

MAX_KEPT_CONNECTIONS = 256
"""How many connections may rest at a time. Only as many calls at once would need more."""

SWEEP_SECONDS = 1.0
"""How often kept connections are checked: whether they have rested too long, or the upstream has ended them."""

LOOK_SECONDS = 1.0
"""How long the gate remembers whether the upstream accepts connections."""


class Transports:
    """The free list of transports to the upstream at `host:port`.

    With `tls`, connections are secret. After a clean exchange a connection is used again if it has rested for at most `idle_seconds`, and the
    upstream has not ended it. With 0, each exchange has a connection of its own. With `tells_ids`, the upstream gets
    the id of each request. `takes` says which addresses of the host may be used; without it, all.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        idle_seconds: float,
        tells_ids: bool = False,
        tls: Tls | None = None,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        self._tells_ids = tells_ids
        self.idle_seconds = idle_seconds
        self.keep_alive = idle_seconds > 0
        self.authority = authority_of(host, port, default_port=443 if tls else 80)
        """`host:port` as it stands in a Host field (RFC 9110 section 7.2)."""
        self._tls = tls
        scheme, name = b"https" if tls else b"http", host.encode("ascii")
        self._origin = httpcore.Origin(scheme, name, port)
        self._url = httpcore.URL(scheme=scheme, host=name, port=port, target=b"/")
        self.reached = Reached()
        self._addresses = Addresses(host, port, takes)
        self._free: deque[NetworkTransport] = deque()
        self._turns = Turns()
        self._accepting = SharedLook(self._accepts, failed=False)
        # Fails now if httpcore has changed.
        _ = Connection(self._origin, httpcore.AsyncMockStream([]), self._turns).unread

    @property
    def resting(self) -> int:
        """How many connections are kept."""
        return len(self._free)

    async def is_reachable(self) -> bool:
        """True if a connection to the upstream can be opened, TLS included: now, or a moment ago."""
        return await self._accepting.fresh(LOOK_SECONDS)

    async def _accepts(self) -> bool:
        stream = await self.open_stream()
        await trio.aclose_forcefully(stream)
        return True

    async def open_stream(self) -> Stream:
        """Open a connection, up to the end of TLS's handshake. Raises httpcore's ConnectError or ConnectTimeout."""
        try:
            tcp = await connect(self._addresses)
            stream = await self._tls.over(tcp) if self._tls else tcp
        except trio.TooSlowError as error:
            self.reached.note(succeeded=False)
            raise httpcore.ConnectTimeout(connection_trouble(TimeoutError())) from error
        except OSError as error:
            self.reached.note(succeeded=False)
            words = tls_trouble(error) or connection_trouble(error) or "no connection can be had"
            raise httpcore.ConnectError(words) from error
        self.reached.note(succeeded=True)
        return stream

    async def connect(self) -> tuple[Wire, Connection]:
        """Open an HTTP connection. Raises as `open_stream` does."""
        wire = Wire(await self.open_stream(), self.open_stream, self.idle_seconds)
        return wire, Connection(self._origin, wire, self._turns)

    async def take(self) -> NetworkTransport:
        """A transport for one exchange; the caller releases it."""
        return (
            self._free.pop()
            if self._free
            else NetworkTransport(
                self._url, self.connect, self.give_back, tells_ids=self._tells_ids
            )
        )

    async def give_back(self, transport: NetworkTransport) -> None:
        """Keep a transport whose exchange came to a clean end, or close it if it may not be used again.

        The newest is used first, so the oldest, at the far end, are closed once nobody needs them.
        """
        if not (self.keep_alive and transport.is_clean):
            await transport.aclose()
            return
        transport.rest()
        self._free.append(transport)
        if len(self._free) > MAX_KEPT_CONNECTIONS:
            await self._free.popleft().aclose()

    async def sweep(self) -> None:
        """Every SWEEP_SECONDS, for ever, close kept connections that have expired."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            over = [transport for transport in self._free if transport.is_spent]
            for transport in over:
                self._free.remove(transport)
            for transport in over:
                await transport.aclose()

    async def aclose(self) -> None:
        """Close all kept connections."""
        while self._free:
            await self._free.pop().aclose()


def authority_of(host: str, port: int, *, default_port: int) -> str:
    """`host:port` for a Host field, and only the host at the port that its scheme has anyway."""
    name = f"[{host}]" if ":" in host else host
    return name if port == default_port else f"{name}:{port}"
