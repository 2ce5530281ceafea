"""Both sides of a call, as they passed, for the record: what was called, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gatehouse.http.calls import BATCH, MAX_CALL_BYTES, Kept, call_in
from gatehouse.http.paths import is_endpoint
from gatehouse.http.results import MAX_ANSWER_BYTES, End, end_of_call

if TYPE_CHECKING:
    from gatehouse.http.mcp import McpCall
    from gatehouse.http.request import Request


class Heard(NamedTuple):
    """The facts for the record."""

    method: str
    name: str
    """Of the tool or prompt."""
    differs: bool
    """True if the body calls something else than the header fields name."""
    end: End


class Overheard:
    """Keeps the beginnings of a request's body and of its answer, and reads them when all is over."""

    def __init__(self) -> None:
        self.request, self.answer = Kept(MAX_CALL_BYTES), Kept(MAX_ANSWER_BYTES)

    def heard(self, told: McpCall | None) -> Heard:
        """The facts; `told` is the call that the header fields name, and counts first."""
        body = call_in(self.request.beginning()) if self.request.is_whole else None
        call = told if told and told.method else body
        differs = body is not None and call != body
        end = end_of_call(self.answer) if call and call.method != BATCH else ""
        return Heard(*(call.for_log if call else ("", "")), differs, end)


def told_only(request: Request) -> Heard:
    """The facts if nobody has listened: those of the header fields, which are MCP's at the endpoint only."""
    told = request.call if is_endpoint(request.path) else None
    return Heard(*(told.for_log if told else ("", "")), False, "")
