"""An observer of a server that runs elsewhere: says, once, what may be wrong if that server refuses calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from gatehouse.records.record import Record

logger = logger_of("gate")

ENDPOINT = frozenset({"/mcp", "/mcp/"})

WANTS_CREDENTIAL = "it wants a credential of the gate's, or another one: see UPSTREAM_AUTHORIZATION (a client's token never reaches it)"
NO_ENDPOINT = (
    "is its MCP endpoint elsewhere (UPSTREAM_URL, UPSTREAM_PATH), or does it offer the old HTTP+SSE transport (/sse) "
    "only, which the gate does not carry? Start it with Streamable HTTP"
)
SAYS = {
    401: WANTS_CREDENTIAL,
    403: WANTS_CREDENTIAL,
    404: f"{NO_ENDPOINT}. A private Space says the same if UPSTREAM_AUTHORIZATION lacks its token",
    405: NO_ENDPOINT,
}


class Doubts:
    """Looks at the answers to POST at the endpoint: one line for each status, until a call succeeds.

    Servers need not know `server/discover`, with which newer clients begin. Once a call has succeeded, 404 is the end of a session and 403 the server's word on a call, and there is nothing to doubt.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._told: set[int] = set()
        self._works = False

    def __call__(self, record: Record) -> None:
        status = record.status
        if record.method != "POST" or record.outcome != "done" or record.path not in ENDPOINT:
            return
        if status < 300:
            self._works = True
            self._told.clear()
        elif status in SAYS and status not in self._told:
            if status != 401 and (self._works or record.rpc_method == "server/discover"):
                return
            self._told.add(status)
            words = "upstream %s answers calls with %d: %s"
            logger.warning(words, self._upstream, status, SAYS[status])
