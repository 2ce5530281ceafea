"""The dashboard: the table of its pages and of what their buttons do, and the way of a request to one of them.

A new page is a `View` or an `Action` (`gatehouse/pages/dashboard/visit.py`), and comes into a table in
`gatehouse/assembly/`. Nothing here decides who may: that is the door's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.downstream.body import ClientLeftError
from gatehouse.http.paths import DASHBOARD
from gatehouse.http.reply import Reply, page_error
from gatehouse.pages.dashboard.assets import ASSETS, asset
from gatehouse.pages.dashboard.templates import dressed
from gatehouse.pages.dashboard.visit import HOME, Visit, see

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.pages.dashboard.door import Door
    from gatehouse.pages.dashboard.shell import Shell
    from gatehouse.pages.dashboard.visit import Action, View
    from gatehouse.pages.table import Page
    from gatehouse.signin.visitor import Visitor

READING = frozenset({"GET", "HEAD"})


class Dashboard:
    """All paths of the dashboard.

    `views` and `actions` are for those who may open it, or may see the one page. `open_views` and `open_actions` find out
    themselves who comes: they are for people who are not signed in yet, or not on the list.
    """

    def __init__(
        self,
        door: Door,
        views: Mapping[bytes, View],
        actions: Mapping[bytes, Action],
        *,
        open_views: Mapping[bytes, Page],
        open_actions: Mapping[bytes, Page],
        shell: Shell,
    ) -> None:
        self._door, self._shell = door, shell
        self._views, self._actions = dict(views), dict(actions)
        self._open_views, self._open_actions = dict(open_views), dict(open_actions)
        pages = {*self._views, *self._actions, *self._open_views, *self._open_actions}
        self.paths = frozenset({DASHBOARD + b"/", *pages, *ASSETS})
        """Every path that has an answer."""

    dress = staticmethod(dressed)
    """Gives any reply the header fields of the dashboard's."""

    async def __call__(self, exchange: Exchange) -> Reply:
        try:
            return dressed(await self._answer(exchange))
        except ClientLeftError:
            raise
        except Exception:
            exchange.in_trouble = self._shell.notices.failed()
            raise

    async def _answer(self, exchange: Exchange) -> Reply:
        request = exchange.request
        changes = request.path in self._actions or request.path in self._open_actions
        if request.method == "POST" and changes:
            return self._door.foreign(request) or await self._change(exchange)
        if request.method not in READING:
            return page_error(
                405,
                "method_not_allowed",
                "This page does not answer this method.",
                (b"Allow", b"GET, HEAD, POST" if changes else b"GET, HEAD"),
                reason="method-not-allowed",
            )
        if request.path in ASSETS:
            return asset(request)
        return self._door.elsewhere(request) or await self._read(exchange)

    async def _read(self, exchange: Exchange) -> Reply:
        path = exchange.request.path
        if page := self._open_views.get(path):
            return await page(exchange)
        view = self._views.get(path)
        if view is None:
            return see(self._page_of(path))
        visitor = await self._door.visitor(exchange, self._page_of(path))
        return visitor if isinstance(visitor, Reply) else await view(self._visit(exchange, visitor))

    async def _change(self, exchange: Exchange) -> Reply:
        path = exchange.request.path
        if page := self._open_actions.get(path):
            return await page(exchange)
        at = self._page_of(path)
        visitor = await self._door.visitor(exchange, at)
        if isinstance(visitor, Reply):
            return visitor
        form = await self._door.form(exchange, visitor, at)
        if isinstance(form, Reply):
            return form
        return await self._actions[path](self._visit(exchange, visitor), form)

    def _visit(self, exchange: Exchange, visitor: Visitor) -> Visit:
        return Visit(
            exchange,
            visitor,
            form_token=self._door.form_token(visitor),
            at=self._page_of(exchange.request.path),
            shell=self._shell,
            is_admin=self._door.is_admin(visitor),
        )

    def _page_of(self, path: bytes) -> str:
        """The page that is at a path, or to which what is there belongs."""
        above = path
        while above not in self._views or b"." in above:
            above = above.rpartition(b"/")[0]
            if not above:
                return HOME
        return above.decode("ascii")
