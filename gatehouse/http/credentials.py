"""The credentials that a request presents.

Three places may hold the token, because clients and fronts leave no common one: `Authorization:
Bearer` (RFC 6750 section 2.1), `X-API-Key` (where a front owns `Authorization`), and the query
parameter `key` (for clients that cannot send headers). One good credential is enough, whatever
stands in the other places.

A header field that may carry a credential is declared once, in `CARRIERS`: it is read as the row says, web
pages may send it, and it never reaches the upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CredentialKind = Literal["bearer", "api-key", "url-key"]
"""The kinds of credentials. A verifier says which of them it judges."""

Lane = Literal["header", "query"]
"""Where a token may be: in a header field (`Authorization`, `X-API-Key`), or in the URL."""

LANES: frozenset[Lane] = frozenset(get_args(Lane))


class AmbiguousCredentialsError(Exception):
    """The same kind of credential came twice. RFC 6750 section 3.1: invalid_request, 400."""


class Credential(NamedTuple):
    """A presented value, and how it came."""

    kind: CredentialKind
    value: bytes

    @property
    def lane(self) -> Lane:
        """Where it stood."""
        return "query" if self.kind == "url-key" else "header"

    def __repr__(self) -> str:
        """Its kind: whoever shows it must not show its value."""
        return f"<Credential {self.kind}>"


class Carrier(NamedTuple):
    """A header field that carries credentials: its name, their kind, and how to read its value.

    `read` returns the credential in a value, or nothing if there is none of that kind.
    """

    name: bytes
    kind: CredentialKind
    read: Callable[[bytes], bytes]


def bearer_token(authorization: bytes) -> bytes:
    """The token of `Bearer TOKEN` (scheme in any case, RFC 9110 section 11.1), else nothing."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip(b" ") if scheme.lower() == b"bearer" else b""


CARRIERS = (
    Carrier(b"Authorization", "bearer", bearer_token),
    Carrier(b"X-API-Key", "api-key", bytes),
)
_BY_FIELD = tuple((carrier.name.lower(), carrier.kind, carrier.read) for carrier in CARRIERS)

CREDENTIAL_FIELDS = frozenset(
    {field for field, _, _ in _BY_FIELD}
    | {b"x-hf-authorization"}  # opens a private Space; its edge takes it off, and so do we
)
"""The header fields that never reach the upstream, because they may hold a secret of the client's."""


def credentials_in(
    values: Mapping[bytes, Sequence[bytes]], keys: Sequence[bytes]
) -> tuple[Credential, ...]:
    """The credentials that a request presents, those in header fields first; possibly none.

    Takes the values of the header fields by name (in lower case), and the keys in the URL. Raises
    AmbiguousCredentialsError if one kind of credential occurs twice, even with equal values.
    """
    found: list[Credential] = []
    for field, kind, read in _BY_FIELD:
        presented = values.get(field, ())
        if len(presented) > 1:
            raise AmbiguousCredentialsError
        if presented and (value := read(presented[0])):
            found.append(Credential(kind, value))
    if len(keys) > 1:
        raise AmbiguousCredentialsError
    if keys and keys[0]:
        found.append(Credential("url-key", keys[0]))
    return tuple(found)


def without_key(query: bytes) -> tuple[bytes, list[bytes]]:
    """`query` without its `key` parameters, however they are spelled, the rest byte for byte; and their values."""
    if b"k" not in query and b"%" not in query:
        return query, []
    rest: list[bytes] = []
    keys: list[bytes] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"key" or (b"%" in name and unquote_to_bytes(name) == b"key"):
            keys.append(unquote_to_bytes(value))
        else:
            rest.append(part)
    return b"&".join(rest), keys
