"""The codes and tokens of apps: seals for one purpose each, so that none does for another (RFC 8725 section 3.12).

None of them is kept anywhere. A code is the beginning of its grant's chain, generation 0; each refresh token has the next
generation (`Grants.advance`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.apps.grant import MAX_GRANT_SECONDS, REFRESH_SECONDS, Grant, content_of, grant_in
from gatehouse.identity.clock import clock as unix_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gatehouse.signin.sealing import Sealer

CODE_SECONDS = 60.0
"""How long a code is good: the app asks for its tokens at once (RFC 6749 section 4.1.2 wants ten minutes at most)."""

ACCESS_SECONDS = 900.0
"""How long an access token is good: it is checked without a question to anybody, and stays short in case it is stolen."""

MAX_GENERATION = 10**9
"""More refresh tokens than a grant can have in its time."""


class Code(NamedTuple):
    """A code that was read: its grant, and what the app must show to use it."""

    grant: Grant
    redirect_uri: str
    challenge: str
    """The `code_challenge`, of S256 (RFC 7636 section 4.2)."""


class Refresh(NamedTuple):
    """A refresh token that was read."""

    grant: Grant
    generation: int


class Access(NamedTuple):
    """An access token that was read."""

    grant: Grant
    until: float
    """The Unix time at which it is over."""
    is_over: bool


class Tokens:
    """Makes and reads codes and tokens.

    `sealer_of` gives a sealer for a purpose, whose seals hold for so many seconds at most. People are those of `issuer`;
    `orgs` tells the organisations that some list names.
    """

    def __init__(
        self,
        sealer_of: Callable[[str, float], Sealer],
        issuer: str,
        *,
        orgs: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._codes = sealer_of("code", CODE_SECONDS)
        self._accesses = sealer_of("access", ACCESS_SECONDS)
        self._refreshes = sealer_of("refresh", REFRESH_SECONDS)
        self._issuer = issuer
        self._orgs = orgs
        self._clock = clock

    def code(self, grant: Grant, *, redirect_uri: str, challenge: str) -> str:
        """A code of the grant. Raises ValueError if the URI is too long for a seal."""
        content = self._content_of(grant) | {"ru": redirect_uri, "ch": challenge}
        return self._codes.seal(content, self._clock() + CODE_SECONDS)

    def access(self, grant: Grant) -> tuple[str, float]:
        """An access token of the grant, and for how many seconds it is good: no longer than the grant."""
        until = min(self._clock() + ACCESS_SECONDS, _end_of(grant))
        return self._accesses.seal(self._content_of(grant), until), until - self._clock()

    def refresh(self, grant: Grant, generation: int) -> str:
        """The refresh token of that generation, which is good no longer than the grant."""
        content = self._content_of(grant) | {"ge": generation}
        return self._refreshes.seal(content, min(self._clock() + REFRESH_SECONDS, _end_of(grant)))

    def read_code(self, text: str) -> Code | None:
        """The code that a text is; None if it is none that is good now."""
        found = self._read(self._codes, text)
        if found is None:
            return None
        grant, content, _ = found
        redirect_uri, challenge = content.get("ru"), content.get("ch")
        if not isinstance(redirect_uri, str) or not isinstance(challenge, str):
            return None
        return Code(grant, redirect_uri, challenge)

    def read_refresh(self, text: str) -> Refresh | None:
        """The refresh token that a text is; None if it is none that is good now."""
        found = self._read(self._refreshes, text)
        generation = found[1].get("ge") if found else None
        if found is None or type(generation) is not int or not 0 < generation <= MAX_GENERATION:
            return None
        return Refresh(found[0], generation)

    def read_access(self, text: str) -> Access | None:
        """The access token that a text is or was; None if it never was one."""
        found = self._read(self._accesses, text, even_if_over=True)
        if found is None:
            return None
        return Access(found[0], found[2], found[2] <= self._clock())

    def _content_of(self, grant: Grant) -> dict[str, Any]:
        return content_of(grant, self._orgs())

    def _read(
        self, sealer: Sealer, text: str, *, even_if_over: bool = False
    ) -> tuple[Grant, Mapping[str, Any], float] | None:
        """The grant in a seal, all that it holds, and the Unix time of its end."""
        sealed = sealer.unseal(text, even_if_over=even_if_over)
        if sealed is None:
            return None
        try:
            grant = grant_in(sealed.content, issuer=self._issuer, expires=sealed.until)
        except (LookupError, TypeError, ValueError):  # sealed by a gate of another release
            return None
        return grant, sealed.content, sealed.until


def _end_of(grant: Grant) -> float:
    return grant.began + MAX_GRANT_SECONDS
