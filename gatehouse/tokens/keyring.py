"""The verifier: all tokens in force, found by the digest of what is presented."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.http.credentials import LANES
from gatehouse.identity.principal import Principal
from gatehouse.identity.rate import parse_rate
from gatehouse.tokens.reader import RESERVED, Token, TokenValue, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gatehouse.http.credentials import Credential, Lane
    from gatehouse.identity.grants import Grants


class Clock:
    """Unix time that never goes back: a clock that is set back makes no value good again that has expired."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now: by the system's clock, or by the one of the start if that is ahead."""
        return max(time.time(), self._ahead + time.monotonic())


clock = Clock()


class Key(NamedTuple):
    """A value of a token, and whom it lets in by which lane."""

    name: str
    value: TokenValue
    principals: Mapping[Lane, Principal]


class Keyring:
    """The tokens in force: the shared one, if any, and those of the tokens file.

    They are replaced all at once, so that no request is judged by half of a new set. `query_keys` tells
    whether any token at all may come in a URL.
    """

    def __init__(
        self,
        tokens: Iterable[Token] = (),
        *,
        shared: str = "",
        shared_name: str = RESERVED,
        query_keys: bool = True,
    ) -> None:
        value = TokenValue(digest_of(shared)) if shared else None
        self._shared = [Token(shared_name, (value,), lanes=LANES)] if value else []
        self._lanes = LANES if query_keys else LANES - {"query"}
        self.used: dict[bytes, float] = {}
        """When values were last used, by their digest: Unix time."""
        self.replace(tokens)

    def replace(self, tokens: Iterable[Token]) -> None:
        """From now on, these tokens are in force beside the shared one, and no others."""
        tokens = [*self._shared, *tokens]
        self._grants = {token.name: token.grants for token in tokens}
        self._keys = {
            value.digest: Key(token.name, value, self._principals(token, value))
            for token in tokens
            for value in token.values
        }

    def _principals(self, token: Token, value: TokenValue) -> dict[Lane, Principal]:
        rate = parse_rate(token.rate) if token.rate else None
        return {
            lane: Principal(token.name, lane, value.digest, token.grants, rate)
            for lane in token.lanes & self._lanes
        }

    @property
    def grants(self) -> Mapping[str, Grants]:
        """What each token may call, by its name."""
        return self._grants

    @property
    def takes_url_keys(self) -> bool:
        """Whether there is a token that may come in a URL."""
        return any("query" in key.principals for key in self._keys.values())

    def __call__(self, credentials: Iterable[Credential]) -> Principal | None:
        """Judge every credential; the first good one tells who it is.

        The digests are of random values that nobody can choose the beginning of, so that how long it
        takes to find one tells nothing; the comparison that counts takes the same time for all.
        """
        found = None
        now = clock()
        for lane, credential in credentials:
            digest = digest_of(credential)
            key = self._keys.get(digest)
            if key is None or not hmac.compare_digest(key.value.digest, digest):
                continue
            if found is None and key.value.valid_at(now):
                found = key.principals.get(lane)
        if found is not None:
            self.used[found.digest] = now
        return found

    def why_not(self, credentials: Iterable[Credential]) -> tuple[str, str]:
        """For the record: the name that credentials are no good for, if they are known, and why."""
        reason = "no-token"
        for _, credential in credentials:
            reason = "token"
            if key := self._keys.get(digest_of(credential)):
                good = key.value.valid_at(clock())
                return key.name, "token-lane" if good else "token-not-in-time"
        return "", reason

    def in_force(self, principal: Principal) -> bool:
        """Whether the value that let this principal in is still good, for the same name and lane."""
        key = self._keys.get(principal.digest)
        if key is None or not key.value.valid_at(clock()):
            return False
        now = key.principals.get(principal.lane)
        return now is not None and now.name == principal.name
