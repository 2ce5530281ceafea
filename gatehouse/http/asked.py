"""Questions that the gate itself asks a server over HTTP, beside all that it forwards: an authorization server, for its
keys, its metadata, or about a token. The answers are JSON objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.http.fields import Headers


class Asked(NamedTuple):
    """An answer: whatever the status, but no redirect."""

    status: int
    headers: Headers
    document: Mapping[str, Any]
    """The JSON object in the body of a 200; empty with any other status, whose body nobody reads."""


class AskError(Exception):
    """There is no such answer. `words` say why, for the log: they hold no secret, and nothing that the server chose."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Ask(Protocol):
    """Asks servers. Both methods raise AskError, and return or raise in bounded time."""

    async def get_json(self, url: str) -> Asked:
        """The answer to a GET of the URL."""

    async def post_form(self, url: str, form: Mapping[str, str], fields: Headers) -> Asked:
        """The answer to a POST of the form to the URL, with these header fields, too."""
