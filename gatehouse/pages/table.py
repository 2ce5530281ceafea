"""The pages: what the gate answers itself, by the path.

A new page is a function or an object that takes the exchange and returns a reply. It comes into the table in
`gatehouse/assembly/house.py`, and its path into `docs/`. A path that is in no table has no page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.http import refusals
from gatehouse.http.paths import (
    DASHBOARD,
    folded,
    is_at_or_below,
    is_dashboard,
    is_for_upstream,
    is_old_transport,
)
from gatehouse.identity.principal import OPEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.paths import ExposedPaths
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request

    Page = Callable[[Exchange], Awaitable[Reply]]


class Pages:
    """The pages by their paths. All of them answer GET and HEAD."""

    def __init__(
        self,
        table: Mapping[bytes, Page],
        exposed: ExposedPaths,
        *,
        judge_methods: Container[bytes] = (),
        not_found: Reply = refusals.NOT_FOUND,
        dress: Callable[[Reply], Reply] | None = None,
    ) -> None:
        """`exposed` are paths of the server's outside its endpoint.

        The pages at the paths `judge_methods` get requests of every method. `not_found` is for paths without a page.
        `dress` gives a reply the header fields of the dashboard, where there is one.
        """
        self._table = table
        self._exposed = exposed
        self._judge_methods = judge_methods
        self._not_found = not_found
        self._dress = dress

    @property
    def paths(self) -> frozenset[bytes]:
        """All paths that have a page."""
        return frozenset(self._table)

    def fault(self, request: Request) -> Reply | None:
        """The reply to a malformed request; None if it is well formed."""
        return self._dressed(request, request.fault)

    async def reply(self, exchange: Exchange) -> Reply | None:
        """The gate's own answer to a well-formed request; None if it is for the upstream."""
        if is_for_upstream(exchange.request.path):
            return None
        return self._dressed(exchange.request, await self._reply(exchange))

    def _dressed(self, request: Request, reply: Reply | None) -> Reply | None:
        """The reply; at or below the dashboard's path with its header fields, also if no page made it."""
        if reply is None or self._dress is None or not is_dashboard(request.path):
            return reply
        return self._dress(reply)

    async def _reply(self, exchange: Exchange) -> Reply | None:
        """The reply of a page, or that there is none; None if an exposed path leads to the upstream.

        OAuth discovery (`/.well-known/` anywhere, `/register`, ...) gets a clean 404 on purpose where there is no page:
        the gate is no authorization server then, and a client that gets this answer goes on with its own token.
        """
        request = exchange.request
        page = self._table.get(request.path)
        exposed = self._exposed.find(request.path) if page is None else None
        if exposed and not self._keeps(request.path):
            if not exposed.needs_token:
                exchange.lane = OPEN
            return None
        if page is None:
            return refusals.OLD_TRANSPORT if is_old_transport(request.path) else self._not_found
        if request.method not in {"GET", "HEAD"} and request.path not in self._judge_methods:
            return refusals.METHOD_NOT_ALLOWED
        return await page(exchange)

    def _keeps(self, path: bytes) -> bool:
        """True if some server might take an exposed path for one of the dashboard's: what is there is the gate's alone."""
        return self._dress is not None and is_at_or_below(folded(path), folded(DASHBOARD))
