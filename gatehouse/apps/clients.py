"""All clients, by their ids: those that have registered here, and those that a document at a URL describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.apps.documents import DocumentError, is_document_url

if TYPE_CHECKING:
    from gatehouse.apps.client import Client
    from gatehouse.apps.documents import Documents
    from gatehouse.apps.registrations import Registrations

MAX_ID_LENGTH = 3840
"""How long an id may be, in characters: a sealed registration is shorter."""

UNKNOWN = (
    "The app is not known here: it has registered elsewhere, or before the gate's secret changed. Take this server out of "
    "the app, and add it again."
)


class ClientError(Exception):
    """There is no such client: a sentence for the person, and the status and the reason of the answer."""

    def __init__(self, words: str, *, status: int = 400, reason: str = "client") -> None:
        super().__init__(words)
        self.words, self.status, self.reason = words, status, reason


class Clients:
    """Finds clients. An id that is a URL leads to a document; any other one is a registration."""

    def __init__(self, registrations: Registrations, documents: Documents) -> None:
        self._registrations = registrations
        self._documents = documents

    async def find(self, client_id: str, address: str, person: str = "") -> Client:
        """The client of that id, for somebody at that address, or for the person of that id. Raises ClientError, in
        bounded time.
        """
        if is_document_url(client_id):
            try:
                return await self._documents.find(client_id, address, person)
            except DocumentError as error:
                raise ClientError(error.words, status=error.status, reason=error.reason) from None
        client = self._registered(client_id)
        if client is None:
            raise ClientError(UNKNOWN)
        return client

    def knows(self, client_id: str) -> bool:
        """True if there may be such a client, as far as that can be told without a question to anybody."""
        return is_document_url(client_id) or self._registered(client_id) is not None

    def _registered(self, client_id: str) -> Client | None:
        return self._registrations.find(client_id) if len(client_id) <= MAX_ID_LENGTH else None
