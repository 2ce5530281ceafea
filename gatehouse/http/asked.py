"""Questions that the gate itself asks a server over HTTP, beside all that it forwards: an authorization server, for its
keys, its metadata, or about a token. The answers are JSON objects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from gatehouse.http.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.http.fields import Headers

MAX_URL_BYTES = 2048
"""How long the URL of a question may be. Servers accept this much, and none needs it."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class Asked(NamedTuple):
    """An answer: whatever the status, but no redirect."""

    status: int
    headers: Headers
    document: Mapping[str, Any]
    """The JSON object in the body of a 200; empty with any other status, whose body nobody reads."""


class AskError(Exception):
    """There is no such answer. `words` say why, for the log: they hold no secret, and of what the server
    chose at most a name, printable and short.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Ask(Protocol):
    """Asks servers. Both methods raise AskError, and return or raise in bounded time."""

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:
        """The answer to a GET of the URL, with these header fields, too."""

    async def post_form(self, url: str, form: Mapping[str, str], fields: Headers) -> Asked:
        """The answer to a POST of the form to the URL, with these header fields, too."""


class Place(NamedTuple):
    """Where a question goes: the parts of a URL. `target` is its path and query."""

    scheme: str
    host: str
    port: int
    target: str


def place_of(url: str) -> Place:
    """The parts of an absolute URL that the gate may ask: https, or http on loopback, where nobody is on the way.

    Raises AskError, with words that complete «URL: ...» and do not repeat the URL.
    """
    if len(url) > MAX_URL_BYTES or not _VISIBLE.fullmatch(url):
        raise AskError("it is no URL, or too long a one: that has visible ASCII characters only")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AskError("its host or its port is none") from None
    scheme, host = parts.scheme, parts.hostname or ""
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise AskError("it must begin with https://, or with http:// and a loopback address")
    if "@" in parts.netloc or "#" in url:
        raise AskError("it may hold no user name, no password and no fragment")
    if not _HOST.fullmatch(host) or port == 0:
        raise AskError("its host or its port is none")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(scheme, host, port or _DEFAULT_PORTS[scheme], target)
