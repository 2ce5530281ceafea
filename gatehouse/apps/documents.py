"""Clients that describe themselves by a document at a URL of theirs, which is their id
(draft-ietf-oauth-client-id-metadata-document).

A stranger chooses the URL, and the gate fetches it: https at its usual port and at public addresses only, judged on the
very connection; no redirect, MAX_BYTES, MAX_SECONDS. Documents are kept for as long as they say, within bounds.

All clients here are public ones. One that could prove itself by a key of its own (`private_key_jwt`) is taken without:
its answers go to its redirect URIs only, and a code is of no use without its verifier.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import trio

from gatehouse.apps.client import Client
from gatehouse.apps.registrations import RegistrationError, name_in, redirect_uris_in
from gatehouse.http.address import address_group
from gatehouse.http.asked import AskError
from gatehouse.http.fields import values_of
from gatehouse.identity.at_once import AtOnce
from gatehouse.identity.rate import Rate
from gatehouse.policy.counting import counts_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.http.asked import Asked
    from gatehouse.http.fields import Headers

MAX_BYTES = 5 * 1024
"""How large a document may be (section 6.6 of the draft)."""

MAX_SECONDS = 3.0
"""How long one may take, from the look-up of the name to the last byte: a person waits for the page."""

MAX_URL_LENGTH = 512
"""How long such an id may be, in characters."""

MAX_KEPT = 256
"""How many documents are kept. One more takes the place of the one that nobody has asked for longest."""

MIN_FRESH_SECONDS, USUAL_FRESH_SECONDS, MAX_FRESH_SECONDS = 300.0, 3600.0, 86_400.0
"""How long a document is fresh: as long as `max-age` says, between the first and the last; if it says nothing, an hour."""

STALE_SECONDS = 86_400.0
"""How much longer one is used while no newer one can be had."""

BAD_SECONDS = 60.0
"""How long a document that was no good, or did not come, is not asked for again."""

MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE, MAX_WAIT_SECONDS = 8, 2, 2.0
"""How many are fetched at a time, for strangers and for people: in all, and for one of them; and how long a request
waits for its turn."""

OF_ONE = Rate(20, 60, 20)
"""How many documents one address, or one person, may have fetched."""

OF_HOST = Rate(60, 60, 60)
"""How often one host is asked for strangers, whoever they are, and as often for people: the gate is no tool to flood
somebody with."""

MAX_COUNTED = 4096
"""How many addresses and people, and how many hosts, have their fetches counted."""

_URL = re.compile(
    r"https://[a-z0-9.-]{1,253}(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)+(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_DOTS = re.compile(r"/(?:\.|%2[Ee]){1,2}(?:[/?]|$)")
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=([0-9]{1,9})(?:[,\s]|$)", re.IGNORECASE)
_SECRET = "client_secret"  # noqa: S105 - the beginning of the names of ways to prove oneself


class DocumentError(Exception):
    """There is no such client now: a sentence for the person, and the status and the reason of the answer."""

    def __init__(self, words: str, *, status: int, reason: str) -> None:
        super().__init__(words)
        self.words, self.status, self.reason = words, status, reason


class AskJson(Protocol):
    """Asks a server, within the bounds above. Raises AskError."""

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:
        """The answer to a GET of the URL."""


class _Kept(NamedTuple):
    client: Client | None
    """None if there was no good document."""
    fresh_until: float
    words: str = ""


_NO_ROOM = _Kept(
    None,
    0.0,
    "The gate reads too many descriptions of apps at this moment. Wait a minute, and try again.",
)


class _Room:
    """How much is fetched for strangers, or for people: neither take anything from the others."""

    def __init__(self) -> None:
        self.at_once = AtOnce(MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE)
        self.of_one = counts_in_memory(MAX_COUNTED)
        self.of_host = counts_in_memory(MAX_COUNTED)


class Documents:
    """Fetches documents with `ask`, and keeps them."""

    def __init__(self, ask: AskJson, *, clock: Callable[[], float] = trio.current_time) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bad: OrderedDict[str, _Kept] = OrderedDict()
        self._of_strangers, self._of_people = _Room(), _Room()

    async def find(self, url: str, address: str, person: str = "") -> Client:
        """The client of a URL that `is_document_url`, for somebody at that address, or for the person of that id, who waits
        for no stranger. Raises DocumentError.
        """
        kept, now = self._kept.get(url), self._clock()
        if kept is not None:
            self._kept.move_to_end(url)
            if kept.client is not None and now < kept.fresh_until:
                return kept.client
        bad = self._bad.get(url)
        if bad is None or now >= bad.fresh_until:
            bad = await self._fetch(url, address, person)
        if bad is None:
            client = self._kept[url].client
        else:
            usable = kept is not None and now < kept.fresh_until + STALE_SECONDS
            client = kept.client if kept is not None and usable else None
        if client is None:
            if bad is _NO_ROOM:
                raise DocumentError(bad.words, status=429, reason="client-documents")
            words = bad.words if bad else ""
            end = "" if words.endswith("?") else "."
            raise DocumentError(
                f"The app says who it is by a document, and that cannot be used: {words}{end}",
                status=400,
                reason="client-document",
            )
        return client

    async def _fetch(self, url: str, address: str, person: str) -> _Kept | None:
        """Fetch the document; None if it is kept now, else why it is not."""
        room = self._of_people if person else self._of_strangers
        group, host = person or address_group(address), urlsplit(url).hostname or ""
        wait = room.of_one.take(group, OF_ONE) or room.of_host.take(host, OF_HOST)
        if wait is not None or not await room.at_once.enter(group, MAX_WAIT_SECONDS):
            return _NO_ROOM
        try:
            asked = await self._ask.get_json(url)
            client = client_in(asked, url)
        except AskError as error:
            return self._keep_bad(url, error.words)
        finally:
            room.at_once.leave(group)
        self._bad.pop(url, None)
        _put(self._kept, url, _Kept(client, self._clock() + fresh_seconds(asked.headers)))
        return None

    def _keep_bad(self, url: str, words: str) -> _Kept:
        bad = _Kept(None, self._clock() + BAD_SECONDS, words)
        _put(self._bad, url, bad)
        return bad


def is_document_url(client_id: str) -> bool:
    """True if an id is such a URL: https, a name in small letters, no port, a path, no dot segments, no fragment."""
    if len(client_id) > MAX_URL_LENGTH or not _URL.fullmatch(client_id):
        return False
    return not _DOTS.search(client_id) and urlsplit(client_id).path != "/"


def client_in(asked: Asked, url: str) -> Client:
    """The client that a document at `url` describes. Raises AskError, in words that repeat nothing of it."""
    if asked.status != 200:
        raise AskError(f"its server answers {asked.status}")
    document: Mapping[str, Any] = asked.document
    if document.get("client_id") != url:
        raise AskError("it is about another client_id than its own URL")
    method = document.get("token_endpoint_auth_method", "none")
    if not isinstance(method, str) or method.startswith(_SECRET) or _SECRET in document:
        raise AskError("it speaks of a secret, which no public document can keep")
    try:
        uris, name = redirect_uris_in(document), name_in(document)
    except RegistrationError as error:
        raise AskError(error.words.removesuffix(".")) from None
    return Client(url, name, tuple(uris), urlsplit(url).hostname or "")


def fresh_seconds(headers: Headers) -> float:
    """How long a document with these header fields is fresh."""
    told = b",".join(values_of(headers, b"cache-control"))
    found = _MAX_AGE.search(told)
    seconds = float(found[1]) if found else USUAL_FRESH_SECONDS
    return min(max(seconds, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)


def _put(table: OrderedDict[str, _Kept], url: str, kept: _Kept) -> None:
    table[url] = kept
    table.move_to_end(url)
    while len(table) > MAX_KEPT:
        table.popitem(last=False)
