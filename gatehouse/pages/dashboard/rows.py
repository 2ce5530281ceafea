"""The last requests as rows of a table, redacted, and the filters for them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode

from gatehouse.identity.principal import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gatehouse.records.recent import Seen
    from gatehouse.records.record import Record

MAX_FILTER_LENGTH = 100
"""How long a text to look for may be. Names are shorter."""

MAX_FILTER_FIELDS = 20
"""How many parameters of a query are read. There are five."""

NOBODY = "(nobody)"
"""In place of a name, for requests without a known one. No name has parentheses."""

OUTCOMES = (
    ("", "All outcomes"),
    ("done", "Done"),
    ("error", "Ended with an error"),
    ("refused", "Refused"),
    ("failed", "The server failed"),
    ("left", "The client left"),
    ("ended", "Cut or revoked"),
)
"""The filters by outcome: the word in the URL, and the words on the page."""

_OUTCOMES = {
    "done": "done",
    "refused": "refused",
    "upstream failed": "failed",
    "upstream broke off": "failed",
    "client left": "left",
    "cut": "ended",
    "revoked": "ended",
}
"""The filter for each outcome in a record."""

_MARKS = {"error": "warn", "refused": "warn", "failed": "bad", "ended": "bad"}
"""The mark of a row, as the style sheet knows it."""


class Row(NamedTuple):
    """A request as the page shows it. All texts are redacted, and none is markup."""

    number: int
    at: str
    """The time of its end, as in `2026-11-27T08:24:12Z`."""
    shown_at: str
    """The same for people, in UTC."""
    name: str
    """Empty if nobody is known to have sent it."""
    source: str
    """The lane, and the client's address."""
    call: str
    """MCP's method and the name of the tool; empty if the request makes no call."""
    request: str
    """HTTP's method and path."""
    status: int
    took: str
    size: str
    """Bytes in and out."""
    kind: str
    """The outcome as the filter knows it."""
    mark: str
    outcome: str
    reason: str
    id: str
    """By which the log has it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The requests to be shown: empty texts let all pass."""

    name: str = ""
    outcome: str = ""
    text: str = ""

    def let(self, row: Row) -> bool:
        """True if the row is to be shown. Only what the page shows is compared, so that nobody finds out a secret by guesses."""
        if self.name and self.name != (row.name or NOBODY):
            return False
        if self.outcome and self.outcome != row.kind:
            return False
        if not self.text:
            return True
        shown = (row.name, row.source, row.call, row.request, row.outcome, row.reason, row.id)
        wanted = self.text.casefold()
        return wanted == str(row.status) or any(wanted in each.casefold() for each in shown)

    @property
    def query(self) -> str:
        """The same as a query; empty if all pass."""
        given = {"name": self.name, "outcome": self.outcome, "text": self.text}
        return urlencode({name: value for name, value in given.items() if value})


def parameters(query: bytes) -> dict[str, str]:
    """The parameters of a query, each once, cut to a bound; none if it cannot be read."""
    try:
        pairs = parse_qsl(query.decode("ascii"), errors="replace", max_num_fields=MAX_FILTER_FIELDS)
    except ValueError:
        return {}
    return {name: value.strip()[:MAX_FILTER_LENGTH] for name, value in reversed(pairs)}


def filters_in(given: dict[str, str]) -> Filters:
    """The filters that the parameters set. An outcome that there is not lets all pass."""
    outcome = given.get("outcome", "")
    known = outcome if outcome in dict(OUTCOMES) else ""
    return Filters(given.get("name", ""), known, given.get("text", ""))


def rows_of(seen: Iterable[Seen], redact: Callable[[str], str]) -> list[Row]:
    """The rows of these requests, in their order."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return [_row(each, redact, today) for each in seen]


def _row(seen: Seen, redact: Callable[[str], str], today: str) -> Row:
    record = seen.record
    there = time.gmtime(seen.time)
    day, clock = time.strftime("%Y-%m-%d %H:%M:%S", there).split(" ")
    kind = "error" if record.is_failed_call else _OUTCOMES.get(record.outcome, "ended")
    texts = [
        record.name,
        f"{_lane(record)}from {record.client}",
        f"{record.rpc_method} {record.tool}".strip(),
        f"{record.method} {record.path}",
        record.request_id,
    ]
    # Hardly a row has a secret, and one look costs less than five.
    together = "\n".join(texts)
    if redact(together) != together:
        texts = [redact(text) for text in texts]
    name, source, call, request, request_id = texts
    return Row(
        number=seen.number,
        at=f"{day}T{clock}Z",
        shown_at=f"{clock} UTC" if day == today else f"{day} {clock} UTC",
        name=name,
        source=source,
        call=call,
        request=request,
        status=record.status,
        took=duration(record.seconds),
        size=f"{size(record.bytes_in)} in, {size(record.bytes_out)} out",
        kind=kind,
        mark=_MARKS.get(kind, ""),
        outcome=_outcome(record),
        reason=record.reason,
        id=request_id,
    )


def _lane(record: Record) -> str:
    if record.lane == OPEN:
        return "needs no token, "
    return f"by {record.lane}, " if record.lane else ""


def _outcome(record: Record) -> str:
    outcome = "ended with an error" if record.is_failed_call else record.outcome
    return f"{outcome}; the body calls something else" if record.differs else outcome


def duration(seconds: float) -> str:
    """A length of time for people, to two or three digits."""
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
