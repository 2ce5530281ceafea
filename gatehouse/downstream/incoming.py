"""Turns a client's bytes into h11's events: in portions, by the clock, and with the pieces counted.

h11 reads a head, or a trailer section, in one step however many lines it has, and takes some 10 µs for
each chunk however small. h11 therefore gets only a few lines at a time, its callers look at the clock,
and a client that sends more pieces than its bytes can excuse works in a share of the loop that all such
clients have together, or is refused.
"""

from __future__ import annotations

import re
import time
from functools import cache
from typing import TYPE_CHECKING

import h11
import trio

from gatehouse.scheduling.turns import SLICE_SECONDS

if TYPE_CHECKING:
    from gatehouse.scheduling.turns import LoopShare

FREE_PIECES = 64
BYTES_PER_PIECE = 64
"""Reads and chunks are pieces. A request may have FREE_PIECES, and one more for each so many bytes; with more
than that it is costly. Kilobyte chunks, and the segments of networks, stay far below."""

MAX_CHUNKS = 4096
BYTES_PER_CHUNK = 8
"""A body may have MAX_CHUNKS chunks, and one more for each so many bytes. A generator that writes a JSON
text token by token stays below; a flood does not."""


@cache
def portion_of(lines: int) -> re.Pattern[bytes]:
    """The pattern of so many lines."""
    return re.compile(rb"(?:[^\n]*\n){%d}" % lines)


class Incoming:
    """The receiving side of one h11 connection."""

    def __init__(self, http: h11.Connection, max_lines: int, share: LoopShare) -> None:
        self._http = http
        self._max_lines = max_lines
        self._portion = portion_of(max_lines)
        self._share = share
        self._ahead = b""  # read, and not yet given to h11
        self._dry = True  # h11 has said that it needs more
        self._refused = 0
        self._since = time.perf_counter()  # the last time that others had their turn
        self.begin()

    def begin(self) -> None:
        """Start to count anew, for the next request."""
        self._pieces = self._bytes = self._chunks = self._size = 0

    @property
    def unread(self) -> int:
        """How many bytes have arrived that make no whole event yet, or belong to the next request."""
        return len(self._ahead) + len(self._http.trailing_data[0])

    @property
    def costly(self) -> bool:
        """True if there are more pieces than usual, so that the request must wait for each turn."""
        return self._pieces > FREE_PIECES + self._bytes // BYTES_PER_PIECE

    def add(self, data: bytes) -> None:
        """Take the bytes just read."""
        self._pieces += 1
        self._since = time.perf_counter()
        if self._refused:
            self._bytes += len(data)
        else:
            self._ahead = self._ahead + data if self._ahead else data

    def close(self) -> None:
        """Drop all bytes from now on."""
        self._refused, self._ahead = self._refused or 400, b""

    def recycle(self) -> None:
        """Get ready for the next request, part of which may have arrived."""
        self._http.start_next_cycle()
        self._dry = not self._http.trailing_data[0]

    def event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event of the bytes so far, or NEED_DATA. Raises RemoteProtocolError."""
        if self._refused:
            raise h11.RemoteProtocolError("refused before", error_status_hint=self._refused)
        while True:
            if self._dry and not self._give():
                return h11.NEED_DATA
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                if type(event) is h11.Data:
                    self._count(event)
                return event
            self._dry = True
            if self._http.trailing_data[0].count(b"\n") >= self._max_lines:
                self._refuse(431)

    def _give(self) -> bool:
        """Hand the next portion on to h11. False if there is none."""
        data = self._ahead
        if not data:
            return False
        self._ahead = b""
        if data.count(b"\n") > self._max_lines and (first := self._portion.match(data)):
            data, self._ahead = data[: first.end()], data[first.end() :]
        self._bytes += len(data)
        self._http.receive_data(data)
        self._dry = False
        return True

    def _count(self, data: h11.Data) -> None:
        self._pieces += 1
        self._chunks += 1
        self._size += len(data.data)
        if self._chunks > MAX_CHUNKS + self._size // BYTES_PER_CHUNK:
            self._refuse(400)

    def _refuse(self, status: int) -> None:
        self._refused = status
        self.close()
        raise h11.RemoteProtocolError("too many pieces", error_status_hint=status)

    @property
    def due(self) -> bool:
        """True if others must have their turn before the next event."""
        return time.perf_counter() - self._since > SLICE_SECONDS

    async def pause(self) -> None:
        """Let others have their turn; a costly request waits for its own."""
        if self.costly:
            await self._share.turn()
        else:
            await trio.lowlevel.checkpoint()
        self._since = time.perf_counter()
