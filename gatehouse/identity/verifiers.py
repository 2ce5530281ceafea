"""Verifiers: each one judges the credentials of some kinds, and finds the principal behind a good one.

A new way to show who one is comes in here: a verifier, into the list in `gatehouse/assembly/house.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gatehouse.http import refusals
from gatehouse.identity.principal import NO_CREDENTIAL, Principal, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request


OF_FRONT = "front:"
"""How the name begins of everybody whom a front vouches for, let in or not."""


class Verifier(Protocol):
    """Finds the principal of a request by the credentials that are this verifier's business."""

    async def verify(self, request: Request) -> Principal | Unknown | None:
        """The principal; somebody unknown if the credentials are no good; None if there are none of that kind.

        Takes the same time for every wrong value of a static token.
        """

    @property
    def takes_url_keys(self) -> bool:
        """True if some credential may come in a URL."""

    def in_force(self, principal: Principal) -> bool:
        """True if this verifier let the principal in, and would still do so."""


class Verifiers:
    """The verifiers of one place in the gate, in the order in which they are asked, and the words for strangers there.

    `retry_after` counts a failure of an address: it returns None, or the seconds that this address has to wait.
    `nobody` is the one who brings no credential. `challenge` is the 401 of a place that is not the MCP endpoint.
    `address` tells the client's address where a front names it that has proved itself; with `behind_front`, it has
    done so in every request that is judged to the end.
    """

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        retry_after: Callable[[str], float | None],
        *,
        nobody: Unknown = NO_CREDENTIAL,
        challenge: Reply | None = None,
        address: Callable[[Request], str] | None = None,
        behind_front: bool = False,
    ) -> None:
        self._verifiers = tuple(verifiers)
        self._retry_after = retry_after
        self._nobody = nobody
        self._challenge = challenge
        self._address = address
        self._behind_front = behind_front

    async def identify(self, request: Request) -> Principal | Unknown:
        """Ask every verifier in turn; the first one that knows the request gives the principal.

        If none does, an answer that somebody known gets goes before a challenge. Of two challenges that to the bearer
        counts, which is the last verifier's: its client may get a new one. A wrong secret beside it is a failure, too.
        """
        unknown: list[Unknown] = []
        for verifier in self._verifiers:
            who = await verifier.verify(request)
            if isinstance(who, Principal):
                return who
            if who is not None:
                unknown.append(who)
                if who.ends:
                    break
        chosen = max(reversed(unknown), key=lambda who: who.weight, default=self._nobody)
        if not chosen.counts and any(who.counts for who in unknown):
            return chosen._replace(counts=True)
        return chosen

    def seen(self, request: Request, who: Principal | Unknown) -> Request:
        """The request with the client's address, if the front has told it and its assertion is good."""
        if self._address is None:
            return request
        judged = isinstance(who, Principal) or not who.ends
        if not (self._behind_front and judged) and not who.name.startswith(OF_FRONT):
            return request
        return request._replace(client=self._address(request))

    def refusal(self, request: Request, unknown: Unknown) -> Reply:
        """The reply to somebody unknown. Only credentials that are no good are counted, and after they were judged:
        a good one is let in however many failures come from its address.
        """
        if unknown.counts:
            seconds = self._retry_after(request.client)
            if seconds is not None:
                return refusals.too_many_failures(seconds)
        if self._challenge is not None:
            return self._challenge
        if unknown.reply is not None:
            return unknown.reply
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
