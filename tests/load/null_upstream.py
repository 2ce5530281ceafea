"""An upstream that costs next to nothing: `python -m tests.load.null_upstream PORT`.

It looks at the framing only, and at what is asked for only as far as this:

- `POST` is answered with the same small JSON each time;
- `GET .../bytes/N` with N bytes of a file, in pieces of 64 KiB;
- `GET .../events/N` with an event stream that has an event each N milliseconds, which tells when it left
  (`time.monotonic_ns`, one clock for all processes of a machine);
- any other `GET` with an event stream that stays silent.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

ANSWER = (
    b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"7"}],'
    b'"structuredContent":{"result":7},"isError":false}}'
)
OK = b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n"
HEAD = OK + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
FILE_HEAD = OK + b"content-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n"
EVENTS_HEAD = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
WANTED = re.compile(rb"GET \S*/(bytes|events)/(\d+) ")
PIECE = bytes(64 * 1024)
BACKLOG = 1024


class Answerer(asyncio.Protocol):
    """Answers each request as soon as it is complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""
        self.paused = False
        self.bytes_left = 0
        self.closes = False

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n") + 4) > 3:
            head = self.received[:end]
            length = LENGTH.search(head)
            whole = end + (int(length[1]) if length else 0)
            if len(self.received) < whole:
                return
            self.received = self.received[whole:]
            self.closes = CLOSE.search(head) is not None
            if head.startswith(b"GET"):
                self.stream(head)
            else:
                self.transport.write(HEAD + ANSWER)
                if self.closes:
                    self.transport.close()

    def stream(self, head: bytes) -> None:
        """Begin an answer that takes its time."""
        wanted = WANTED.match(head)
        if wanted and wanted[1] == b"bytes":
            self.bytes_left = int(wanted[2])
            self.transport.write(FILE_HEAD % self.bytes_left)
            self.send_bytes()
        else:
            self.transport.write(EVENTS_HEAD)
            if wanted:
                self.send_events(int(wanted[2]) / 1000)

    def send_bytes(self) -> None:
        """Send as much of a file as the other side takes."""
        while self.bytes_left and not self.paused:
            piece = PIECE[: self.bytes_left]
            self.bytes_left -= len(piece)
            self.transport.write(piece)
        if self.closes and not self.bytes_left:
            self.transport.close()

    def send_events(self, pause: float) -> None:
        """Send an event now, and again each time the pause is over."""
        if not self.transport.is_closing():
            event = b"data: %d\n\n" % time.monotonic_ns()
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            asyncio.get_running_loop().call_later(pause, self.send_events, pause)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.bytes_left:
            self.send_bytes()


async def main(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answerer, "127.0.0.1", port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
