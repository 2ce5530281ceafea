"""The client of an app, as it describes itself: nothing of that is verified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Protocol

KEY_DIGITS = 32
"""The hex digits of a key: 128 bits, so that nobody finds two clients with one key."""


@dataclass(frozen=True)
class Client:
    """A public client (RFC 6749 section 2.1). It has no secret: redirects and PKCE bind an answer to it."""

    id: str
    """The `client_id` as it stands in requests: a sealed registration, or the URL of a document."""
    name: str
    """How it calls itself: printable, and short; empty if it does not say."""
    redirect_uris: tuple[str, ...]
    """The places to which answers may go, each judged by `redirects.check_redirect_uri`."""
    document_host: str = ""
    """The host of the document that describes it, which only its owner can write; empty for a registered client."""

    @cached_property
    def key(self) -> str:
        """The client in everything that the gate keeps or seals."""
        return key_of(self.id)


class Named(Protocol):
    """A client as far as a grant knows it."""

    @property
    def key(self) -> str:
        """The client in everything that the gate keeps or seals."""

    @property
    def name(self) -> str:
        """How it calls itself."""


def key_of(client_id: str) -> str:
    """The key of the client with that id, whatever it is."""
    return sha256(client_id.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]
