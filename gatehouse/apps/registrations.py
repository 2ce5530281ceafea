"""Dynamic registration (RFC 7591) without a memory: the id of a client is its registration, sealed.

Anybody may register, as often as they like, and nothing grows by it. A client has no secret, so an id lets nobody in: a
person does, who is asked.
"""

from __future__ import annotations

import secrets
import unicodedata
from typing import TYPE_CHECKING, Any

from gatehouse.apps.client import Client
from gatehouse.apps.redirects import check_redirect_uri
from gatehouse.identity.clock import clock as unix_time
from gatehouse.signin.sealing import length_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.signin.sealing import Sealer

REGISTRATION_SECONDS = 10 * 365 * 86_400.0
"""How long a registration is good: clients keep their ids as long as they are installed."""

MAX_REDIRECT_URIS = 8
"""How many redirect URIs a client may have."""

MAX_NAME_LENGTH = 80
"""How much of a client's name is kept, in characters."""

MAX_REGISTRATION_BYTES = 1400
"""How long a registration may be as JSON: each request for an authorization has it in its URL, sealed."""

NONCE_BYTES = 12
"""Makes two registrations two clients, though they say the same."""


class RegistrationError(Exception):
    """The client cannot be registered: the code of RFC 7591 section 3.2.2, and words for its developer."""

    def __init__(self, error: str, words: str) -> None:
        super().__init__(words)
        self.error, self.words = error, words


class Registrations:
    """Registers clients, and reads their ids. `sealer` makes seals that hold for REGISTRATION_SECONDS."""

    def __init__(self, sealer: Sealer, *, clock: Callable[[], float] = unix_time) -> None:
        self._sealer = sealer
        self._clock = clock

    def register(self, document: Mapping[str, Any]) -> tuple[Client, dict[str, Any]]:
        """A new client by its own metadata, and the answer to it (RFC 7591 section 3.2.1). Raises RegistrationError."""
        name, uris = name_in(document), redirect_uris_in(document)
        content = {"n": name, "r": uris, "i": secrets.token_urlsafe(NONCE_BYTES)}
        if length_of(content) > MAX_REGISTRATION_BYTES:
            raise RegistrationError(
                "invalid_redirect_uri", "All redirect_uris together are too long."
            )
        now = self._clock()
        client = Client(self._sealer.seal(content, now + REGISTRATION_SECONDS), name, tuple(uris))
        answer = {
            "client_id": client.id,
            "client_id_issued_at": int(now),
            "redirect_uris": uris,
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        return client, answer | ({"client_name": name} if name else {})

    def find(self, client_id: str) -> Client | None:
        """The client of that id; None if it was not made here, or before the secret changed."""
        content = self._sealer.open(client_id)
        if content is None:
            return None
        name, uris = content.get("n"), content.get("r")
        if not isinstance(name, str) or not isinstance(uris, list):
            return None
        return Client(client_id, name, tuple(map(str, uris)))


def redirect_uris_in(document: Mapping[str, Any]) -> list[str]:
    """The redirect URIs of a client's metadata. Raises RegistrationError."""
    given = document.get("redirect_uris")
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise RegistrationError("invalid_redirect_uri", "redirect_uris must be a list of texts.")
    uris = list(dict.fromkeys(given))
    if not 0 < len(uris) <= MAX_REDIRECT_URIS:
        words = f"There must be one of redirect_uris, and {MAX_REDIRECT_URIS} at most."
        raise RegistrationError("invalid_redirect_uri", words)
    for number, uri in enumerate(uris, 1):
        try:
            check_redirect_uri(uri)
        except ValueError as error:
            words = f"Number {number} of redirect_uris {error}."
            raise RegistrationError("invalid_redirect_uri", words) from None
    return uris


def name_in(document: Mapping[str, Any]) -> str:
    """How a client calls itself, on one line, and short. Raises RegistrationError."""
    given = document.get("client_name")
    if given is None:  # as some clients write what they leave out
        return ""
    if not isinstance(given, str):
        raise RegistrationError("invalid_client_metadata", "client_name must be a text.")
    # Marks that turn the direction of text, controls and halves of characters could make the page around it lie.
    plain = "".join(" " if one.isspace() else one for one in given[: 8 * MAX_NAME_LENGTH])
    kept = "".join(one for one in plain if unicodedata.category(one)[0] != "C")
    return " ".join(kept.split())[:MAX_NAME_LENGTH].strip()
