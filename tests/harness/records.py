"""Records of four requests, and a value of a token that no redactor has been told of."""

from __future__ import annotations

import logging

from gatehouse.records.record import Record

ANSWERED = Record(
    request_id="5f0c1122aabbccdd",
    client="203.0.113.7",
    name="alice",
    lane="header",
    method="POST",
    path="/mcp",
    route="mcp",
    rpc_method="tools/call",
    differs=False,
    result="ok",
    tool="list_inventory",
    status=200,
    bytes_in=210,
    bytes_out=300,
    first_byte_seconds=0.0029,
    seconds=0.00314,
    outcome="done",
    reason="",
)

LEFT = ANSWERED._replace(status=499, bytes_out=0, first_byte_seconds=None, outcome="client left")
STRANGER = ANSWERED._replace(name="", lane="", rpc_method="", tool="")
REFUSED = STRANGER._replace(status=401, outcome="refused", reason="token")
VALUE = "mcpgate_Zk3-9fQ_x7Lw2sVbN4tRyU8iOp1aSdFgHjKlQwErT-z"
"""As the gate's tool makes one; no redactor here has been told of it."""


def entry(message: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "gate", "levelname": "WARNING", "msg": message, **fields})
