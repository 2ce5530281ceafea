"""The requests that the gate sends to the upstream: a client's, and its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import httpx

from gatehouse.http.forward import VIA, request_headers
from gatehouse.http.paths import upstream_target

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers
    from gatehouse.http.front_marks import FrontMarks
    from gatehouse.http.request import Request


FROM_HERE: Headers = [(b"X-Forwarded-For", b"127.0.0.1"), (b"X-Forwarded-Proto", b"http"), VIA]
"""The gate itself asks; its requests have the fields of all others, since servers may count on them."""


class Shown(NamedTuple):
    """The address by which clients call the gate, for the upstream to see."""

    public: tuple[bytes, bytes] | None = None
    """Its scheme and authority; None if each request tells them."""
    as_host: bool = False
    """True if the upstream is called by it (Host), so that it makes its links with it, False if it is only told."""


class Callers(Protocol):
    """Knows what the upstream is told of principals."""

    def fields(self, principal: Any) -> Headers:
        """The header fields that tell of a principal; none without one."""

    def fields_of(self, caller: str) -> Headers:
        """The header fields that tell of the principal of that id."""


class Outbound:
    """Makes requests for the upstream at `authority`, whose MCP endpoint has the path `endpoint`.

    `own_fields` are the gate's own header fields for each request. `callers` tell the upstream whose request it gets.
    `shown` is the address that it sees as the gate's. `marks` of a signed front are for the gate alone.
    """

    def __init__(
        self,
        authority: str,
        endpoint: bytes,
        own_fields: Headers,
        *,
        callers: Callers,
        shown: Shown,
        marks: FrontMarks | None = None,
    ) -> None:
        self._authority = authority.encode("ascii")
        self._endpoint = endpoint
        self._own_fields = own_fields
        self._callers = callers
        self._shown = shown
        self._marks = marks
        self._url = httpx.URL(f"http://{authority}")

    def forwarded(
        self, request: Request, principal: Any, body: httpx.AsyncByteStream
    ) -> httpx.Request:
        """A client's request, of that principal, if any; `stream=` makes httpx add no header field of its own."""
        public = self._shown.public or (request.scheme, request.value(b"host") or b"")
        host = public[1] if self._shown.as_host and public[1] else self._authority
        return httpx.Request(
            request.method,
            self._url,
            headers=request_headers(request, host=host, public=public, marks=self._marks)
            + self._own_fields
            + self._callers.fields(principal),
            stream=body,
            extensions={
                "target": upstream_target(request.path, request.query, self._endpoint),
                "id": request.id,
            },
        )

    def farewell(self, session: bytes, owner: str) -> httpx.Request:
        """The end of a session that belongs to the principal of that id."""
        fields = [(b"Mcp-Session-Id", session)]
        return self._to_endpoint("DELETE", fields, self._callers.fields_of(owner))

    def question(self, body: bytes, fields: Headers, asker: Any) -> httpx.Request:
        """A message of the gate's own, on behalf of that principal."""
        framing = [(b"Content-Length", b"%d" % len(body))]
        return self._to_endpoint("POST", [*fields, *framing], self._callers.fields(asker), body)

    def _to_endpoint(
        self, method: str, fields: Headers, caller: Headers, body: bytes = b""
    ) -> httpx.Request:
        return httpx.Request(
            method,
            self._url,
            headers=[
                *((b"Host", self._authority), *fields),
                *(*FROM_HERE, *self._own_fields, *caller),
            ],
            stream=httpx.ByteStream(body),
            extensions={"target": self._endpoint},
        )
