"""Local replies: the responses that the gate makes itself, as plain values.

On the MCP endpoint a refusal is a JSON-RPC error, which MCP clients show to their user; elsewhere it
is JSON whose `error` is a string, which is what OAuth discovery expects of a 404.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

# The JSON-RPC codes that MCP leaves to implementations are -32000..-32019, of which -32000, -32001 and
# -32002 are in use; -32020..-32022 would tell a client that a 2026-07-28 server speaks here.
UNAUTHORIZED = -32010
BAD_CREDENTIALS = -32011
UPSTREAM_FAILED = -32012
GATE_FAILED = -32013


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response: status, header fields without framing, and body."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def json_reply(status: int, content: dict[str, Any], *headers: tuple[bytes, bytes]) -> Reply:
    """A JSON reply; never to be stored, since what it says is true only now."""
    fixed = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"))
    return Reply(status, json.dumps(content).encode(), (*fixed, *headers))


def rpc_error(status: int, code: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A JSON-RPC error. The id is null (JSON-RPC 2.0 section 5): the request was not read."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return json_reply(status, error, *headers)


# The same bytes for a missing and a wrong token. No `resource_metadata`, `scope` or `error` in the
# challenge: clients take each of them for an invitation to OAuth.
CHALLENGE = rpc_error(
    401,
    UNAUTHORIZED,
    "Unauthorized: this MCP server needs its access token. Send it as 'Authorization: Bearer TOKEN', "
    "or as 'X-API-Key: TOKEN', or add ?key=TOKEN to the URL if the client cannot send headers.",
    (b"WWW-Authenticate", b'Bearer realm="mcp"'),
)
AMBIGUOUS_CREDENTIALS = rpc_error(
    400,
    BAD_CREDENTIALS,
    "Bad request: the same kind of credential came twice. Send one Authorization header, one "
    "X-API-Key header, or one key parameter.",
)
UPSTREAM_UNREACHABLE = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate cannot be reached. It may be starting; try again in a few seconds.",
    (b"Retry-After", b"2"),
)
UPSTREAM_BROKE = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate broke off before it had answered. Try again.",
)
UPSTREAM_REDIRECTED = rpc_error(
    502,
    UPSTREAM_FAILED,
    "The MCP server behind the gate answered with a redirect, which is not passed on. "
    "Its operator finds the cause in the gate's log.",
)
UPSTREAM_TIMED_OUT = rpc_error(
    504,
    UPSTREAM_FAILED,
    "The MCP server behind the gate took too long to accept the request. Try again.",
)

FAILED = rpc_error(
    500, GATE_FAILED, "The gate itself failed; its operator finds the fault in the log."
)

NOT_FOUND = json_reply(
    404, {"error": "not_found", "error_description": "Nothing is here. The MCP endpoint is /mcp."}
)
METHOD_NOT_ALLOWED = json_reply(
    405,
    {"error": "method_not_allowed", "error_description": "This page answers GET and HEAD."},
    (b"Allow", b"GET, HEAD"),
)
ALIVE = json_reply(200, {"status": "ok"})
READY = json_reply(200, {"status": "ready"})
NOT_READY = json_reply(503, {"status": "starting"}, (b"Retry-After", b"2"))
