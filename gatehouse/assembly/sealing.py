"""Settings to parts: the secret that seals are made with, and the origin that browsers know the gate by."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from gatehouse.assembly.location import dashboard_origin
from gatehouse.signin.cookies import Jar
from gatehouse.signin.sealing import MAX_SECONDS, Sealer, key_for

if TYPE_CHECKING:
    from gatehouse.settings.environment import Settings


class Sealing:
    """The seals and cookies of one gate, which clients reach at the URL `endpoint`."""

    def __init__(self, settings: Settings, endpoint: str) -> None:
        self.secret = settings.sign_in_key_material or secrets.token_bytes(32)
        """The secret; without one in the settings, it is new at each start."""
        self.origin = dashboard_origin(settings, endpoint)
        """The origin of all pages for people."""
        self.jar = Jar(secure=self.origin.startswith("https:"))
        """Reads and writes their cookies."""
        self.shared_secret = key_for(self.secret, "shared")
        """A secret that all gates have whose people sign in with the same one."""
        self._bound_to = settings.sign_in_issuer, settings.sign_in_client[0], self.origin

    def sealer(self, purpose: str, max_seconds: float = MAX_SECONDS) -> Sealer:
        """The sealer for one purpose, bound to the provider, to the gate's id there, and to its own address.

        Two gates may be one client at the provider: what the one has sealed, a token above all, must not open at the other
        (RFC 8707 section 2).
        """
        return Sealer(self.secret, purpose, bound_to=self._bound_to, max_seconds=max_seconds)
