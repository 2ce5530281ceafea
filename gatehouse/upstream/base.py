"""One interface for the ways to the upstream: over the network (`network`), or in this process (`inprocess`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httpx

from gatehouse.http import refusals

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply
    from gatehouse.upstream.reached import Reached

HOSTED_IDLE_SECONDS = 15.0
"""How long a connection to the hosted server may rest. That server keeps it for longer (`hosting`), so that the
gate closes first: a server that closes just as a POST comes in would lose it."""


BODILESS = frozenset({204, 304})
"""Answers with such a status have no body (RFC 9110 section 6.4.1), and neither have answers to HEAD."""


class FloodError(httpx.TransportError):
    """The upstream sends a flood of small pieces, fields or interim answers."""

    def __init__(self) -> None:
        super().__init__("a flood of small pieces, fields, framing or interim answers")


class Upstream(Protocol):
    """A way to the MCP server behind the gate. It hands out a transport for each exchange."""

    @property
    def authority(self) -> str:
        """`host:port` as it stands in a Host field (RFC 9110 section 7.2)."""

    @property
    def keep_alive(self) -> bool:
        """False if no connection carries a second exchange, so that each request should say `Connection: close`."""

    @property
    def reached(self) -> Reached:
        """Whether the server could be asked when that was last tried, and since when."""

    async def is_reachable(self) -> bool:
        """True if the server can be asked: now, or a moment ago."""

    async def take(self) -> Transport:
        """A transport for one exchange; the caller releases it."""

    async def sweep(self) -> None:
        """Close what is no longer needed, for ever; may return if there is never anything to close."""

    async def aclose(self) -> None:
        """Close what is kept, once no exchange is left."""


class Transport(Protocol):
    """Carries one exchange."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, and return the response when its head is there; the body is streamed.

        `extensions` have the target, as raw bytes, and may have the request's `id`. Raises httpx's exceptions: ConnectError and
        ConnectTimeout if the upstream cannot be asked, another TransportError for all later failures.
        """

    @property
    def unread(self) -> bytes:
        """The bytes of the answer that have arrived and that no reader has taken yet."""

    async def release(self, *, whole: bool) -> None:
        """End the exchange: `whole` is True if the answer came to its whole end, else it is broken off."""


def reply_for(error: Exception, *, reached: bool) -> Reply:
    """The local reply for an upstream that failed before its response began; it may have been `reached` earlier."""
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return refusals.UPSTREAM_BROKE
    return refusals.UPSTREAM_DOWN if reached else refusals.UPSTREAM_UNREACHABLE
