"""Everything that the pages of one dashboard share: templates, navigation, calm pages, and sentences that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.pages.dashboard.aside import Aside
from gatehouse.pages.dashboard.assets import asset_link
from gatehouse.pages.dashboard.notices import Notices
from gatehouse.pages.dashboard.templates import Templates
from gatehouse.pages.dashboard.visit import HOME, OWN, Sayings

if TYPE_CHECKING:
    from collections.abc import Callable, Container

NAVIGATION = (
    (HOME, "Now"),
    (f"{HOME}/tokens", "Tokens"),
    (f"{HOME}/people", "People"),
    (OWN, "Apps"),
    (f"{HOME}/connect", "Connect"),
    (f"{HOME}/check", "Check"),
    (f"{HOME}/settings", "Settings"),
)
"""The pages in their order, and their names."""

FRONT_SIGN_OUT = {
    "cloudflare": "/cdn-cgi/access/logout",
    "iap": f"{HOME}?gcp-iap-mode=CLEAR_LOGIN_COOKIE",
    "pomerium": "/.pomerium/sign_out",
}
"""Where a front signs people out, on the host of the gate, for those that are known to."""


class Shell:
    """The shell around the pages at the paths `pages`.

    `name` tells the server's own name, and `provider` is the name of where people sign in. `front` is the kind of the
    front that signs them in. Both may be empty, but not together.
    """

    def __init__(
        self, pages: Container[bytes], *, name: Callable[[], str], provider: str, front: str
    ) -> None:
        self.templates = Templates(
            {
                "asset": asset_link,
                "front_sign_out": FRONT_SIGN_OUT.get(front, ""),
                "navigation": [each for each in NAVIGATION if each[0].encode() in pages],
                "server_name": name,
            }
        )
        self.own_page = OWN if OWN.encode() in pages else ""
        """The page for everybody who may sign in; empty if there is none."""
        self.notices = Notices(self.templates, provider=provider, own_page=self.own_page)
        self.sayings = Sayings()
        self.aside = Aside()
        """For whatever takes long."""
