"""The form that a browser sends: read whole, within bounds, in the one form that the dashboard's pages send."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from gatehouse.downstream.body import BodyTooLargeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gatehouse.downstream.exchange import Exchange

MAX_FORM_BYTES = 64 * 1024
"""The largest form. The longest of ours has a few kilobytes: the names of tools that a token may use."""

MAX_FIELDS = 200
"""The most fields of a form."""

FORM_TYPE = b"application/x-www-form-urlencoded"
"""The one type that is read: what browsers send for a form without files (HTML Standard, 4.10.22.7)."""


class BadFormError(Exception):
    """The form cannot be read: a sentence for the page, and the status and the reason of the answer."""

    def __init__(self, words: str, *, status: int, reason: str, ends: bool = False) -> None:
        super().__init__(words)
        self.words, self.status, self.reason = words, status, reason
        self.ends = ends
        """True if the connection must end, because the rest of the body is not worth reading."""


class Form:
    """The fields of a form, each with its values in their order."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in fields:
            self._fields.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The first value of that name, without blanks around it; empty if there is none."""
        return self._fields.get(name, [""])[0].strip()

    @property
    def names(self) -> Collection[str]:
        """The names of all fields."""
        return self._fields.keys()

    def all(self, name: str) -> list[str]:
        """All values of that name, as they were sent."""
        return list(self._fields.get(name, ()))


async def read_form(exchange: Exchange) -> Form:
    """The form in the body of the request. Raises BadFormError, or ClientLeftError.

    A body that falls silent, or comes too slowly, ends as it does on its way to the MCP server.
    """
    request = exchange.request
    kinds = request.values.get(b"content-type", ())
    kind = kinds[0].partition(b";")[0].strip().lower() if len(kinds) == 1 else b""
    if kind != FORM_TYPE or b"content-encoding" in request.values:
        raise BadFormError(
            "This is no form of the dashboard's.", status=415, reason="form-type", ends=True
        )
    return parse_form(await read_body(exchange, MAX_FORM_BYTES))


async def read_body(exchange: Exchange, max_bytes: int) -> bytes:
    """The whole body of the request. Raises BadFormError if it is larger, or comes too slowly; or ClientLeftError."""
    request, body = exchange.request, exchange.body
    too_large = BadFormError(
        "The form holds more than the gate takes.", status=413, reason="form-too-large", ends=True
    )
    if (request.length or 0) > max_bytes:
        raise too_large
    text = bytearray()
    try:
        with body.patience as patience:
            async for chunk in body:
                text += chunk
                if len(text) > max_bytes:
                    raise too_large
    except BodyTooLargeError:
        raise too_large from None
    if patience.cancelled_caught:
        raise BadFormError(
            "The form came too slowly.", status=408, reason="form-too-slow", ends=True
        )
    return bytes(text)


def parse_form(text: bytes) -> Form:
    """The fields that stand in a body. Raises BadFormError."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:  # not ASCII, not UTF-8 behind the percent signs, or too many fields
        raise BadFormError(
            "The form cannot be read.", status=400, reason="form-unreadable"
        ) from None
    return Form(pairs)
