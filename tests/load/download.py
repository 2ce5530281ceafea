"""Reads one large answer and drops it: `python -m tests.load.download PORT BYTES TOKEN`."""

from __future__ import annotations

import socket
import sys

from tests.load.calls import UnexpectedError, request


def main(port: int, size: int, token: str) -> None:
    """Read the answer to its end, and see that it is whole."""
    buffer = bytearray(1024 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request(port, token, f"/mcp/bytes/{size}"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise UnexpectedError(head)
        left = size
        while left:
            if not (received := connection.recv_into(buffer)):
                raise UnexpectedError(f"{left} bytes are missing")
            left -= received


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
