"""A program that floods a gate with pieces: `python tests/harness/floods.py PORT KIND CONNECTIONS SECONDS [TOKEN]`.

KIND may be `all`; then there are so many connections of each. All connections together send at most BYTES_PER_SECOND. A connection that the gate ends is made anew.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress

BYTES_PER_SECOND = 900_000
TURN_BYTES = 64 * 1024
POST = b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\n%b"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET %b HTTP/1.1\r\nHost: gate.example\r\n\r\n"


def floods(token: str) -> dict[str, bytes]:
    """The bytes that each kind sends, again and again."""
    bearer = b"Authorization: Bearer %b\r\n" % token.encode() if token else b""
    end = b"0\r\n\r\n"
    return {
        "one-byte chunks": CHUNKED % bearer + b"1\r\nx\r\n" * 65536 + end,
        "one-byte chunks, extended": CHUNKED % bearer + b"1;a=b;c\r\nx\r\n" * 32768 + end,
        "a long extension on each chunk": CHUNKED % bearer
        + (b"1;%b\r\nx\r\n" % bytes(9000)) * 9
        + end,
        "one-byte segments of a body": POST % bearer
        + b"Content-Length: 65536\r\n\r\n"
        + b"x" * 65536,
        "fields": GET[:-2] % b"/mcp" + b"a:\r\n" * 12_000 + b"\r\n",
        "folded fields": GET[:-2] % b"/mcp" + b"a: b\r\n" + b" \r\n" * 12_000 + b"\r\n",
        "fields without an end": GET[:-2] % b"/mcp" + b"a:\n" * 30_000,
        "trailers": CHUNKED % bearer + b"1\r\nx\r\n0\r\n" + b"a:\r\n" * 12_000 + b"\r\n",
        "pipelined, alive": GET % b"/health" * 2000,
        "pipelined, refused": GET % b"/mcp" * 2000,
        "pipelined, nowhere": GET % b"/x" * 2000,
        "a head byte by byte": GET[:-2] % b"/health" + b"a: " + b"b" * 8000 + b"\r\n\r\n",
        "heads byte by byte": GET % b"/health" * 100,
    }


def attack(port: int, data: bytes, step: int, pace: float, until: float) -> None:
    """Send `data` in segments of `step` bytes, `pace` bytes a second, and drop what is answered."""
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began, sent = time.monotonic(), 0
            while sent < len(data) and time.monotonic() < until:
                client.sendall(data[sent : sent + step])
                sent += step
                with suppress(BlockingIOError):
                    if not client.recv(65536, socket.MSG_DONTWAIT):
                        break
                ahead = began + sent / pace - time.monotonic()
                if ahead > 0.001:
                    time.sleep(max(0.0, min(ahead, until - time.monotonic())))
            client.settimeout(0.2)
            while time.monotonic() < until and client.recv(65536):
                pass


def main() -> None:
    port, kind, connections, seconds, *token = sys.argv[1:]
    kinds = {name: data for name, data in floods(*token or [""]).items() if kind in (name, "all")}
    until = time.monotonic() + float(seconds)
    pace = BYTES_PER_SECOND / len(kinds) / int(connections)
    threads = []
    for name, data in kinds.items():
        step = 1 if "byte by byte" in name or "segments" in name else TURN_BYTES
        given = (int(port), data, step, pace, until)
        threads += [threading.Thread(target=attack, args=given) for _ in range(int(connections))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
