"""The description of an OpenID provider by itself (OpenID Connect Discovery 1.0), as far as the gate uses it.

The document counts only if it is of that very issuer, and each place in it must be one that may be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gatehouse.http.asked import AskError, place_of
from gatehouse.identity.discovery import shown
from gatehouse.identity.public_keys import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gatehouse.http.asked import Ask

OPENID = "/.well-known/openid-configuration"

OURS = frozenset(
    {
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
)
"""The parameters that the gate adds to the URL where people sign in. The provider's own must be others."""


class MetadataError(AskError):
    """A document was there, and it is no good."""


class ProviderMetadata(NamedTuple):
    """Where the parts of a provider are, and how it wants to be asked."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    """Empty if there is none."""
    posts_secret: bool
    """True if a client can prove itself only by its secret in the form (`client_secret_post`)."""
    tells_issuer: bool
    """True if the provider names itself in every answer to a browser (RFC 9207 section 3)."""


async def fetched_metadata(ask: Ask, issuer: str) -> ProviderMetadata:
    """The metadata of the issuer. Raises AskError if nobody says them, and MetadataError if they are no good."""
    if "?" in issuer:
        raise MetadataError("an issuer may have no query (OpenID Connect Discovery section 2)")
    asked = await ask.get_json(issuer.removesuffix("/") + OPENID)
    if asked.status != 200:
        kind = MetadataError if asked.status < 500 and asked.status != 429 else AskError
        raise kind(f"{OPENID} of the issuer answers {asked.status}")
    return read_metadata(asked.document, issuer)


def read_metadata(document: Mapping[str, Any], issuer: str) -> ProviderMetadata:
    """The metadata in a document. Raises MetadataError, with words that say what is wrong."""
    if document.get("issuer") != issuer:
        raise MetadataError(
            f"these are the metadata of another issuer, {shown(document.get('issuer'))}; SIGN_IN must be the same, letter for letter"
        )
    _check_offers(document)
    authorize = _place("authorization_endpoint", document, issuer)
    own = {name for name, _ in parse_qsl(urlsplit(authorize).query, keep_blank_values=True)}
    if not own.isdisjoint(OURS):
        raise MetadataError("its authorization_endpoint has a parameter that is the client's")
    told = _listed("token_endpoint_auth_methods_supported", document)
    ways = frozenset({"client_secret_basic"}) if told is None else told
    if {"client_secret_basic", "client_secret_post"}.isdisjoint(ways):
        raise MetadataError("it takes no client that proves itself by a secret")
    has_userinfo = document.get("userinfo_endpoint") is not None
    return ProviderMetadata(
        authorize,
        _place("token_endpoint", document, issuer),
        _place("jwks_uri", document, issuer),
        _place("userinfo_endpoint", document, issuer) if has_userinfo else "",
        posts_secret="client_secret_basic" not in ways,
        tells_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _check_offers(document: Mapping[str, Any]) -> None:
    """Refuse a provider that says it cannot do what the gate needs."""
    needs: tuple[tuple[str, Collection[str], str], ...] = (
        ("response_types_supported", {"code"}, "it has no sign-in by a code"),
        ("code_challenge_methods_supported", {"S256"}, "it does not know PKCE with S256"),
        (
            "id_token_signing_alg_values_supported",
            ALGORITHMS,
            "it signs ID tokens in no way that the gate can verify with a public key",
        ),
    )
    for name, needed, words in needs:
        offered = _listed(name, document)
        if offered is not None and offered.isdisjoint(needed):
            raise MetadataError(f"{words} ({name})")


def _listed(name: str, document: Mapping[str, Any]) -> frozenset[str] | None:
    """The texts in a list; None if the provider does not say. Raises MetadataError if it is no such list."""
    given = document.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise MetadataError(f"its {name} is no list of words")
    return frozenset(given)


def _place(name: str, document: Mapping[str, Any], issuer: str) -> str:
    """The URL of that name. Raises MetadataError if it may not be asked."""
    url = document.get(name)
    if not isinstance(url, str):
        raise MetadataError(f"its metadata name no {name}")
    try:
        place = place_of(url)
    except AskError as error:
        raise MetadataError(f"its {name} is no place to go: {error.words}") from None
    if place.scheme == "http" and place_of(issuer).scheme == "https":
        raise MetadataError(f"its {name} is no place to go: it must begin with https://")
    return url
