"""How a scripted server may answer: properly, wrongly, slowly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from http.server import BaseHTTPRequestHandler


@dataclass(frozen=True)
class Asked:
    """One request that came: `path` is without its query."""

    method: str
    path: str
    fields: dict[str, str]
    """By name, in lower case."""
    body: bytes
    query: str = ""


Script = Callable[["BaseHTTPRequestHandler", Asked, "threading.Event"], None]
"""Answers a request; the event is set when the server ends."""


def text(
    body: bytes, status: int = 200, content_type: str = "application/json", **fields: str
) -> Script:
    """These bytes. Underscores in names of fields stand for hyphens."""

    def script(handler: BaseHTTPRequestHandler, asked: Asked, end: threading.Event) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")  # the server ends it after each answer
        for name, value in fields.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return script


def document(content: Any, status: int = 200, **fields: str) -> Script:
    """JSON."""
    return text(json.dumps(content).encode(), status, **fields)


def status(number: int) -> Script:
    """Nothing but a status."""
    return text(b"{}", number)


def redirect(target: str) -> Script:
    """Ask there instead."""
    return text(b"", 302, Location=target)


def page(html: str, status: int = 200) -> Script:
    """A page for people."""
    return text(html.encode(), status, "text/html; charset=utf-8")


def trickle(body: bytes, pause: float) -> Script:
    """These bytes, one at a time."""

    def script(handler: BaseHTTPRequestHandler, asked: Asked, end: threading.Event) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with suppress(OSError):  # nobody has that much patience
            for byte in body:
                handler.wfile.write(bytes([byte]))
                if end.wait(pause):
                    return

    return script


def hang(handler: BaseHTTPRequestHandler, asked: Asked, end: threading.Event) -> None:
    """Say nothing until the server ends."""
    end.wait(60)


def hang_up(handler: BaseHTTPRequestHandler, asked: Asked, end: threading.Event) -> None:
    """Close the connection in the middle of an answer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
