"""The page that says how clients connect, with the public address filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.pages.dashboard.ways import with_sign_in, with_token
from gatehouse.pages.snippets import PLACEHOLDER, slug

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.pages.ways_in import WaysIn


class Connect:
    """The view. Clients reach the gate at the URL `endpoint`, and `name` tells the server's own name.

    `ways` are open to them; `takes_url_keys` tells whether some token may come in a URL.
    """

    def __init__(
        self,
        endpoint: str,
        name: Callable[[], str],
        ways: WaysIn,
        takes_url_keys: Callable[[], bool],
    ) -> None:
        self._endpoint = endpoint
        self._name = name
        self._ways = ways
        self._takes_url_keys = takes_url_keys

    async def __call__(self, visit: Visit) -> Reply:
        key = slug(self._name())
        return await visit.page(
            "connect.html",
            endpoint=self._endpoint,
            placeholder=PLACEHOLDER,
            sign_in=self._ways.sign_in,
            signing_in=with_sign_in(self._endpoint, key) if self._ways.sign_in else [],
            bringing=with_token(self._endpoint, PLACEHOLDER, key, query=self._takes_url_keys())
            if self._ways.tokens
            else [],
        )
