"""The verifier: all tokens in force, found by the digest of a presented value."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.http.credentials import LANES
from gatehouse.identity.clock import clock
from gatehouse.identity.principal import SHARED_NAME, WRONG_CREDENTIAL, Principal, Unknown
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from gatehouse.http.credentials import Credential, Lane
    from gatehouse.http.request import Request
    from gatehouse.identity.grants import Grants


class Key(NamedTuple):
    """A value of a token, and the principal that it lets in by each lane."""

    name: str
    value: TokenValue
    principals: Mapping[Lane, Principal]


class Keyring:
    """The tokens in force: the shared one, if any, and those of the tokens file.

    They are replaced all at once, so that no request is judged by half of a new set. With `query_keys`,
    tokens may come in a URL. `is_static` is False for what is no static token, but plainly something else.
    """

    def __init__(
        self,
        tokens: Iterable[Token] = (),
        *,
        shared: str = "",
        shared_name: str = SHARED_NAME,
        query_keys: bool = True,
        is_static: Callable[[Credential], bool] | None = None,
    ) -> None:
        value = TokenValue(digest_of(shared)) if shared else None
        self._shared = [Token(shared_name, (value,), lanes=LANES)] if value else []
        self._lanes = LANES if query_keys else LANES - {"query"}
        self._is_static = is_static or (lambda _: True)
        self.used: dict[bytes, float] = {}
        """When values were last used, by their digest: Unix time."""
        self.replace(tokens)

    def replace(self, tokens: Iterable[Token]) -> None:
        """From now on, only these tokens are in force, beside the shared one."""
        tokens = [*self._shared, *tokens]
        self._grants = {token.name: token.grants for token in tokens}
        self._keys = {
            value.digest: Key(token.name, value, self._principals(token, value))
            for token in tokens
            for value in token.values
        }

    def _principals(self, token: Token, value: TokenValue) -> dict[Lane, Principal]:
        return {
            lane: Principal(token.name, token.name, lane, value.digest, token.grants, token.rate)
            for lane in token.lanes & self._lanes
        }

    @property
    def grants(self) -> Mapping[str, Grants]:
        """The grants of each token, by its name."""
        return self._grants

    @property
    def digests(self) -> Collection[bytes]:
        """The digests of all values, good now or at another time."""
        return self._keys.keys()

    @property
    def takes_url_keys(self) -> bool:
        """True if some token may come in a URL."""
        return any("query" in key.principals for key in self._keys.values())

    async def verify(self, request: Request) -> Principal | Unknown | None:
        """Judge every value that is presented; the first good one gives the principal."""
        principal = None
        unknown = None
        for credential in request.credentials or ():
            who = self.judge(credential)
            if isinstance(who, Principal):
                principal = principal or who
            elif self._is_static(credential) and not (unknown and unknown.name):
                unknown = who
        return principal or unknown

    def judge(self, credential: Credential) -> Principal | Unknown:
        """Judge a presented value.

        Nobody can choose how the digest of a random value begins, so the time to find a digest tells
        nothing; the comparison that decides takes the same time for all.
        """
        digest = digest_of(credential.value)
        key = self._keys.get(digest)
        if key is None or not hmac.compare_digest(key.value.digest, digest):
            return WRONG_CREDENTIAL
        now = clock()
        if not key.value.valid_at(now):
            return Unknown(key.name, "token-not-in-time")
        principal = key.principals.get(credential.lane)
        if principal is None:
            return Unknown(key.name, "token-lane")
        self.used[digest] = now
        return principal

    def in_force(self, principal: Principal) -> bool:
        """True if the value that let this principal in is still good, for the same name and lane."""
        key = self._keys.get(principal.proof)
        if key is None or not key.value.valid_at(clock()):
            return False
        now = key.principals.get(principal.lane)
        return now is not None and now.id == principal.id
