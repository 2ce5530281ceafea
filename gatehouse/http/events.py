"""Borders in an event stream: the places between two whole events, where the gate may write.

Server-sent events are separated by a blank line, that is by two line ends in a row, and a line ends in
CRLF, LF or CR (HTML Standard, 9.2.5). A CR at the very end of the bytes so far may be half of a CRLF, so
it makes a border only once its LF has come: a stream that ends its lines in CR alone, which nobody writes,
has no border here and is left alone. A byte order mark would not count behind a comment, but nobody begins
a stream with one either.
"""

from __future__ import annotations

COMMENT = b": keep-alive\r\n\r\n"
"""A line that every client ignores, and the blank line behind it, which ends no event."""

_BLANK_LINES = (b"\n\n", b"\n\r\n", b"\r\r\n")


class EventBorders:
    """Follows a stream chunk by chunk, however it is cut, and knows whether the stream is at a border."""

    def __init__(self) -> None:
        self._tail = b"\n\n"  # the beginning of a stream is a border

    @property
    def at_border(self) -> bool:
        """True if the stream so far consists of whole events."""
        return self._tail.endswith(_BLANK_LINES)

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk into account."""
        self._tail = (self._tail + chunk[-3:])[-3:]

    def last_border_in(self, chunk: bytes) -> int | None:
        """The index of the last border inside the next chunk, or None; the chunk is not taken in."""
        text = self._tail + chunk
        ends = [text.rfind(blank) + len(blank) for blank in _BLANK_LINES if blank in text]
        last = max(ends, default=0) - len(self._tail)
        return last if last > 0 else None
