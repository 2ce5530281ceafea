"""Requests to one page, without sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from gatehouse.downstream.exchange import Exchange
from gatehouse.http.request import read_request
from tests.harness.request_of import LIMITS, scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gatehouse.http.reply import Reply
    from gatehouse.pages.table import Page

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
JSON = (b"Content-Type", b"application/json")


async def reply_of(
    page: Page,
    target: str,
    *fields: tuple[bytes, bytes],
    body: bytes = b"",
    method: str = "POST",
    client: str = "192.0.2.1",
) -> Reply:
    """The reply of the page to a request with these header fields and this body, from that address."""
    length = [(b"Content-Length", b"%d" % len(body))] if body else []
    scope = scope_of([*fields, *length], method=method, target=target.encode())
    cast("Any", scope)["client"] = (client, 1)

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(message)  # a page returns its reply, and sends nothing

    request = read_request(cast("Any", scope), LIMITS)
    return await page(Exchange(request, receive, send, LIMITS, {}))


async def reply_to_form(
    page: Page,
    target: str,
    form: Mapping[str, str] | Sequence[tuple[str, str]],
    *fields: tuple[bytes, bytes],
    client: str = "192.0.2.1",
) -> Reply:
    """The reply to a form."""
    return await reply_of(page, target, FORM, *fields, body=urlencode(form).encode(), client=client)
