"""Questions of the gate's own to a server: whatever that does, there is a bounded answer, or words for the log."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit

import pytest
import trio

from gatehouse.http.asked import AskError
from gatehouse.identity.discovery import KeysOf
from gatehouse.identity.introspection import UNAVAILABLE, Introspection
from gatehouse.identity.jwt import Bad, Rules, Verified
from gatehouse.upstream.asking import MAX_ANSWER_BYTES, Asking
from gatehouse.upstream.public import is_public
from tests.harness.certificates import authority
from tests.harness.identity.authorization_server import (
    AUDIENCE,
    CLIENT_ID,
    CLIENT_SECRET,
    INTROSPECTION,
    authorization_server,
)
from tests.harness.wire import Head, Peer, Upstream, answer, until_gone

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[[Peer, Head], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def server(
    script: Script | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Upstream, str]]:
    """A scripted server, and its URL."""
    scripted = Upstream(script, tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(scripted.serve)
        yield scripted, f"http{'s' if tls else ''}://127.0.0.1:{scripted.port}"
        nursery.cancel_scope.cancel()


def says(raw: bytes) -> Script:
    """A script that says just this, and ends the connection."""

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        with suppress(trio.BrokenResourceError):
            await peer.send(raw)
        await peer.stream.aclose()

    return script


def repeats(first: bytes, piece: bytes, seconds: float = 0.0) -> Script:
    """A script that never ends by itself."""

    async def script(peer: Peer, head: Head) -> None:
        await peer.send(first)
        while True:
            await peer.send(piece)
            await trio.sleep(seconds)

    return script


async def hangs(peer: Peer, head: Head) -> None:
    await until_gone(peer)


async def test_a_question_goes_out_bare_on_a_connection_of_its_own() -> None:
    async with server(answer(b'\xef\xbb\xbf{"keys": [{"kid": "\xc3\xa9"}]}', b"X-Made: up")) as (
        it,
        url,
    ):
        ask = Asking()
        asked = await ask.get_json(url + "/keys?p=1")
        assert (asked.status, asked.document) == (200, {"keys": [{"kid": "é"}]})
        assert (b"X-Made", b"up") in asked.headers
        form = {"token": "a+b/c=~", "token_type_hint": "access_token"}
        await ask.post_form(url, form, [(b"Authorization", b"Basic eDp5")])
        get, post = it.heads
        assert it.connections == 2
    assert get.start_line == b"GET /keys?p=1 HTTP/1.1"
    assert get.fields == [
        (b"Host", url.removeprefix("http://").encode()),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"User-Agent", b"mcp-gate"),
        (b"Connection", b"close"),
    ]
    assert post.start_line == b"POST / HTTP/1.1"
    assert post.get(b"Content-Length") == b"%d" % len(
        "token=a%2Bb%2Fc%3D~&token_type_hint=access_token"
    )
    assert post.get(b"Content-Type") == b"application/x-www-form-urlencoded"
    assert post.get(b"Authorization") == b"Basic eDp5"


async def test_a_status_other_than_200_is_an_answer_and_nobody_reads_its_body() -> None:
    script = repeats(
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.01
    )
    async with server(script) as (_, url):
        asked = await Asking().get_json(url)
    assert (asked.status, asked.document) == (503, {})


NO_JSON = "it answers with no JSON object: is the URL right?"
BAD_ANSWERS = {
    "HTML": (answer(b"<!doctype html><title>Sign in</title>"), NO_JSON),
    "nothing": (answer(b""), NO_JSON),
    "half an object": (answer(b'{"keys": ['), NO_JSON),
    "a list": (answer(b"[]"), "it answers with JSON that is no object: is the URL right?"),
    "not UTF-8": (answer(json.dumps({}).encode("utf-16")), NO_JSON),
    "half a character": (answer(b'{"sub": "\\ud800"}'), NO_JSON),
    "a constant of JavaScript's": (answer(b'{"exp": Infinity}'), NO_JSON),
    "nesting": (answer(b'{"a":' * 4_900), NO_JSON),
    "a heap": (answer(b'{"a": [%s]}' % (b"[]," * 3000)), "its answer has too many parts"),
    "a long number": (answer(b'{"exp": %s}' % (b"9" * 100_000)), NO_JSON),
    "a member twice": (
        answer(b'{"a": [{"active": false, "active": true}]}'),
        "in its answer a member stands twice, and nobody knows which one counts",
    ),
    "compressed": (
        answer(b"x", b"Content-Encoding: gzip"),
        "it compresses its answer, though it was asked not to",
    ),
    "too large": (
        answer(b'{"a": "%s"}' % (b"x" * MAX_ANSWER_BYTES)),
        "its answer is larger than 256 KiB",
    ),
    "a large length": (
        says(OK + b"Content-Length: 9000000\r\n\r\n" + bytes(300_000)),
        "its answer is larger than 256 KiB",
    ),
    "no end": (
        repeats(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"),
        "its answer is larger than 256 KiB",
    ),
    "a length that is a lie": (
        says(OK + b"Content-Length: 9\r\n\r\n{}"),
        "what came is no HTTP, or ended too early",
    ),
    "a flood of fields": (
        repeats(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 100),
        "a flood of small pieces, fields, framing or interim answers",
    ),
    "a flood of interim answers": (
        repeats(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        "a flood of small pieces, fields, framing or interim answers",
    ),
    "TLS without being asked": (
        says(b"\x15\x03\x01\x00\x02\x02\x46"),
        "it speaks TLS, and the gate asks it without: write the URL with https://",
    ),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
async def test_a_bad_answer_is_told_in_words_of_ours(kind: str) -> None:
    script, words = BAD_ANSWERS[kind]
    async with server(script) as (_, url):
        with pytest.raises(AskError) as caught:
            await Asking().get_json(url)
    assert caught.value.words == words


async def test_no_redirect_is_followed() -> None:
    async with server() as (other, elsewhere):
        field = b"Location: " + elsewhere.encode()
        for status in (b"301 Moved", b"302 Found", b"303 See Other", b"307 Again", b"308 Moved"):
            async with server(answer(b"{}", field, status=status)) as (_, url):
                with pytest.raises(AskError, match="follows no redirect"):
                    await Asking().get_json(url)
        assert other.connections == 0


async def test_no_server_takes_more_than_the_time_that_there_is() -> None:
    slow = [hangs, repeats(OK, b"A", 0.05), repeats(CHUNKED, b"1\r\n \r\n", 0.05)]
    begun = trio.current_time()

    async def try_(script: Script) -> None:
        async with server(script) as (it, url):
            with pytest.raises(AskError, match="it did not answer within"):
                await Asking(max_seconds=0.4).get_json(url)
            await it.gone.wait()  # nothing stays open

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for script in slow:
                nursery.start_soon(try_, script)
    assert trio.current_time() - begun < 5


async def test_certificates_are_judged_by_the_authorities_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server(answer(b'{"a": 1}'), authority().server()) as (it, url):
        with pytest.raises(
            AskError, match="name a file of all authorities to trust in SSL_CERT_FILE"
        ):
            await Asking().get_json(url)
        assert it.heads == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority().file))
        ask = Asking()
        assert (await ask.get_json(url)).document == (await ask.get_json(url)).document == {"a": 1}
        with pytest.raises(AskError, match=r"no HTTP|the connection broke"):
            await ask.get_json(url.replace("https", "http"))
    with pytest.raises(AskError, match="nobody listens there"):
        await ask.get_json(url)


async def test_proxies_and_cookies_are_none_of_its_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server(answer(b"{}", b"Set-Cookie: a=b")) as (it, url):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        ask = Asking()
        await ask.get_json(url)
        await ask.get_json(url)
        assert [head.get(b"Cookie") for head in it.heads] == [None, None]


async def test_keys_and_opaque_tokens_are_asked_of_a_server_that_dies_and_comes_back() -> None:
    with authorization_server("/tenant") as it:
        ask = Asking()
        keys = KeysOf(ask, it.issuer)
        introspection = Introspection(
            ask,
            Rules(it.issuer, [AUDIENCE], ()),
            url=it.url + INTROSPECTION,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            seconds=0,
        )
        it.introspects["opaque"] = {"active": True, **it.claims()}
        assert (await keys.fetch()).document == {"keys": [each.jwk for each in it.keys]}
        assert isinstance(await introspection.verify(b"opaque", "192.0.2.1"), Verified)
        assert await introspection.verify(b"unknown", "192.0.2.1") == Bad("inactive")
        given = b64decode(it.asked[-1].fields["authorization"].removeprefix("Basic ")).decode()
        assert [unquote_plus(part) for part in given.split(":")] == [CLIENT_ID, CLIENT_SECRET]
        it.stop()
        with pytest.raises(AskError, match="nobody listens there"):
            await keys.fetch()
        assert await introspection.verify(b"opaque", "192.0.2.1") == UNAVAILABLE
        it.start()
        await keys.fetch()
        assert isinstance(await introspection.verify(b"opaque", "192.0.2.1"), Verified)


async def test_with_public_addresses_only_nobody_here_is_asked_by_any_name() -> None:
    async with server(answer(b"{}")) as (it, url):
        port = urlsplit(url).port
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
            for scheme in ("http", "https"):
                with pytest.raises(AskError):
                    await Asking(takes=is_public).get_json(f"{scheme}://{host}:{port}/")
        assert it.connections == 0
        assert (await Asking().get_json(url)).status == 200
