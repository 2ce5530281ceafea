"""Find the credentials in a request.

Three places may hold the token, because clients and fronts leave no common one: `Authorization:
Bearer` (RFC 6750 section 2.1), `X-API-Key` (where a front owns `Authorization`), and the query
parameter `key` (for clients that cannot send headers). One good credential is enough, whatever
stands in the other places. Nothing here does I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

Lane = Literal["header", "query"]
"""Where a token may be: in a header field (`Authorization`, `X-API-Key`), or in the URL."""

LANES: frozenset[Lane] = frozenset(get_args(Lane))

CREDENTIAL_HEADERS = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"x-hf-authorization",  # opens a private Space; its edge takes it off, and so do we
    }
)


class AmbiguousCredentialsError(Exception):
    """The same kind of credential came twice. RFC 6750 section 3.1: invalid_request, 400."""


class Credential(NamedTuple):
    """A possible token value, and the lane by which it came."""

    lane: Lane
    value: bytes


def credentials_from(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> list[Credential]:
    """The credentials that a request presents, those in header fields first; possibly none.

    Takes the raw header fields (names in any case) and the raw query. Raises
    AmbiguousCredentialsError if one kind of credential occurs twice, even with equal values.
    """
    authorizations: list[bytes] = []
    api_keys: list[bytes] = []
    for name, value in headers:
        name = name.lower()
        if name == b"authorization":
            authorizations.append(value)
        elif name == b"x-api-key":
            api_keys.append(value)
    keys = [_value(parameter) for parameter in query.split(b"&") if _is_key(parameter)]
    for kind in (authorizations, api_keys, keys):
        if len(kind) > 1:
            raise AmbiguousCredentialsError
    bearer = [_bearer_token(value) for value in authorizations]
    found = [Credential("header", value) for value in (*bearer, *api_keys) if value]
    return found + [Credential("query", value) for value in keys if value]


def without_key(query: bytes) -> bytes:
    """`query` without its `key` parameter, however that is spelled; the rest byte for byte."""
    if b"k" not in query.lower() and b"%" not in query:
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_key(part))


def _is_key(parameter: bytes) -> bool:
    return unquote_to_bytes(parameter.partition(b"=")[0]) == b"key"


def _value(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[2])


def _bearer_token(authorization: bytes) -> bytes:
    """The token of `Bearer TOKEN` (scheme in any case, RFC 9110 section 11.1), else nothing."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip(b" ") if scheme.lower() == b"bearer" else b""
