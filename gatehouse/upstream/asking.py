"""Questions of the gate's own to a server elsewhere: one connection for each, and bounds for all that comes back.

The way there is that of calls (`network`, `tls`), with its limits for heads, framing and small pieces. No redirect is
followed, no proxy variable obeyed, no cookie kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import httpx
import trio

from gatehouse.http.asked import Asked, AskError, Place, place_of
from gatehouse.http.fields import values_of
from gatehouse.http.reply import CLOSE_CONNECTION
from gatehouse.upstream.answers import SpeaksTLSError
from gatehouse.upstream.network import Transports
from gatehouse.upstream.tls import NO_TRUST, Tls
from gatehouse.upstream.transport import SAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.http.fields import Headers

MAX_SECONDS = 5.0
"""How long one question may take, from the look-up of the name to the last byte of the answer."""

MAX_ANSWER_BYTES = 256 * 1024
"""How large an answer may be. A hundred RSA keys with certificates take less."""

MAX_PARTS = 5000
"""How many objects, lists and commas an answer may have: reading as many takes 5 ms, in which nobody else has a turn.
A hundred keys have 1,500."""

MAX_PLACES = 8
"""How many servers are remembered: addresses, and the certificate authorities, which take 35 ms to read."""

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
ALWAYS: Headers = [
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"mcp-gate"),  # some servers refuse whoever has no name
    CLOSE_CONNECTION,
]

REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})

_OUR_WORDS = {
    NO_TRUST: "nobody whom this machine trusts has signed its certificate; if your own certificate authority has, "
    "name a file of all authorities to trust in SSL_CERT_FILE",
    SAYS[
        SpeaksTLSError
    ]: "it speaks TLS, and the gate asks it without: write the URL with https://",
}
"""The words for a few troubles name settings of the upstream; here are those for any other server."""


class Asking:
    """Asks servers, as `Ask` says. Certificates are judged by the authorities of this machine.

    A question takes `max_seconds` at most, and an answer has `max_bytes`. `takes` says which addresses may be asked; without
    it, all.
    """

    def __init__(
        self,
        *,
        max_seconds: float = MAX_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        self._max_seconds, self._max_bytes, self._takes = max_seconds, max_bytes, takes
        self._ways: dict[tuple[str, str, int], Transports] = {}
        self._limiter = trio.CapacityLimiter(1)

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:
        """The answer to a GET of the URL, with these header fields, too. Raises AskError."""
        return await self._ask("GET", place_of(url), b"", fields or [])

    async def post_form(self, url: str, form: Mapping[str, str], fields: Headers) -> Asked:
        """The answer to a POST of the form to the URL, with these header fields, too. Raises AskError."""
        body = urlencode(form).encode("ascii")
        framing = [FORM, (b"Content-Length", b"%d" % len(body))]
        return await self._ask("POST", place_of(url), body, [*framing, *fields])

    async def _ask(self, method: str, place: Place, body: bytes, fields: Headers) -> Asked:
        with trio.move_on_after(self._max_seconds):
            try:
                return await self._exchange(method, place, body, fields)
            except httpx.HTTPError as error:
                words = str(error)
                raise AskError(_OUR_WORDS.get(words, words)) from error
        raise AskError(f"it did not answer within {self._max_seconds:g} s")

    async def _exchange(self, method: str, place: Place, body: bytes, fields: Headers) -> Asked:
        way = await self._way_to(place)
        request = httpx.Request(
            method,
            httpx.URL("http://server"),  # the connection knows better
            headers=[(b"Host", way.authority.encode("ascii")), *ALWAYS, *fields],
            stream=httpx.ByteStream(body),
            extensions={"target": place.target.encode("ascii")},
        )
        transport = await way.take()
        try:
            response = await transport.handle_async_request(request)
            status, headers = response.status_code, response.headers.raw
            if status in REDIRECTS:
                raise AskError(
                    f"it answers {status}, and the gate follows no redirect: set the URL to which it leads"
                )
            return Asked(status, headers, await self._document(response) if status == 200 else {})
        finally:
            await transport.release(whole=False)

    async def _way_to(self, place: Place) -> Transports:
        """The way to that server, with nothing open between questions."""
        scheme, host, port, _ = place
        key = scheme, host, port
        if key not in self._ways:
            tls = (
                await trio.to_thread.run_sync(
                    Tls, host, None, abandon_on_cancel=True, limiter=self._limiter
                )
                if scheme == "https"
                else None
            )
            while len(self._ways) >= MAX_PLACES:
                del self._ways[next(iter(self._ways))]
            self._ways[key] = Transports(host, port, idle_seconds=0, tls=tls, takes=self._takes)
        return self._ways[key]

    async def _document(self, response: httpx.Response) -> dict[str, Any]:
        """The JSON object that the body is. Raises AskError."""
        codings = values_of(response.headers.raw, b"content-encoding")
        if any(coding.strip().lower() != b"identity" for coding in codings):
            raise AskError("it compresses its answer, though it was asked not to")
        pieces, size = [], 0
        async for piece in cast("httpx.AsyncByteStream", response.stream):
            size += len(piece)
            if size > self._max_bytes:
                raise AskError(f"its answer is larger than {self._max_bytes // 1024} KiB")
            pieces.append(piece)
        return object_in(b"".join(pieces))


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are. Raises AskError.

    A member that stands there twice could mean either (RFC 8259 section 4), and `NaN` is no JSON.
    """
    if sum(map(body.count, (b"{", b"[", b","))) > MAX_PARTS:
        raise AskError("its answer has too many parts")
    try:
        found = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no)
        if b"\\u" in body:  # half a character cannot be written anywhere
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise AskError("it answers with no JSON object: is the URL right?") from None
    if not isinstance(found, dict):
        raise AskError("it answers with JSON that is no object: is the URL right?")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AskError("in its answer a member stands twice, and nobody knows which one counts")
    return found


def _no(constant: str) -> Any:
    raise ValueError(constant)
