"""The uses of signed tokens. Each has rules of its own beside those for all (`jwt`), so that no token does for another
use (RFC 8725 section 3.12): an access token signs nobody in, and an ID token opens no endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Fault = Callable[[Mapping[str, Any], Collection[str], Collection[str]], str]

TYPE_OF_ACCESS = "at+jwt"
"""RFC 9068 section 2.1."""

NO_USE_HERE = frozenset({"refresh", "refresh_token", "offline", "logout"})
"""How some authorization servers mark tokens that are for themselves, in a claim."""

NOT_FOR_ACCESS = NO_USE_HERE | {"id", "id_token"}
"""The marks of tokens that are for the client, or for the server itself: no access tokens."""

NOT_FOR_CLIENT = NO_USE_HERE | {"access", "access_token", "bearer"}
"""The marks of tokens that tell a client nothing about who signed in."""


class Use(NamedTuple):
    """The rules that tell the tokens of one use from all others."""

    takes_type: Callable[[str], bool]
    """True for a type that the header may say, in lower case and without `application/`; it is empty if none is said."""
    fault_in: Fault
    """Why claims are no good for this use, as one word; empty if they are. It gets the claims, the audiences that they
    name, and those that the rules know."""
    needs_subject: bool = True


def _is_no_other(kind: str) -> bool:
    """True for any type but one that says that it is no access token.

    Such types are explicit (RFC 8725 section 3.11): logout+jwt, secevent+jwt, dpop+jwt and others.
    """
    return kind == TYPE_OF_ACCESS or "+" not in kind


def _fault_of_access(
    claims: Mapping[str, Any],
    audiences: Collection[str],
    ours: Collection[str],  # noqa: ARG001
) -> str:
    """Refuse ID tokens (OpenID Connect Core section 2), which tell a client who signed in, and no resource server."""
    if not claims.keys().isdisjoint(("nonce", "at_hash", "c_hash")):
        return "id-token"
    if [claims.get("azp")] == [*audiences] or [claims.get("client_id")] == [*audiences]:
        return "id-token"
    # A security event, such as a logout (RFC 8417 section 2.2), or a token that is good only with a proof of its key, which
    # the gate does not ask for (RFC 7800 section 3.1, RFC 9449 section 6).
    if "events" in claims or "cnf" in claims:
        return "type"
    return "" if _marks_of(claims).isdisjoint(NOT_FOR_ACCESS) else "id-token"


def _fault_of_id(
    claims: Mapping[str, Any], audiences: Collection[str], ours: Collection[str]
) -> str:
    """Refuse all that is no ID token for this very client (OpenID Connect Core section 3.1.3.7).

    Of several audiences all could show the token around: then `azp` says for which one it was made.
    """
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") not in [*ours]:
        return "audience"
    if "iat" not in claims:
        return "malformed"
    if "events" in claims:
        return "type"
    return "" if _marks_of(claims).isdisjoint(NOT_FOR_CLIENT) else "type"


def _marks_of(claims: Mapping[str, Any]) -> set[str]:
    return {str(claims.get(name)).lower() for name in ("token_use", "token_type", "typ")}


ACCESS = Use(_is_no_other, _fault_of_access)
"""Access tokens (RFC 9068)."""

ASSERTION = Use(_is_no_other, lambda *_: "", needs_subject=False)
"""Assertions of a front: they are for this gate alone, and service tokens have no subject."""

ID = Use(lambda kind: kind in {"", "jwt"}, _fault_of_id)
"""ID tokens, which tell a client who signed in: the client id is the one audience that the rules know. The caller
compares `nonce`."""
