"""The answers to those who come by an authorization server or by a front, and are not let in.

Clients act upon each of them: a 401 with a pointer begins a sign-in (RFC 9728 section 5.1), `invalid_token` makes
them get a new token, `insufficient_scope` has them ask for more (RFC 6750 section 3.1), and a 401 while the
authorization server is down would make them throw away a good token: hence 503.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from gatehouse.http.refusals import CHALLENGE
from gatehouse.http.reply import FORBIDDEN, busy, forbidden, rpc_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gatehouse.http.reply import Reply

UNAVAILABLE_SECONDS = 5.0
"""When to come again while nobody can tell whether an access token is good."""

NEVER_ASKED = "offline_access"
"""No challenge asks for this scope, though a token may have it (MCP 2026-07-28, authorization)."""

NOT_LISTED = forbidden(
    "Forbidden: you are signed in, but not among the people who may use this server. Ask its operator to add you.",
    "people",
)

ENDED = forbidden(
    "Forbidden: the operator of this server has ended all that you had open here, this call included. It may have been "
    "carried out in part. You may come again, unless they have taken you off the list of people, too.",
    "ended",
)
"""No 401: a client would get a new token, and send a call again that may have had its effect."""


class Challenges:
    """The answers of one gate. Without a `pointer`, the URL of its metadata, none tells where to sign in.

    `scopes` are those that every access token needs.
    """

    def __init__(self, pointer: str = "", scopes: Sequence[str] = ()) -> None:
        self._pointer = f'resource_metadata="{pointer}"' if pointer else ""
        self._scopes = tuple(scopes)
        scope = f'scope="{" ".join(scopes)}"' if scopes else ""
        told = (self._pointer, scope) if pointer else ()
        self.sign_in = replace(self._unauthorized(*told), reason="no-token")
        """The answer to a request without a credential."""
        self.invalid_token = self._unauthorized(*told, 'error="invalid_token"')
        """The answer to an access token that is no good: the same bytes whatever is wrong with it."""

    @staticmethod
    def _unauthorized(*parameters: str) -> Reply:
        value = ", ".join(filter(None, ['Bearer realm="mcp"', *parameters]))
        fields = [pair for pair in CHALLENGE.headers if pair[0] != b"WWW-Authenticate"]
        return replace(CHALLENGE, headers=(*fields, (b"WWW-Authenticate", value.encode("ascii"))))

    @lru_cache(maxsize=32)  # noqa: B019 - one object for the whole run
    def bad_token(self, reason: str) -> Reply:
        """The same, with a reason for the record that the client is not told."""
        return replace(self.invalid_token, reason=reason)

    def insufficient_scope(self, granted: Iterable[str], needed: Iterable[str]) -> Reply:
        """The answer to a good access token that lacks `needed` scopes: it has the `granted` ones.

        It names both, since clients would lose the others (SEP-2350).
        """
        words = [scope for scope in dict.fromkeys([*granted, *needed]) if scope != NEVER_ASKED]
        parameters = [
            'Bearer realm="mcp"',
            'error="insufficient_scope"',
            f'scope="{" ".join(words)}"',
            self._pointer,
        ]
        return rpc_error(
            403,
            FORBIDDEN,
            "Forbidden: this access token lacks a scope that this needs. Sign in again and allow it, or ask the "
            "operator of this server.",
            (b"WWW-Authenticate", ", ".join(filter(None, parameters)).encode("ascii")),
            reason="scope",
        )


ISSUER_AWAY = (
    "The gate cannot check this access token now, because its issuer does not answer. Keep the token, and "
    "try again in a few seconds."
)
FRONT_AWAY = (
    "The gate cannot check now who has signed on in front of it, because it cannot get the keys for that. Try again "
    "in a few seconds."
)


def unavailable(seconds: float, reason: str, words: str = ISSUER_AWAY) -> Reply:
    """The answer while nobody can tell whether the access token is good, or, with FRONT_AWAY, the assertion."""
    return busy(
        words,
        max(1, math.ceil(seconds or UNAVAILABLE_SECONDS)),
        reason=reason,
    )


def not_through_front(reason: str) -> Reply:
    """The answer to a request that does not show that it came through the front."""
    return forbidden(
        "Forbidden: this server takes requests only through the sign-on in front of it. Use the address that its "
        "operator has given you, and sign in there.",
        reason,
    )
