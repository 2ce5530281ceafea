"""Every refusal of the gate, in the words that its reader gets.

On the MCP endpoint a refusal is a JSON-RPC error, which MCP clients show to their user; elsewhere it
is JSON whose `error` is a string, which is what OAuth discovery expects of a 404.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from gatehouse.http.reply import (
    BAD_REQUEST,
    CLOSE_CONNECTION,
    GATE_FAILED,
    INVALID_REQUEST,
    TOO_MANY,
    UNAUTHORIZED,
    bad_request,
    busy,
    forbidden,
    page_error,
    rpc_error,
    upstream_failed,
)

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply


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


# The same bytes whatever is wrong with the token, or without one: nobody learns how near a guess was. No
# `resource_metadata`, `scope` or `error` in the challenge: clients take each of them for an invitation to OAuth.
CHALLENGE = rpc_error(
    401,
    UNAUTHORIZED,
    "Unauthorized: this MCP server needs its access token, and got none, or one that is wrong, has expired "
    "or was revoked. Send it as 'Authorization: Bearer TOKEN', or as 'X-API-Key: TOKEN'. Its operator "
    "knows whether it may also come as ?key=TOKEN in the URL.",
    (b"WWW-Authenticate", b'Bearer realm="mcp"'),
    reason="token",
)
METRICS_CHALLENGE = page_error(
    401,
    "unauthorized",
    "This page needs METRICS_TOKEN, as 'Authorization: Bearer TOKEN'.",
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
AMBIGUOUS_CREDENTIALS = bad_request(
    400,
    "Bad request: the same kind of credential came twice. Send one Authorization header, one "
    "X-API-Key header, or one key parameter.",
    reason="ambiguous-credentials",
)
UPSTREAM_UNREACHABLE = upstream_failed(
    502,
    "The MCP server behind the gate cannot be reached. It may be starting; try again in a few seconds.",
    (b"Retry-After", b"2"),
    reason="upstream-unreachable",
)
UPSTREAM_DOWN = upstream_failed(
    502,
    "The MCP server behind the gate has stopped answering: it is down, or is being restarted. Try again in a "
    "few seconds; if that does not help, tell its operator.",
    (b"Retry-After", b"2"),
    reason="upstream-down",
)
UPSTREAM_BROKE = upstream_failed(
    502,
    "The MCP server behind the gate broke off before it had answered. The request may have taken effect all the "
    "same: look before you send it again.",
    reason="upstream-broke",
)
UPSTREAM_REDIRECTED = upstream_failed(
    502,
    "The MCP server behind the gate answered with a redirect, which is not passed on. "
    "Its operator finds the cause in the gate's log.",
    reason="upstream-redirected",
)
UPSTREAM_TIMED_OUT = upstream_failed(
    504,
    "The MCP server behind the gate took too long to answer. The request may have taken effect all the same, or "
    "still do so: look before you send it again.",
    reason="upstream-timeout",
)

STARTING = busy(
    "The MCP server behind the gate is still starting. Try again in a few seconds.",
    5,
    reason="starting",
)
DRAINING = busy(
    "The gate is about to restart and takes no new requests. Try again in a few seconds.",
    5,
    CLOSE_CONNECTION,
    reason="draining",
)
TOO_MANY_CONNECTIONS = busy(
    "The gate has as many connections as it can hold. Try again in a few seconds.",
    5,
    CLOSE_CONNECTION,
    reason="connections",
)
TOO_MANY_OF_NAME = rpc_error(
    429,
    TOO_MANY,
    "This token holds as many connections as it may, and all are in use. Close some, or try again in a few "
    "seconds.",
    (b"Retry-After", b"5"),
    CLOSE_CONNECTION,
    reason="token-connections",
)
TOO_MANY_BODIES = busy(
    "The gate is already taking in as many large requests as it can hold. Try again in a few seconds.",
    5,
    CLOSE_CONNECTION,
    reason="bodies",
)
BODY_TOO_LARGE = bad_request(
    413,
    "The request is larger than the gate passes on. Send less at once.",
    CLOSE_CONNECTION,
    reason="too-large",
)
BODY_TOO_SLOW = bad_request(
    408,
    "The request's body came too slowly. Try again.",
    CLOSE_CONNECTION,
    reason="too-slow",
)
MISDIRECTED = bad_request(
    421,
    "The gate does not answer to this host name. Use its own address, or have its operator set PUBLIC_URL "
    "to this one, or add the name to ALLOWED_HOSTS.",
    reason="host",
)
FOREIGN_ORIGIN = bad_request(
    403,
    "The gate takes no requests from web pages of this origin. Its operator can add it to "
    "ALLOWED_ORIGINS.",
    reason="origin",
)
METHOD_UNKNOWN = bad_request(
    405,
    "The gate does not know this HTTP method. MCP uses POST, GET and DELETE.",
    (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    CLOSE_CONNECTION,
    reason="method",
)
HTTP_VERSION_NOT_SUPPORTED = bad_request(
    505,
    "The gate speaks HTTP/1.1 and HTTP/1.0. Use one of them.",
    CLOSE_CONNECTION,
    reason="http-version",
)
EXPECTATION_FAILED = bad_request(
    417,
    "The gate knows no expectation but 100-continue. Send the request without Expect.",
    CLOSE_CONNECTION,
    reason="expectation",
)
NO_WEBSOCKET = bad_request(
    400,
    "MCP has no WebSocket transport. Send requests by POST.",
    CLOSE_CONNECTION,
    reason="websocket",
)

_MALFORMED = {
    400: "This is no well-formed HTTP/1.1 request, so the gate has read no further. Update the client.",
    414: "The URL is longer than the gate accepts. Send a shorter one, or ask the operator to raise MAX_TARGET_BYTES.",
    431: "The header fields are more, or longer, than the gate accepts. Send fewer, or ask the operator to raise "
    "MAX_HEADER_FIELDS or MAX_HEADER_BYTES.",
    501: "The gate does not know this transfer encoding. Send the body chunked, or with a Content-Length.",
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


UNCLEAR_CALL = bad_request(
    400,
    "Bad request: MCP-Protocol-Version, Mcp-Method and Mcp-Name must each come once, and be readable "
    "in one way only. Update the client.",
    reason="unclear-call",
)
NO_MCP_METHOD = bad_request(
    400,
    "Bad request: a request of MCP 2026-07-28 has the field Mcp-Method. Update the client.",
    reason="no-mcp-method",
)
BESIDE_ENDPOINT = forbidden(
    "Forbidden: this token may use some tools only, and no path but the MCP endpoint. Ask the operator of this "
    "server for a token without lists.",
    "grants",
)

# The status, the code and the words of the MCP SDK (2.3.0), so that clients understand it.
SESSION_NOT_FOUND = rpc_error(
    404, INVALID_REQUEST, "Session not found. Open a new one with initialize.", reason="session"
)

# No 404: a client would take it for the end of its session.
SESSIONS_UNKNOWN = busy(
    "The gate cannot tell now whether this session exists: the store that it shares with other gates does not "
    "answer. Keep the session, and try again in a few seconds.",
    5,
    reason="sessions-unknown",
)
TOO_MANY_QUESTIONS = busy(
    "This token sends more requests at a time than the gates can look up. Send fewer at a time, or try again in "
    "a few seconds.",
    2,
    reason="token-questions",
)

NOT_FROM_GATE = rpc_error(
    403,
    UNAUTHORIZED,
    "This server answers only to the gate in front of it. Use the gate's address.",
    reason="not-from-gate",
)

FAILED = rpc_error(
    500,
    GATE_FAILED,
    "The gate itself failed; its operator finds the fault in the log.",
    reason="failed",
)

NOT_FOUND = page_error(
    404,
    "not_found",
    "Nothing is here, and no OAuth: the MCP endpoint is /mcp. If the client came here, its access "
    "token was missing, wrong, expired or revoked: set a good one as 'Authorization: Bearer TOKEN'.",
    reason="not-found",
)
OLD_TRANSPORT = page_error(
    404,
    "not_found",
    "Nothing is here: this gate does not carry MCP's old HTTP+SSE transport (/sse, /messages). The MCP endpoint is "
    "/mcp, with Streamable HTTP: give the client that URL, and where it asks for a transport, choose http "
    "(streamable-http, http-only), not sse.",
    reason="old-transport",
)
METHOD_NOT_ALLOWED = page_error(
    405,
    "method_not_allowed",
    "This page answers GET and HEAD. The MCP endpoint is /mcp.",
    (b"Allow", b"GET, HEAD"),
    reason="method-not-allowed",
)
