"""The keys of a provider, fetched when there is an ID token to verify.

Access tokens come at any time, and their keys are renewed in the background (`identity/keys.py`). People sign in a few
times a day, and just then the provider is there: it gave the code a moment ago.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gatehouse.http.asked import AskError
from gatehouse.identity.public_keys import PublicKeys, read_keys
from gatehouse.signin.on_demand import PAUSE_SECONDS, OnDemand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gatehouse.identity.keys import FetchedKeys
    from gatehouse.identity.public_keys import PublicKey

KEEP_SECONDS = 600.0
"""How long keys are good: a key that the provider takes out is out by then."""

MIN_KEEP_SECONDS = 60.0
"""However short the answer says that they may be kept."""

NO_KEYS = PublicKeys()


class ProviderKeys:
    """A `KeySource`. `fetch` may raise AskError, and must end by itself."""

    def __init__(self, fetch: Callable[[], Awaitable[FetchedKeys]]) -> None:
        self._fetch = fetch
        self._keys = OnDemand(self._fetched)

    @property
    def trouble(self) -> str:
        """Why the last fetch brought no keys, in words for the log; empty if it did."""
        return self._keys.trouble.words if self._keys.trouble else ""

    @property
    def are_good(self) -> bool:
        """True if there are keys, and they are not too old."""
        return self._keys.at_hand is not None

    def has_kid(self, kid: str | None) -> bool:
        """True if there are good keys, and one has this kid, whatever its algorithm."""
        return (self._keys.at_hand or NO_KEYS).has_kid(kid)

    def fitting(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The good keys that may have signed a token with this kid and algorithm."""
        return (self._keys.at_hand or NO_KEYS).fitting(kid, algorithm)

    async def look_for(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The same for a key that is not here: the keys are fetched, unless that was done a moment ago."""
        with suppress(AskError):
            await self._keys.renewed()
        return self.fitting(kid, algorithm)

    def retry_after(self, kid: str | None, came: float, issued: float | None) -> float | None:  # noqa: ARG002
        """When to come back with a token whose key is not here; None if the keys are, and it is not among them."""
        return PAUSE_SECONDS if self.trouble or not self.are_good else None

    async def _fetched(self) -> tuple[PublicKeys, float]:
        fetched = await self._fetch()
        keys, _ = read_keys(fetched.document)
        if not keys:
            raise AskError("its jwks_uri has no key that the gate can use")
        seconds = KEEP_SECONDS if fetched.max_age is None else fetched.max_age
        return keys, min(KEEP_SECONDS, max(MIN_KEEP_SECONDS, seconds))
