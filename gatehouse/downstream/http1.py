"""HTTP/1.1 on one connection, without its socket: makes requests of bytes, and bytes of answers.

Only this module knows h11, the parser.

It reads a head, or a trailer section, in one step however many lines that has, and takes some 10 µs for each
chunk however small. It therefore gets only a few lines at a time. A caller gets one chunk at a time and looks at
the clock. A client that sends far more pieces than its bytes need is costly, or is refused.
"""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import h11

from gatehouse.http.reply import CLOSE_CONNECTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.limits import Limits
    from gatehouse.http.reply import Reply

MAX_FREE_PIECES = 64
BYTES_PER_PIECE = 64
"""Reads and chunks are pieces. A request may have MAX_FREE_PIECES, and one more for each BYTES_PER_PIECE; with
more it is costly. Kilobyte chunks, and the segments of networks, stay far below."""

MAX_CHUNKS = 4096
BYTES_PER_CHUNK = 8
"""A body may have MAX_CHUNKS chunks, and one more for each BYTES_PER_CHUNK. A generator that writes a JSON
text token by token stays below; a flood does not."""

MAX_EMPTY_LINES = 8
"""How many empty lines before a request are ignored: old clients send one behind a body (RFC 9112 section 2.2)."""

# The client has said its last word: bytes after a request that closes its connection are ignored
# (RFC 9112 section 9.6), and after a syntax error no message can be told from the next.
_FINISHED = (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)

_END = h11.EndOfMessage()  # the same for every answer: making it costs 1 µs
_EMPTY_LINE = re.compile(rb"\r?\n")


@cache
def _portion_of(lines: int) -> re.Pattern[bytes]:
    """A pattern that matches this many lines."""
    return re.compile(rb"(?:[^\n]*\n){%d}" % lines)


