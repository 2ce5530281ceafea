"""Verifiers: each one judges the credentials of some kinds, and finds the principal behind a good one.

A new way to show who one is comes in here: its kind of credential into `http/credentials.py`, a verifier
for that kind into `gatehouse/assembly/house.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gatehouse.http import refusals
from gatehouse.identity.principal import NO_CREDENTIAL, WRONG_CREDENTIAL, Principal, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gatehouse.http.credentials import Credential
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request


class Verifier(Protocol):
    """Turns a credential into a principal, or says that nobody is known by it."""

    def judges(self, credential: Credential) -> bool:
        """True if a credential of that kind and shape is this verifier's business; never by trial."""

    async def verify(self, credential: Credential) -> Principal | Unknown:
        """The principal of a credential that `judges` has accepted. Takes the same time for every wrong value."""

    @property
    def takes_url_keys(self) -> bool:
        """True if some credential may come in a URL."""

    def in_force(self, principal: Principal) -> bool:
        """True if this verifier let the principal in, and would still do so."""


class Verifiers:
    """The verifiers of one place in the gate, and the words for strangers there.

    `retry_after` counts a failure of an address: it returns None, or the seconds that this address has to wait.
    `challenge` is the 401 of a place that is not the MCP endpoint.
    """

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        retry_after: Callable[[str], float | None],
        challenge: Reply | None = None,
    ) -> None:
        self._verifiers = tuple(verifiers)
        self._retry_after = retry_after
        self._challenge = challenge

    async def identify(self, credentials: Iterable[Credential]) -> Principal | Unknown:
        """Judge every credential; the first good one gives the principal."""
        principal = None
        unknown = NO_CREDENTIAL
        for credential in credentials:
            verifier = next((each for each in self._verifiers if each.judges(credential)), None)
            who = await verifier.verify(credential) if verifier else WRONG_CREDENTIAL
            if isinstance(who, Principal):
                principal = principal or who
            elif not unknown.name:
                unknown = who
        return principal or unknown

    def refusal(self, request: Request, unknown: Unknown) -> Reply:
        """The reply to somebody unknown. Only credentials that are no good are counted, and after they were judged:
        a good one is let in however many failures come from its address.
        """
        if request.credentials:
            seconds = self._retry_after(request.client)
            if seconds is not None:
                return refusals.too_many_failures(seconds)
        if self._challenge is not None:
            return self._challenge
        if request.credentials and request.has_url_key and not self.takes_url_keys:
            return refusals.URL_KEY_CHALLENGE
        return refusals.challenge(unknown.reason)

    @property
    def takes_url_keys(self) -> bool:
        """True if some credential may come in a URL."""
        return any(verifier.takes_url_keys for verifier in self._verifiers)

    def in_force(self, principal: Principal) -> bool:
        """True if the credential that let this principal in is still good."""
        return any(verifier.in_force(principal) for verifier in self._verifiers)
