"""TLS to the upstream: faults in words, and what one read may take."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gatehouse.upstream.tls import MAX_RECORDS, Tls, tls_trouble, trust_fault
from tests.harness.certificates import authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gatehouse.upstream.tls import TlsStream


class Server:
    """The other end of a connection, with every record in its own hands."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        ours, theirs = socket.socketpair()
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self.client = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.stream.send_all(self.outgoing.read())
                self.incoming.write(await self.stream.receive_some(65536))
            except ssl.SSLError:
                await self.stream.send_all(self.outgoing.read())  # the alert
                break

    async def send_records(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.tls.write(piece)
        await self.stream.send_all(self.outgoing.read())


async def joined(context: ssl.SSLContext) -> tuple[Server, TlsStream]:
    server = Server(context)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shake_hands)
            client = await Tls("127.0.0.1", authority().file).over(server.client)
    return server, client


@pytest.fixture
async def both() -> AsyncIterator[tuple[Server, TlsStream]]:
    server, client = await joined(authority().server())
    yield server, client
    await client.aclose()
    await server.stream.aclose()


async def test_records_that_have_come_together_are_read_together_up_to_a_bound(
    both: tuple[Server, TlsStream],
) -> None:
    server, client = both
    await server.send_records(*[b"x"] * (MAX_RECORDS + 10))
    assert await client.receive_some(65536) == b"x" * MAX_RECORDS
    assert client.holds_unread
    with trio.testing.assert_checkpoints():  # others have a turn in between
        assert await client.receive_some(65536) == b"x" * 10
    assert not client.holds_unread


async def test_all_bytes_count_that_tcp_carries(both: tuple[Server, TlsStream]) -> None:
    server, client = both
    before = client.sent_bytes
    await client.send_all(b"x" * 1000)
    assert len(await server.stream.receive_some(65536)) >= 1000
    assert client.sent_bytes - before > 1000


async def test_an_upstream_that_wants_a_certificate_of_ours_says_so_by_an_alert() -> None:
    context = authority().server()
    context.verify_mode = ssl.CERT_REQUIRED
    server, client = await joined(context)
    with pytest.raises(trio.BrokenResourceError) as caught:  # TLS 1.3 tells after the handshake
        await client.receive_some(100)
    assert caught.value.__cause__ is not None
    words = "it refused TLS with the alert «certificate required»"
    assert tls_trouble(caught.value.__cause__) == words
    await client.aclose()
    await server.stream.aclose()


async def test_an_upstream_that_speaks_older_tls_only_is_told_from_others() -> None:
    context = authority().server()
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = Server(context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        with pytest.raises(ssl.SSLError) as caught:
            await Tls("127.0.0.1", authority().file).over(server.client)
    assert tls_trouble(caught.value) == "it speaks no TLS as new as 1.2"
    await server.stream.aclose()


async def test_nothing_is_read_behind_the_end_and_the_end_is_seen(
    both: tuple[Server, TlsStream],
) -> None:
    server, client = both
    server.tls.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        server.tls.unwrap()
    await server.stream.send_all(server.outgoing.read())
    assert await client.receive_some(100) == b"last"
    assert client.has_ended
    assert await client.receive_some(100) == b""


def test_the_faults_of_a_file_of_authorities_are_told_in_words(tmp_path: Path) -> None:
    text, other = tmp_path / "text.pem", tmp_path / "nobody.pem"
    text.write_text("no certificate")
    assert "holds no certificate" in trust_fault(text)
    assert f"there is no file {other}" in trust_fault(other)
    assert "cannot be read (IsADirectoryError)" in trust_fault(tmp_path)
    assert trust_fault(authority().file) == ""


def test_a_machine_without_authorities_is_told_where_to_get_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    fault = trust_fault(None)
    assert "ca-certificates" in fault
    assert "python -m certifi" in fault