class BadRequestError(Exception):
    """The client has sent something that is no HTTP, or more than it may; `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class RequestHead(NamedTuple):
    """The head of a request, as the client spelled it."""

    method: bytes
    target: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        """Its method: target and fields may hold a credential."""
        return f"<RequestHead {self.method!r}>"


class Http1:
    """One connection's requests and answers, one after the other."""

    def __init__(self, limits: Limits) -> None:
        self.request_read = False
        """True if the request under way has been read to its end."""
        # Twice the limits, so that the gate sees excesses of them, and names them.
        self._max_head_bytes = 2 * (limits.target_bytes + limits.header_bytes)
        self._max_lines = 2 * (1 + limits.header_fields)
        self._max_target_bytes = limits.target_bytes
        self._portion = _portion_of(self._max_lines)
        self._h11 = h11.Connection(h11.SERVER, self._max_head_bytes)
        self._ahead = b""  # read, and not yet given to h11
        self._dry = True  # h11 has said that it needs more
        self._between = True  # h11 has got nothing of the next request
        self._empty_lines = 0  # that were dropped there
        self._refused = 0
        self._unframed = False  # the response has neither length nor chunks
        self.count_anew()

    # The way in.

    def count_anew(self) -> None:
        """Forget the pieces that have come: those of the next request count alone."""
        self._pieces = self._bytes = self._chunks = self._size = 0

    @property
    def costly(self) -> bool:
        """True if there are more pieces than usual, so that the request must wait for each turn."""
        return self._pieces > MAX_FREE_PIECES + self._bytes // BYTES_PER_PIECE

    @property
    def unread(self) -> int:
        """How many bytes have arrived that make no whole event yet, or belong to the next request."""
        return len(self._ahead) + len(self._h11.trailing_data[0])

    @property
    def begun(self) -> bool:
        """True if bytes of the next request have come: empty lines before it do not count."""
        return not self._between or bool(self._ahead)

    def add(self, data: bytes) -> None:
        """Take the bytes just read."""
        self._pieces += 1
        if self._refused:
            self._bytes += len(data)
            return
        self._ahead = self._ahead + data if self._ahead else data
        if self._between and self._ahead[:1] in b"\r\n":
            self._drop_empty_lines()

    def close(self) -> None:
        """Drop all bytes from now on."""
        self._refused, self._ahead = self._refused or 400, b""

    def request(self) -> RequestHead | None:
        """The head of the next request; None if more bytes are needed. Raises BadRequestError."""
        event = self._next_event()
        if not isinstance(event, h11.Request):
            return None
        self.request_read = self._unframed = False
        return RequestHead(
            event.method, event.target, event.http_version, event.headers.raw_items()
        )

    def data(self) -> bytes | None:
        """The next chunk of the request's body, empty at the end; None if more bytes are needed.

        Raises BadRequestError.
        """
        event = self._next_event()
        if event is h11.NEED_DATA:
            return None
        if type(event) is not h11.Data:
            self.request_read = True
            return b""
        self._pieces += 1
        self._chunks += 1
        self._size += len(event.data)
        if self._chunks > MAX_CHUNKS + self._size // BYTES_PER_CHUNK:
            self._end_input(400)
        return event.data

    def recycle(self) -> bool:
        """Get ready for the next request, part of which may have arrived. False if there can be none."""
        if self._h11.their_state is not h11.DONE:
            return False
        behind = self._h11.trailing_data[0]
        self._between = not behind or behind.startswith((b"\r", b"\n"))
        if behind and self._between:  # take it back from h11, which refuses empty lines
            self._h11 = h11.Connection(h11.SERVER, self._max_head_bytes)
            self._ahead = behind + self._ahead
        else:
            self._h11.start_next_cycle()
        self._empty_lines = 0
        if self._between and self._ahead:
            self._drop_empty_lines()
        self._dry = self._between
        return True

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self._refused:
            raise BadRequestError(self._refused)
        while True:
            if self._dry and not self._give():
                return h11.NEED_DATA
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequestError(error.error_status_hint) from None
            if event is not h11.NEED_DATA:
                return event
            self._dry = True
            if self._h11.trailing_data[0].count(b"\n") >= self._max_lines:
                self._end_input(431)

    def _give(self) -> bool:
        """Hand the next portion on to h11. False if there is none."""
        data = self._ahead
        if not data or (self._between and data == b"\r" and self._empty_lines < MAX_EMPTY_LINES):
            return False
        self._ahead = b""
        if data.count(b"\n") > self._max_lines and (first := self._portion.match(data)):
            data, self._ahead = data[: first.end()], data[first.end() :]
        self._bytes += len(data)
        self._h11.receive_data(data)
        self._dry = self._between = False
        return True

    def _drop_empty_lines(self) -> None:
        """Drop the empty lines before a request. h11 refuses those beyond MAX_EMPTY_LINES."""
        while self._empty_lines < MAX_EMPTY_LINES and (line := _EMPTY_LINE.match(self._ahead)):
            self._ahead = self._ahead[line.end() :]
            self._empty_lines += 1

    def _end_input(self, status: int) -> None:
        self._refused = status
        self.close()
        raise BadRequestError(status)

    # The way out.

    def proceed(self) -> bytes:
        """The interim answer that a client waits for before it sends its body; empty if it does not wait."""
        if not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def head(self, status: int, fields: Iterable[tuple[bytes, bytes]], *, last: bool) -> bytes:
        """The head of the answer, of the last one that the connection carries if `last`.

        Empty if the client has been refused meanwhile.
        """
        fields = list(fields)
        names = {name.lower() for name, _ in fields}
        if last and b"connection" not in names:
            fields.append(CLOSE_CONNECTION)
        framed = b"content-length" in names or b"transfer-encoding" in names
        self._unframed = not framed and self._h11.their_http_version == b"1.0"
        response = h11.Response(status_code=status, headers=fields, reason=phrase(status))
        try:
            return self._h11.send(response)
        except h11.LocalProtocolError:
            return b""

    def body(self, data: bytes, *, more: bool) -> bytes:
        """The next part of the answer's body; empty if the client has been refused meanwhile."""
        try:
            sent = self._h11.send(h11.Data(data=data)) if data else b""
            return sent if more else sent + self._h11.send(_END)
        except h11.LocalProtocolError:
            return b""

    def refuse(self, status: int) -> int:
        """Add nothing more, and return the status that answers the request; 0 if an answer is under way."""
        idle = self.awaits_request
        if not idle and self._h11.our_state is not h11.SEND_RESPONSE:
            return 0
        if status == 431 and idle:
            line = self._h11.trailing_data[0][: self._max_target_bytes]
            status = 431 if b"\n" in line else 414  # the buffer is full of a request line
        self._h11.send_failed()  # the application may still be at work
        return status

    # Where the two sides stand.

    @property
    def awaits_request(self) -> bool:
        """True if no request is under way."""
        return self._h11.our_state is h11.IDLE

    @property
    def answered(self) -> bool:
        """True if the request under way has got its whole answer."""
        return self._h11.our_state is h11.DONE

    @property
    def client_has_finished(self) -> bool:
        """True if nobody reads any further bytes of the client as a request."""
        return self._h11.their_state in _FINISHED

    @property
    def end_would_look_whole(self) -> bool:
        """True if the end of the connection would make the response under way look whole."""
        return self._unframed and self._h11.our_state is h11.SEND_BODY


@cache
def phrase(status: int) -> bytes:
    """The reason phrase of a status, or nothing."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def raw(reply: Reply, *, to_head: bool = False) -> bytes:
    """A reply as bytes, for a client with which h11 has nothing more to do."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, phrase(reply.status))]
    lines += [b": ".join(pair) for pair in reply.fields()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if to_head else reply.body)
