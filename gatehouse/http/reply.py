"""Local replies: the responses that the gate makes itself, as plain values."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any

# The JSON-RPC codes that MCP leaves to implementations are -32000..-32019, of which -32000, -32001 and
# -32002 are in use; -32020..-32022 would tell a client that a 2026-07-28 server speaks here.
UNAUTHORIZED = -32010
BAD_REQUEST = -32011
UPSTREAM_FAILED = -32012
GATE_FAILED = -32013
BUSY = -32014
FORBIDDEN = -32015
TOO_MANY = -32016

INVALID_REQUEST = -32600  # of JSON-RPC itself

CLOSE_CONNECTION = (b"Connection", b"close")

NO_REFERRER = (b"Referrer-Policy", b"no-referrer")
TO_URL_KEY = ((b"Cache-Control", b"no-store"), NO_REFERRER)
"""For answers to requests with a token in the URL: no cache may keep the answer (RFC 6750 section 2.3),
and a page must not tell the URL to the next one."""

APART = ((b"Content-Security-Policy", b"sandbox"), (b"X-Content-Type-Options", b"nosniff"))
"""For the upstream's answers, where the gate has pages of its own: somebody who follows a link to the endpoint opens no
page of the gate's origin, whatever the server answers (CSP Level 3 section 6.3.2). MCP clients take no notice."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response: status, header fields without framing, and body."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    reason: str = ""
    """Why the gate refuses or fails, as one word for records; empty if it does neither."""

    @property
    def outcome(self) -> str:
        """The outcome of a request that gets this reply, in words for records."""
        if not self.reason:
            return "done"
        return "upstream failed" if self.reason.startswith("upstream-") else "refused"

    def fields(self) -> list[tuple[bytes, bytes]]:
        """All header fields, with the date and the length of the body."""
        length = [] if self.status == 204 else [(b"Content-Length", b"%d" % len(self.body))]
        return [(b"Date", http_date()), *self.headers, *length]


def http_date() -> bytes:
    """The time in the form of a Date field (RFC 9110 section 5.6.7)."""
    return _http_date(int(time.time()))


@lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


def json_reply(
    status: int, content: dict[str, Any], *headers: tuple[bytes, bytes], reason: str = ""
) -> Reply:
    """A JSON reply, which no cache may store, since it is true only now."""
    fixed = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"))
    return Reply(status, json.dumps(content).encode(), (*fixed, *headers), reason)


def rpc_error(
    status: int, code: int, message: str, *headers: tuple[bytes, bytes], reason: str
) -> Reply:
    """A JSON-RPC error. The id is null (JSON-RPC 2.0 section 5): the request was not read."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return json_reply(status, error, *headers, reason=reason)


def page_error(
    status: int, error: str, words: str, *headers: tuple[bytes, bytes], reason: str
) -> Reply:
    """The refusal of a page, in the form of OAuth's errors."""
    return json_reply(status, {"error": error, "error_description": words}, *headers, reason=reason)


def upstream_failed(status: int, words: str, *headers: tuple[bytes, bytes], reason: str) -> Reply:
    """The reply in place of an answer of the upstream's."""
    return rpc_error(status, UPSTREAM_FAILED, words, *headers, reason=reason)


def bad_request(status: int, words: str, *headers: tuple[bytes, bytes], reason: str) -> Reply:
    """The reply to a request that the gate does not take in this form."""
    return rpc_error(status, BAD_REQUEST, words, *headers, reason=reason)


def busy(words: str, seconds: int, *headers: tuple[bytes, bytes], reason: str) -> Reply:
    """The reply while there is no room, or nobody to ask: try again in so many seconds."""
    return rpc_error(503, BUSY, words, (b"Retry-After", b"%d" % seconds), *headers, reason=reason)


def forbidden(words: str, reason: str) -> Reply:
    """The reply to a known client that may not do this."""
    return rpc_error(403, FORBIDDEN, words, reason=reason)
