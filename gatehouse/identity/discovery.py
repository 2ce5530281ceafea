"""Where an authorization server has its keys, and the keys: at a URL that is given, or one that its metadata name.

The issuer's metadata are at one of three places (RFC 8414 sections 3.1 and 5; OpenID Connect Discovery 1.0 section 4).
They count only if they are of that very issuer, and nothing is taken from them but `jwks_uri`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import trio

from gatehouse.http.asked import AskError, place_of
from gatehouse.http.fields import values_of
from gatehouse.http.mcp import printable
from gatehouse.identity.keys import FetchedKeys

if TYPE_CHECKING:
    from gatehouse.http.asked import Ask, Asked
    from gatehouse.http.fields import Headers

FIND_AGAIN_SECONDS = 1800.0
"""How long a `jwks_uri` counts before the metadata are asked again. Servers move their keys once in years."""

MAX_AGE_SECONDS = 2**31
"""The age that stands for all that are greater (RFC 9111 section 1.2.2)."""

_DIRECTIVE = re.compile(rb'\s*max-age\s*=\s*("?)([0-9]+)\1\s*', re.IGNORECASE)


class KeysAt:
    """The keys at a URL."""

    def __init__(self, ask: Ask, url: str) -> None:
        self._ask = ask
        self._url = url

    async def fetch(self) -> FetchedKeys:
        """Fetch them once. Raises AskError."""
        return await fetched(self._ask, self._url)


class Found(NamedTuple):
    """A `jwks_uri`, and when it was found."""

    url: str
    at: float


class KeysOf:
    """The keys of an issuer, whose metadata say where they are.

    That place is remembered, so that fetching them again is one question; it is found again when that question fails,
    and every FIND_AGAIN_SECONDS.
    """

    def __init__(self, ask: Ask, issuer: str) -> None:
        self._ask = ask
        self._issuer = issuer
        self._found = Found("", -math.inf)

    async def fetch(self) -> FetchedKeys:
        """Fetch them once, with up to five questions. Raises AskError, with words that say what to do."""
        known, failure = self._found.url, None
        if trio.current_time() - self._found.at < FIND_AGAIN_SECONDS:
            try:
                return await fetched(self._ask, known)
            except AskError as error:
                failure = error
        try:
            url = await self._find()
        except AskError as error:
            if failure is not None or not known:
                raise (failure or error) from None
            url = known  # the metadata are away, and the keys may be there
        if failure is not None and url == known:
            raise failure
        keys = await fetched(self._ask, url)
        self._found = Found(url, trio.current_time())
        return keys

    async def _find(self) -> str:
        """The issuer's `jwks_uri`. Raises AskError if no metadata name one that may be asked."""
        troubles: dict[str, list[str]] = {}
        for url in metadata_urls(self._issuer):
            try:
                return self._jwks_uri(await self._ask.get_json(url))
            except AskError as error:
                troubles.setdefault(error.words, []).append(url)
        told = "; ".join(f"{' and '.join(urls)}: {words}" for words, urls in troubles.items())
        raise AskError(
            f"no metadata of AUTH_ISSUER say where its keys are (if it has none, set AUTH_JWKS_URL): {told}"
        )

    def _jwks_uri(self, asked: Asked) -> str:
        """The `jwks_uri` in metadata of our issuer. Raises AskError."""
        if asked.status != 200:
            raise AskError(f"it answers {asked.status}")
        named, url = asked.document.get("issuer"), asked.document.get("jwks_uri")
        if named != self._issuer:
            raise AskError(
                f"these are the metadata of another issuer, {shown(named)}; AUTH_ISSUER must be the same, letter for letter"
            )
        if not isinstance(url, str):
            raise AskError("its metadata name no jwks_uri")
        try:
            place = place_of(url)
        except AskError as error:
            raise AskError(f"its jwks_uri may not be asked: {error.words}") from None
        if place.scheme == "http" and place_of(self._issuer).scheme == "https":
            raise AskError("its jwks_uri may not be asked: it must begin with https://")
        return url


def shown(name: object) -> str:
    """The issuer that metadata name, for the log."""
    return f"«{printable(name)}»" if isinstance(name, str) else "which they do not name"


def metadata_urls(issuer: str) -> list[str]:
    """Where the metadata of the issuer may be, the best place first. Raises AskError for one that cannot have any."""
    place_of(issuer)
    if "?" in issuer:
        raise AskError("AUTH_ISSUER may have no query (RFC 8414 section 2)")
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    origin, path = f"{scheme}://{host}", f"/{path}".rstrip("/")
    urls = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    return list(dict.fromkeys(urls))


async def fetched(ask: Ask, url: str) -> FetchedKeys:
    """The keys at the URL. Raises AskError, with words that name the place, but no query: it may hold a secret."""
    place = printable(url.partition("?")[0])
    try:
        asked = await ask.get_json(url)
    except AskError as error:
        raise AskError(f"{place}: {error.words}") from None
    if asked.status != 200:
        raise AskError(f"{place}: where its keys should be, it answers {asked.status}")
    if not asked.document.get("keys"):
        raise AskError(f"{place}: where its keys should be, there are none")
    return FetchedKeys(asked.document, max_age(asked.headers))


def max_age(headers: Headers) -> float | None:
    """For how many seconds more the answer is fresh (RFC 9111 sections 4.2 and 5.2.2.1); None if it does not say so.

    Of several ages the least counts. A cache on the way may have kept the answer for a while: its Age goes off.
    """
    directives = b",".join(values_of(headers, b"cache-control")).split(b",")
    ages = [_seconds(match[2]) for each in directives if (match := _DIRECTIVE.fullmatch(each))]
    if not ages:
        return None
    kept = [_seconds(age) for age in values_of(headers, b"age") if age.isdigit()]
    return max(0.0, min(ages) - max(kept, default=0.0))


def _seconds(digits: bytes) -> float:
    return float(MAX_AGE_SECONDS if len(digits) > 10 else min(int(digits), MAX_AGE_SECONDS))
