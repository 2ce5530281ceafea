"""An upstream's answer, read in bounded steps: one HTTP/1.1 connection of httpcore's, with budgets.

h11 hands out one event at a time, and httpcore passes each on by itself. For an answer in one-byte chunks,
a head of ten thousand fields or interim answers without end, that is seconds of work for a few bytes, and
no checkpoint in between. Here

- chunks that have come together are one piece, and nobody waits for more than is there;
- h11 gets its input in bites of a few lines, and a task that has worked for SLICE_SECONDS lets others have a turn;
- a flood of small pieces, fields or interim answers ends the connection (`FloodError`).

All of that stands in `_receive_event`, from which httpcore takes everything that it receives. The name is
private, so it is looked up when this module is imported, with the others that it needs (`_USED`).
"""

from __future__ import annotations

import re

import h11
import httpcore
import trio

from gatehouse.scheduling.turns import SLICE_SECONDS, Turns

MAX_HEAD_BYTES = 64 * 1024
"""How large a head or a trailer may be, give or take one read. Servers accept 8 to 64 KiB."""

MAX_LINES = 256
"""How many lines a head or a trailer may have, give or take a bite. Most clients accept 100; h11 and the
code that then looks at the fields take 1 ms for these."""

BITE_LINES = 64
"""How many lines h11 gets at a time: 32 chunks, which take it 0.4 ms."""

MAX_PIECE_BYTES = 64 * 1024
"""How large a piece may become by joining. Larger ones cost no less for each byte."""

MAX_SMALL_PIECES = 4096
"""A flood has more small pieces than this, beyond what its bytes and the time justify. They cost 50 ms."""

PIECES_PER_SECOND = 1000
"""How many pieces a second are no flood, however small: a server that writes letter by letter needs no more."""

SMALL_BYTES = 8
"""A piece of this size is justified by its bytes. No event with data is shorter, one of MCP far longer."""

FRAMING_BYTES = 64
"""How many bytes of framing (sizes of chunks, their extensions, heads) count as one more piece, once there is more
framing than data: h11 reads each byte, and nobody gets any."""

INTERIM_PIECES = 32
"""How many pieces an interim answer (1xx) counts as: h11 takes that much longer for one with fields."""

_BITE = re.compile(rb"(?:[^\n]*+\n){%d}" % BITE_LINES)


TLS_ALERT = b"\x15\x03"
"""The beginning of a TLS server's answer to something that is no TLS (RFC 8446 section 5.1)."""


class SpeaksTLSError(httpcore.RemoteProtocolError):
    """The upstream speaks TLS, and was asked without."""


class FloodError(httpcore.RemoteProtocolError):
    """An answer has far too many small pieces, fields or interim answers."""


