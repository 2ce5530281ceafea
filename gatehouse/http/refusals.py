"""Local replies: the responses that the gate makes itself, as plain values.

On the MCP endpoint a refusal is a JSON-RPC error, which MCP clients show to their user; elsewhere it
is JSON whose `error` is a string, which is what OAuth discovery expects of a 404.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

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


Status = Literal["ready", "starting", "unreachable", "stopping"]
"""Whether the gate takes calls. "unreachable": it has reached the server before, and now does not."""


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


def too_many_requests(seconds: float, words: str, reason: str) -> Reply:
    """The reply to a client that exceeds its rate: it may ask again in so many seconds."""
    wait = b"%d" % max(1, math.ceil(seconds))
    return rpc_error(429, TOO_MANY, words, (b"Retry-After", wait), reason=reason)


def too_many_failures(seconds: float) -> Reply:
    """The reply to a client whose credentials have failed too often."""
    return too_many_requests(
        seconds,
        "Too many requests with a token that is no good have come from this address. Correct the token, "
        "and wait; a good token is let in at once.",
        "failures",
    )


def forbidden(words: str, reason: str) -> Reply:
    """The reply to a known client that may not do this."""
    return rpc_error(403, FORBIDDEN, words, reason=reason)


# The same bytes whatever is wrong with the token, or without one: nobody learns how near a guess was. No
# `resource_metadata`, `scope` or `error` in the challenge: clients take each of them for an invitation to OAuth.
CHALLENGE = rpc_error(
    401,
    UNAUTHORIZED,
    "Unauthorized: this MCP server needs its access token, and got none, or one that is wrong, has expired "
    "or was revoked. Send it as 'Authorization: Bearer TOKEN', or as 'X-API-Key: TOKEN'; only a token that "
    "was made for it may come as ?key=TOKEN in the URL.",
    (b"WWW-Authenticate", b'Bearer realm="mcp"'),
    reason="token",
)
METRICS_CHALLENGE = json_reply(
    401,
    {
        "error": "unauthorized",
        "error_description": "The figures want METRICS_TOKEN, as 'Authorization: Bearer TOKEN'.",
    },
    (b"WWW-Authenticate", b'Bearer realm="metrics"'),
    reason="metrics-token",
)


@cache
def challenge(reason: str) -> Reply:
    """The same challenge, with a reason for the record that the client is not told."""
    return replace(CHALLENGE, reason=reason)


# This tells how the gate is set up, and nothing about the token, which may be good.
URL_KEY_CHALLENGE = rpc_error(
    401,
    UNAUTHORIZED,
    "Unauthorized: this gate takes no token in a URL (?key=). Send the access token as 'Authorization: Bearer "
    "TOKEN', or as 'X-API-Key: TOKEN'.",
    (b"WWW-Authenticate", b'Bearer realm="mcp"'),
    reason="url-key",
)
AMBIGUOUS_CREDENTIALS = rpc_error(
    400,
    BAD_REQUEST,
    "Bad request: the same kind of credential came twice. Send one Authorization header, one "
    "X-API-Key header, or one key parameter.",
    reason="ambiguous-credentials",
)
UPSTREAM_UNREACHABLE = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate cannot be reached. It may be starting; try again in a few seconds.",
    (b"Retry-After", b"2"),
    reason="upstream-unreachable",
)
UPSTREAM_DOWN = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate has stopped answering: it is down, or is being restarted. Try again in a "
    "few seconds; if that does not help, tell its operator.",
    (b"Retry-After", b"2"),
    reason="upstream-down",
)
UPSTREAM_BROKE = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate broke off before it had answered. Try again.",
    reason="upstream-broke",
)
UPSTREAM_REDIRECTED = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate answered with a redirect, which is not passed on. "
    "Its operator finds the cause in the gate's log.",
    reason="upstream-redirected",
)
UPSTREAM_TIMED_OUT = rpc_error(
    504,
    UPSTREAM_FAILED,
    "The MCP server behind the gate took too long to accept the request. Try again.",
    reason="upstream-timeout",
)

STARTING = rpc_error(
    503,
    BUSY,
    "The MCP server behind the gate is still starting. Try again in a few seconds.",
    (b"Retry-After", b"5"),
    reason="starting",
)
DRAINING = rpc_error(
    503,
    BUSY,
    "The gate is about to restart and takes no new requests. Try again in a few seconds.",
    (b"Retry-After", b"5"),
    CLOSE_CONNECTION,
    reason="draining",
)
TOO_MANY_CONNECTIONS = rpc_error(
    503,
    BUSY,
    "The gate has as many connections as it can hold. Try again in a few seconds.",
    (b"Retry-After", b"5"),
    CLOSE_CONNECTION,
    reason="connections",
)
TOO_MANY_OF_NAME = rpc_error(
    429,
    TOO_MANY,
    "This token holds as many connections as one may, and none of them rests. Close some, or try again in "
    "a few seconds.",
    (b"Retry-After", b"5"),
    CLOSE_CONNECTION,
    reason="token-connections",
)
TOO_MANY_BODIES = rpc_error(
    503,
    BUSY,
    "The gate is already taking in as many large requests as it can hold. Try again in a few seconds.",
    (b"Retry-After", b"5"),
    CLOSE_CONNECTION,
    reason="bodies",
)
BODY_TOO_LARGE = rpc_error(
    413,
    BAD_REQUEST,
    "The request is larger than the gate passes on. Send less at once.",
    CLOSE_CONNECTION,
    reason="too-large",
)
BODY_TOO_SLOW = rpc_error(
    408,
    BAD_REQUEST,
    "The request's body came too slowly. Try again.",
    CLOSE_CONNECTION,
    reason="too-slow",
)
MISDIRECTED = rpc_error(
    421,
    BAD_REQUEST,
    "The gate does not answer to this host name. Use its own address, or have its operator add the "
    "name to ALLOWED_HOSTS.",
    reason="host",
)
FOREIGN_ORIGIN = rpc_error(
    403,
    BAD_REQUEST,
    "The gate takes no requests from web pages of this origin. Its operator can add it to "
    "ALLOWED_ORIGINS.",
    reason="origin",
)
METHOD_UNKNOWN = rpc_error(
    405,
    BAD_REQUEST,
    "The gate does not know this HTTP method. MCP uses POST, GET and DELETE.",
    (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    CLOSE_CONNECTION,
    reason="method",
)
HTTP_VERSION_NOT_SUPPORTED = rpc_error(
    505,
    BAD_REQUEST,
    "The gate speaks HTTP/1.1 and HTTP/1.0.",
    CLOSE_CONNECTION,
    reason="http-version",
)
EXPECTATION_FAILED = rpc_error(
    417,
    BAD_REQUEST,
    "The gate knows no expectation but 100-continue.",
    CLOSE_CONNECTION,
    reason="expectation",
)
NO_WEBSOCKET = rpc_error(
    400,
    BAD_REQUEST,
    "MCP has no WebSocket transport. Send requests by POST.",
    CLOSE_CONNECTION,
    reason="websocket",
)

_MALFORMED = {
    400: "This is no well-formed HTTP/1.1 request, so it was not read any further.",
    414: "The URL is longer than the gate accepts.",
    431: "The header fields are more, or longer, than the gate accepts.",
    501: "The gate does not know this transfer encoding.",
}


@cache
def malformed(status: int) -> Reply:
    """The reply to a request that breaks HTTP's rules or the gate's limits; it ends the connection."""
    return rpc_error(
        status,
        BAD_REQUEST,
        _MALFORMED.get(status, _MALFORMED[400]),
        CLOSE_CONNECTION,
        reason="malformed",
    )


# The status, the code and the words of the MCP SDK (2.3.0), so that clients understand it.
SESSION_NOT_FOUND = rpc_error(
    404, INVALID_REQUEST, "Session not found. Open a new one with initialize.", reason="session"
)

# No 404: a client would take it for the end of its session.
SESSIONS_UNKNOWN = rpc_error(
    503,
    BUSY,
    "Whether this session exists cannot be told now, since what several gates share does not answer. Keep the "
    "session, and try again in a few seconds.",
    (b"Retry-After", b"5"),
    reason="sessions-unknown",
)
TOO_MANY_QUESTIONS = rpc_error(
    503,
    BUSY,
    "More requests with this token came at a time than the gates can look up together. Send fewer at a time, or "
    "try again in a few seconds.",
    (b"Retry-After", b"2"),
    reason="token-questions",
)

NOT_FROM_GATE = rpc_error(
    403,
    UNAUTHORIZED,
    "This server answers only to the gate in front of it.",
    reason="not-from-gate",
)

FAILED = rpc_error(
    500,
    GATE_FAILED,
    "The gate itself failed; its operator finds the fault in the log.",
    reason="failed",
)

NOT_FOUND = json_reply(
    404,
    {
        "error": "not_found",
        "error_description": "Nothing is here, and no OAuth: the MCP endpoint is /mcp. If the client came here, its access "
        "token was missing, wrong, expired or revoked: set a good one as 'Authorization: Bearer TOKEN'.",
    },
    reason="not-found",
)
METHOD_NOT_ALLOWED = json_reply(
    405,
    {"error": "method_not_allowed", "error_description": "This page answers GET and HEAD."},
    (b"Allow", b"GET, HEAD"),
    reason="method-not-allowed",
)
ALIVE = json_reply(200, {"status": "ok"})


def ready(stalls: Mapping[str, float]) -> Reply:
    """The reply while the server takes calls; `stalls` tells how often everybody had to wait for a tool."""
    return json_reply(200, {"status": "ready", "stalls": stalls} if stalls else {"status": "ready"})


@cache
def not_ready(status: Status) -> Reply:
    """The reply while it takes none."""
    return json_reply(503, {"status": status}, (b"Retry-After", b"2"))
