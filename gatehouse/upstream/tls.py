"""TLS to the upstream: OpenSSL, as the standard library has it, between a socket and `wire`.

Not `trio.SSLStream`: nobody can see what that has read ahead, and surplus bytes of one answer would become the beginning
of the next. One task at a time uses a stream here, which makes it short.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gatehouse import advice
from gatehouse.errors import connection_trouble

if TYPE_CHECKING:
    from trio.socket import SocketType

MAX_HANDSHAKE_SECONDS = 5.0
"""How long an upstream may take for the handshake: two round trips, and a server that is busy."""

HANDSHAKE_BYTES = 16 * 1024
"""How much of a handshake is read at a time. Most are shorter."""

MAX_RECORDS = 64
"""How many records are opened at a time. A megabyte takes 0.5 ms, as many records of one byte 0.1 ms."""

NO_TRUST = (
    "nobody whom this machine trusts has signed its certificate; if your own certificate authority has, name its file "
    "in UPSTREAM_CA"
)

_BAD_CERTIFICATE = {
    9: "its certificate is not valid yet: is the clock of this machine right?",
    10: "its certificate has expired",
    **dict.fromkeys((2, 18, 19, 20, 21), NO_TRUST),
    62: "its certificate is for another name",
    64: "its certificate is not for this address",
}
"""Words by OpenSSL's number for what is wrong with a certificate (`X509_V_ERR_...`)."""

_OLD = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"}
_NO_TLS = {
    *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"),
    *("UNKNOWN_PROTOCOL", "UNEXPECTED_MESSAGE"),
}
_ALERT = re.compile(r"(?:SSL|TLS)V[0-9]+_(?:ALERT_)?([A-Z0-9_]+)")


class TlsStream(trio.abc.AsyncResource):
    """A connection over TLS, with the methods of `trio.SocketStream` that `wire` uses. `handshake` comes first.

    Raises trio.BrokenResourceError, whose cause is an ssl.SSLError if it is one of TLS.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, name: str) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._is_sending = True  # until the handshake is over, there is nobody to say goodbye to
        self._end: Exception | None = None
        self.sent_bytes = 0
        """How many bytes have been sent in all, as TCP counts them."""
        self.has_ended = False
        """True once the upstream has said that nothing more will come, or the connection has broken."""

    @property
    def socket(self) -> SocketType:
        return self._stream.socket

    @property
    def holds_unread(self) -> bool:
        """True if bytes have been taken from the socket that nobody has read."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    async def handshake(self) -> None:
        """Find out that the upstream is the one that it should be. Raises ssl.SSLError if it is not."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill(HANDSHAKE_BYTES)
            except ssl.SSLError:
                await self._flush()  # the alert that tells the upstream why
                raise
            else:
                break
        await self._flush()

    async def send_all(self, data: bytes) -> None:
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self._flush()

    async def receive_some(self, max_bytes: int) -> bytes:
        """All that has arrived, give or take a record; empty if the upstream has said that this is the end.

        An end without that word may be somebody else's: it is an error.
        """
        pieces: list[bytes] = []
        has_waited = False
        while len(pieces) < MAX_RECORDS and not self.has_ended:
            try:
                piece = self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                if pieces:
                    break
                await self._flush()  # the answer to a change of keys
                await self._fill(max_bytes)
                has_waited = True
            except ssl.SSLError as error:
                self._end, self.has_ended = error, True
            else:
                self.has_ended = not piece
                pieces.append(piece)
        if not has_waited:
            await trio.lowlevel.checkpoint()
        if self._end is not None and not pieces:
            raise trio.BrokenResourceError from self._end
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Close the connection, with the word that nothing more will come if there is room for it now."""
        if not self._is_sending:
            with suppress(OSError):  # SSLError, too: it wants to wait for the upstream's word
                self._tls.unwrap()
            with suppress(OSError):
                os.write(self.socket.fileno(), self._outgoing.read())
        await self._stream.aclose()

    async def _fill(self, max_bytes: int) -> None:
        if data := await self._stream.receive_some(max_bytes):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        """Send what is to be sent. If that is broken off, half a record is on its way, and no word may follow it."""
        if data := self._outgoing.read():
            self._is_sending = True
            self.sent_bytes += len(data)
            await self._stream.send_all(data)
        self._is_sending = False


class Tls:
    """How connections to one upstream become secret: by whom its certificate must be, and for which name."""

    def __init__(self, name: str, ca: Path | None) -> None:
        self._name = name.removesuffix(".")  # RFC 6066 section 3
        self._context = context_for(ca)

    async def over(self, stream: trio.SocketStream) -> TlsStream:
        """A connection over TLS, after its handshake. Raises ssl.SSLError or trio.TooSlowError."""
        secret = TlsStream(stream, self._context, self._name)
        try:
            with trio.fail_after(MAX_HANDSHAKE_SECONDS):
                await secret.handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise ssl.SSLEOFError from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secret


def context_for(ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the certificate authorities in the file `ca`, or those of this machine.

    Raises OSError (ssl.SSLError is one) if the file is no good.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # Python 3.13 does that by itself
    context.options |= ssl.OP_NO_RENEGOTIATION
    # An end without the upstream's word would look like one with it, and half an answer like a whole one.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def trust_fault(ca: Path | None) -> str:
    """Why nobody could be trusted with these certificate authorities, in words that complete «NAME: ...»; or empty."""
    try:
        context = context_for(ca)
    except ssl.SSLError:
        return f"{ca} holds no certificate; it must be PEM, with lines -----BEGIN CERTIFICATE-----"
    except FileNotFoundError:
        return f"there is no file {ca}"
    except OSError as error:
        return f"{ca} cannot be read ({type(error).__name__})"
    if context.cert_store_stats()["x509"]:
        return ""
    if ca is not None:
        return f"{ca} holds no certificate; it must be PEM, with lines -----BEGIN CERTIFICATE-----"
    folder = ssl.get_default_verify_paths().capath
    if folder and any(Path(folder).iterdir()):
        return ""
    return (
        "https needs certificate authorities, and this machine has none; install the package ca-certificates, or set "
        f"UPSTREAM_CA to a file of them, such as that whose path this prints: {advice.show_authorities()}"
    )


def tls_trouble(error: BaseException) -> str:
    """Why TLS with the upstream failed, in words of ours; empty if it was not TLS that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BAD_CERTIFICATE.get(error.verify_code, "") or connection_trouble(error)
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = "" if isinstance(error, ssl.SSLEOFError) else error.reason or ""
    if reason in _OLD:
        return "it speaks no TLS as new as 1.2"
    if not reason or reason in _NO_TLS:
        return "it does not speak TLS at that port, or ended the connection: is the port right, or is it http://?"
    if alert := _ALERT.fullmatch(reason):
        return f"it refused TLS with the alert «{alert[1].lower().replace('_', ' ')}»"
    return "TLS with it failed: " + reason.lower().replace("_", " ")
