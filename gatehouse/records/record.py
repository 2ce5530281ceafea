"""One `Record` of each request when it is over, which observers get.

Nothing in a record is a secret: no query, no header field but the few that are named here. The client
chooses some members (method, path, rpc method, tool), which may hold anything that a client can write.
"""

from __future__ import annotations

import json
from typing import NamedTuple, Protocol

from gatehouse.records.loggers import logger_of

access = logger_of("gate.access")

MAX_WORD = 400
"""How much of a foreign word stands in a line for people: with three such words, the rest of the line (the status, the
token, the id) still fits in its 2 KiB."""

PROBES = frozenset({"health", "ready", "dashboard-now"})
"""Routes that are asked every few seconds, and whose answers are no news."""

MAX_PATH = 2048
"""How much of a path a line for machines gets: no line holds more, and each character is searched for secrets."""


class Record(NamedTuple):
    """One request and what became of it. As text (`str`) it is the line for people, always one line."""

    request_id: str
    client: str
    """Its address."""
    name: str
    """The name of the token, or of the person or machine after their kind and a colon; empty if no known one came."""
    lane: str
    """Where the token came: "header", "query", or empty; "open" for a path that needs none."""
    method: str
    path: str
    """Never includes the query."""
    route: str
    """The path as one of a few words: see `route_of` in `gatehouse/http/paths.py`."""
    rpc_method: str
    tool: str
    differs: bool
    """True if header fields and body name different calls; the two members above are those of the fields."""
    result: str
    """The end of the call: "ok", "error", "refused" or "long", see `gatehouse/http/results.py`; empty if unknown."""
    status: int
    """499 if the client left before there was an answer: nginx's number for that."""
    bytes_in: int
    bytes_out: int
    """Bytes of the two bodies."""
    first_byte_seconds: float | None
    """From the request's head to the answer's head; None if there was none."""
    seconds: float
    outcome: str
    """The outcome, in words: "done", "refused", "client left", ..."""
    reason: str
    """Why it was refused or failed: the `reason` of a `Reply`, else empty."""

    def __str__(self) -> str:
        first = self.first_byte_seconds
        first_byte = "" if first is None else f" (first byte {first * 1000:.1f})"
        lane = f" by {self.lane}" if self.lane else ""
        nobody = ", needs no token" if self.lane else ""
        name = f", {as_word(self.name)}{lane}" if self.name else nobody
        called = f", {as_word(self.rpc_method)}" if self.rpc_method else ""
        tool = f" {as_word(self.tool)}" if self.tool else ""
        if self.differs:
            tool += " (the body calls something else)"
        reason = f": {self.reason}" if self.reason else ""
        outcome = "ended with an error" if self.is_failed_call else self.outcome
        end = f" ({outcome}{reason})" if outcome != "done" else ""
        return (
            f"{as_word(self.method)} {as_word(self.path)} {self.status} {self.seconds * 1000:.1f} ms"
            f"{first_byte}, {self.bytes_in} bytes in, {self.bytes_out} bytes out"
            f"{name}, from {self.client}{called}{tool}, id {self.request_id}{end}"
        )

    @property
    def kind(self) -> str:
        """How the one came who is named: "token", "oauth" or "front"; empty if nobody is. No token has a colon in its name."""
        kind, colon, _ = self.name.partition(":")
        return kind if colon else "token" * bool(kind)

    @property
    def is_failed_call(self) -> bool:
        """True if all went well but the call itself."""
        return self.outcome == "done" and self.result == "error"

    def fields(self) -> dict[str, str | int | float | None]:
        """The same for machines: the members of a line of JSON. Times are in milliseconds."""
        first = self.first_byte_seconds
        return {
            "request_id": self.request_id,
            "client": self.client,
            "token": self.name,
            "kind": self.kind,
            "lane": self.lane,
            "method": self.method,
            "path": self.path[:MAX_PATH],
            "route": self.route,
            "rpc_method": self.rpc_method,
            "tool": self.tool,
            "differs": self.differs,
            "result": self.result,
            "status": self.status,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "first_byte_ms": None if first is None else round(first * 1000, 3),
            "duration_ms": round(self.seconds * 1000, 3),
            "outcome": self.outcome,
            "reason": self.reason,
        }


class Observer(Protocol):
    """Gets the record of every request when it is over. Must neither raise nor wait."""

    def __call__(self, record: Record) -> None: ...


def write(record: Record) -> None:
    """An observer: the one line that a request leaves in the log, below the usual level for a probe that got its answer."""
    tell = access.debug if record.route in PROBES and not record.reason else access.info
    tell(record)  # its handler formats it, as text or as JSON


def as_word(chosen: str) -> str:
    """A foreign text as one word of a line: as it is, or quoted as JSON; cut if it is long.

    With a space it could pass for the words that follow, with a control character for the next line.
    """
    word = chosen if chosen.isprintable() and " " not in chosen else json.dumps(chosen)
    return word if len(word) <= MAX_WORD else f"{word[:MAX_WORD]}...({len(word) - MAX_WORD}-more)"