class Connection(httpcore.AsyncHTTP11Connection):
    """A connection to `origin` over `wire`. All connections with the same `turns` share one slice of the loop."""

    MAX_INCOMPLETE_EVENT_SIZE = MAX_HEAD_BYTES

    def __init__(
        self, origin: httpcore.Origin, wire: httpcore.AsyncNetworkStream, turns: Turns
    ) -> None:
        super().__init__(origin, wire)
        self._http = self._h11_state
        self._wire = wire
        self._turns = turns
        self._slice_end = 0.0
        self._ahead, self._at = b"", 0  # what has been read, and up to where h11 has got it
        self._lines_ahead = 0
        self._lines = 0  # that h11 has got since its last event
        self._kept: h11.Event | type[h11.NEED_DATA | h11.PAUSED] | None = None
        self._response: h11.Response | None = None
        self._small_pieces, self._counted_at = 0.0, 0.0
        self._framing = 0  # bytes that h11 has got, less two for each that it has handed out
        self._flooded = False

    @property
    def unread(self) -> bytes:
        """The bytes that have arrived and that no reader has taken yet."""
        return self._http.trailing_data[0] + self._ahead[self._at :]

    async def _receive_event(self, timeout: float | None = None) -> h11.Event | type[h11.PAUSED]:
        """The next event of the answer; for its body, all that has arrived. Raises httpcore's errors."""
        if self._flooded:
            raise FloodError
        event, self._kept = self._kept or self._next_event(), None
        while event is h11.NEED_DATA:
            self._count_framing()
            await self._feed(timeout)
            event = self._next_event()
        if isinstance(event, h11.Data):
            return self._joined(event)
        if isinstance(event, h11.InformationalResponse):
            self._count(INTERIM_PIECES)
        elif isinstance(event, h11.Response):
            self._response = event
        return event  # type: ignore[return-value] # mypy does not see what the loop has ruled out

    def _joined(self, first: h11.Data) -> h11.Data:
        """The piece, joined with those that have already arrived: as many as fit, and as the slice allows."""
        pieces, size = [first.data], len(first.data)
        while size < MAX_PIECE_BYTES:
            try:
                event = self._next_event()
            except httpcore.RemoteProtocolError:
                break  # raised again when there is nothing left to pass on
            if isinstance(event, h11.Data):
                pieces.append(event.data)
                size += len(event.data)
            elif event is h11.NEED_DATA and self._at < len(self._ahead) and not self._slice_is_over:
                self._bite()
            else:
                self._kept = event
                break
        self._framing -= 2 * size
        if size < len(pieces) * SMALL_BYTES:
            self._count(len(pieces) - size / SMALL_BYTES)
        return h11.Data(data=b"".join(pieces)) if len(pieces) > 1 else first

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise self._no_answer(str(error)) from error
        if event is not h11.NEED_DATA:
            self._lines = 0
        elif self._lines > MAX_LINES:
            raise FloodError
        return event

    def _no_answer(self, why: str) -> httpcore.RemoteProtocolError:
        return (
            SpeaksTLSError()
            if self._ahead.startswith(TLS_ALERT)
            else httpcore.RemoteProtocolError(why)
        )

    async def _feed(self, timeout: float | None) -> None:
        """Give h11 the next bite of the input; if the slice is over, let others have a turn first."""
        if self._at == len(self._ahead):
            data = await self._wire.read(self.READ_NUM_BYTES, timeout)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise self._no_answer("the connection ended without an answer")
            self._slice_end = trio.current_time() + SLICE_SECONDS
            self._ahead, self._at, self._lines_ahead = data, 0, data.count(b"\n")
        elif self._slice_is_over:
            await self._turns.wait()
            self._slice_end = trio.current_time() + SLICE_SECONDS
        self._bite()

    def _bite(self) -> None:
        start, end = self._at, len(self._ahead)
        lines = self._lines_ahead
        if lines > BITE_LINES and not self._measured and (bite := _BITE.match(self._ahead, start)):
            end, lines = bite.end(), BITE_LINES
        self._http.receive_data(self._ahead[start:end])
        self._at = end
        self._framing += end - start
        self._lines += lines
        self._lines_ahead -= lines

    @property
    def _measured(self) -> bool:
        """True if the body has no framing in it, so that h11 makes it one piece however long."""
        return (
            self._http.their_state is h11.SEND_BODY
            and self._response is not None
            and all(name != b"transfer-encoding" for name, _ in self._response.headers)
        )

    @property
    def _slice_is_over(self) -> bool:
        return trio.current_time() > self._slice_end

    def _count_framing(self) -> None:
        """Count the bytes that h11 has taken as framing, now that it has handed out all data."""
        if self._framing > FRAMING_BYTES:
            self._count(self._framing / FRAMING_BYTES)
            if self._flooded:
                raise FloodError
        self._framing = 0

    def _count(self, pieces: float) -> None:
        """Count so many small pieces; the count falls by PIECES_PER_SECOND."""
        now = trio.current_time()
        leaked = (now - self._counted_at) * PIECES_PER_SECOND
        self._small_pieces = max(0.0, self._small_pieces - leaked) + pieces
        self._counted_at = now
        self._flooded = self._small_pieces > MAX_SMALL_PIECES


_USED = (
    *(httpcore.AsyncHTTP11Connection._receive_event, httpcore.AsyncHTTP11Connection.is_idle),  # noqa: SLF001
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES,
    *(h11.Connection.next_event, h11.Connection.receive_data, h11.Connection.trailing_data),
    *(h11.Connection.their_state, h11.SEND_BODY, h11.SEND_RESPONSE, h11.NEED_DATA),
    *(h11.Data, h11.Response, h11.InformationalResponse, h11.RemoteProtocolError),
)
"""Overridden or needed here. Without one of these names the import fails, and nothing starts."""
