"""Writes lines to a file descriptor in a thread of its own, so that the callers never wait.

The log's reader may stop (a log driver, a pager, a terminal after Ctrl+S), go away, or have no room
left. Then the pipe is full, and a write would hold up the one thread that answers everybody. Lines
therefore go into a bounded queue; lines that do not fit are counted, and a line tells their number once
there is room again.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WAITING_BYTES = 1024 * 1024
"""How many bytes may wait to be written: at 250 bytes a line, some 4,000 requests."""

MAX_WAITING_LINES = 10_000
"""How many pieces may wait, however short: each takes some 100 bytes of memory more than its text."""

MAX_PRINTED_LINE = 65_536
"""How many bytes of a printed line wait for its end: as many as are looked at of a line of log."""

BATCH_SECONDS = 0.05
"""How long the thread collects before it writes: each time it wakes up, the other threads wait for the interpreter."""

RETRY_SECONDS = 1.0
"""How often the writer tries to tell of lost lines while it has nothing else to write."""

SLOW = "the reader did not keep up"


class Piece(NamedTuple):
    """Bytes that are written in one go."""

    data: bytes
    lines: int
    """How many lines it counts for if it is lost."""
    whole: bool
    """True if it begins a line."""


class LineWriter:
    """Writes to the file open at `descriptor`, through one of its own, so that `descriptor` may be closed.

    `report` makes the line that tells how many lines were lost, and why; an empty line if it tells that elsewhere.
    """

    def __init__(self, descriptor: int, report: Callable[[int, str], str]) -> None:
        self._source, self._descriptor = descriptor, os.dup(descriptor)
        self._file = _file_at(descriptor)
        self._report = report
        self._queue: SimpleQueue[Piece | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may print, too
        self._bytes = self._lines = self._refused = 0  # guarded by it
        self._unwritten, self._trouble = 0, ""  # the thread's own, as is the next
        self._in_a_line = False
        self._alive = True
        os.register_at_fork(after_in_child=self._forked)
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, text: str) -> None:
        """Write this line, or several that belong together, each with its line break."""
        data = text.encode("utf-8", "backslashreplace")
        self._put(Piece(data, _lines_in(data), whole=True))

    def put_raw(self, data: bytes) -> None:
        """Write these bytes as they are. A line of `put` still begins a new line after them."""
        self._put(Piece(data, _lines_in(data), whole=False))

    def _put(self, piece: Piece) -> None:
        if not self._alive:
            self._write(piece.data)
            return
        with self._lock:
            self._bytes += len(piece.data)
            self._lines += 1
            fits = self._bytes <= MAX_WAITING_BYTES and self._lines <= MAX_WAITING_LINES
            if not fits:
                self._let_go([piece])
                self._refused += piece.lines
        if fits:
            self._queue.put(piece)

    def _let_go(self, pieces: list[Piece]) -> None:
        self._bytes -= sum(len(piece.data) for piece in pieces)
        self._lines -= len(pieces)

    def flush(self, seconds: float) -> bool:
        """Wait until all pieces so far are written or given up; False if that takes longer than `seconds`."""
        if not self._alive:
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(max(0.0, seconds))

    def _forked(self) -> None:
        """A forked child has no thread: it writes by itself, and waits if it must."""
        self._alive = False
        self._lock = threading.RLock()

    def _run(self) -> None:
        if hasattr(signal, "SIGTTOU"):
            # A terminal with `stty tostop` stops a program that writes in the background, unless the
            # signal is blocked.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        while True:
            try:
                self._write_batch(*self._collect())
            except Exception as error:  # noqa: BLE001 - it must not end, whatever there is
                self._unwritten, self._trouble = self._unwritten + 1, type(error).__name__
                time.sleep(RETRY_SECONDS)

    def _collect(self) -> tuple[list[Piece], list[threading.Event]]:
        """Wait for something to write; a moment later, take all of it, and the events of those who wait for that."""
        pieces: list[Piece] = []
        waiting: list[threading.Event] = []
        try:
            item = self._queue.get(timeout=RETRY_SECONDS if self._unwritten else None)
            if isinstance(item, Piece):
                time.sleep(BATCH_SECONDS)
            while True:
                pieces.append(item) if isinstance(item, Piece) else waiting.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return pieces, waiting

    def _write_batch(self, pieces: list[Piece], waiting: list[threading.Event]) -> None:
        """Write the pieces in one go, and tell of lines that were lost before or meanwhile."""
        before = [self._told(self._unwritten, self._trouble)] if self._unwritten else []
        self._unwritten = 0
        self._deliver([*before, *pieces])
        with self._lock:
            self._let_go(pieces)
            refused, self._refused = self._refused, 0
            if refused:  # what waits still is older, and what comes is newer
                told = self._told(refused, SLOW)
                self._bytes, self._lines = self._bytes + len(told.data), self._lines + 1
                self._queue.put(told)
        for event in waiting:
            self._queue.put(event) if refused else event.set()

    def _told(self, lost: int, why: str) -> Piece:
        """The line that tells of lost lines. If it is lost, too, the next one tells of them."""
        return Piece(self._report(lost, why).encode(), lost, whole=True)

    def _deliver(self, pieces: list[Piece]) -> None:
        """Write the pieces, and count the lines of those that cannot be written."""
        batch = bytearray()
        ends = []
        in_a_line = self._in_a_line
        for piece in pieces:
            if piece.data:
                batch += b"\n" + piece.data if piece.whole and in_a_line else piece.data
                in_a_line = not piece.data.endswith(b"\n")
            ends.append(len(batch))
        done = self._write(batch)
        self._unwritten += sum(
            piece.lines for piece, end in zip(pieces, ends, strict=True) if end > done
        )

    def _write(self, data: bytes | bytearray) -> int:
        """Write, however long it takes; return how many bytes could be written."""
        done = 0
        while done < len(data):
            try:
                self._keep_descriptor()
                done += os.write(self._descriptor, data[done : done + MAX_WAITING_BYTES])
            except BlockingIOError:  # somebody who has the same file open wants it so
                wait = select.poll()
                wait.register(self._descriptor, select.POLLOUT)
                wait.poll(1000 * RETRY_SECONDS)
            except OSError as error:
                self._trouble = f"they could not be written ({error.strerror})"
                break
        if done:
            self._in_a_line = data[done - 1] != ord("\n")
        return done

    def _keep_descriptor(self) -> None:
        """Make sure that the descriptor is still the file's, or raise OSError.

        Code that closes all descriptors it finds closes this one, too, and the next file or connection to be
        opened gets its number: a line of log would ruin that one.
        """
        if _file_at(self._descriptor) != self._file:
            if _file_at(self._source) != self._file:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._descriptor = os.dup(self._source)


class Stream(io.BufferedIOBase):
    """The stream of `print` and the like in place of a file descriptor: it goes through the writer.

    No `io.BufferedWriter` stands before it: a forked child would wait in vain for that one's lock.
    """

    def __init__(self, writer: LineWriter, descriptor: int) -> None:
        self._writer = writer
        self._descriptor = descriptor

    @property
    def name(self) -> str:
        """The name that Python gives its own stream."""
        return {1: "<stdout>", 2: "<stderr>"}.get(self._descriptor, f"<{self._descriptor}>")

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The real descriptor, for programs that a tool starts, and for `faulthandler`."""
        return self._descriptor

    def isatty(self) -> bool:
        """True if it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Take all of it at once."""
        text = bytes(data)
        self._writer.put_raw(text)
        return len(text)


class LinesOfPrint(Stream):
    """The same, with each line that is printed made into another one by `make`, which adds the line break."""

    def __init__(self, writer: LineWriter, descriptor: int, make: Callable[[str], str]) -> None:
        super().__init__(writer, descriptor)
        self._make = make
        self._begun = b""
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()  # a signal handler may print, too

    def write(self, data: Any, /) -> int:
        """Take all of it at once; the last line waits for its end, or for too much of it."""
        text = bytes(data)
        with self._lock:
            *lines, self._begun = (self._begun + text).split(b"\n")
            if len(self._begun) > MAX_PRINTED_LINE:
                lines, self._begun = [*lines, self._begun], b""
        for line in filter(None, lines):
            self._writer.put(self._make(line.decode("utf-8", "backslashreplace")))
        return len(text)

    def end_line(self) -> None:
        """Write what there is of the last line."""
        if self._begun:
            self.write(b"\n")


def _file_at(descriptor: int) -> tuple[int, int] | None:
    """The file that is open at the descriptor, if any."""
    try:
        stat = os.fstat(descriptor)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _lines_in(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n"))
