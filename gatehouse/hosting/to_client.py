"""The texts that a tool sends to its client (`ctx.info` and the like) are tied to the request that called it.

FastMCP logs each of them at level debug, whatever level the tool has chosen. The log has them at that level only,
since a tool may put its arguments into them.
"""

from __future__ import annotations

import logging

from gatehouse.hosting.tool_lock import NOBODY, current_scope
from gatehouse.upstream.inprocess import REQUEST_ID

TO_CLIENT = "fastmcp.server.context.to_client"
"""FastMCP's logger for these texts."""


def tie_texts_to_requests() -> None:
    """From here on each such line begins with the id of its request: a long text is cut at its end."""
    texts = logging.getLogger(TO_CLIENT)
    texts.setLevel(logging.DEBUG)  # those of `ctx.debug`, too: libraries stay at info otherwise
    texts.addFilter(_tie)


def _tie(entry: logging.LogRecord) -> bool:
    if request_id := (current_scope() or NOBODY).get(REQUEST_ID):
        entry.msg = f"id {request_id}: {entry.msg}"
    return True
