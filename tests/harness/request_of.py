"""Requests as the gate reads them, for tests that need no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gatehouse.http.request import read_request
from gatehouse.settings.environment import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gatehouse.http.limits import Limits
    from gatehouse.http.request import Request

LIMITS = Settings(_env_file=None).limits


def scope_of(
    fields: Iterable[tuple[bytes, bytes]] = (), *, method: str = "POST", target: bytes = b"/mcp"
) -> dict[str, Any]:
    """An ASGI scope as the connection makes it."""
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "raw_path": path,
        "query_string": query,
        "headers": list(fields),
        "client": ("192.0.2.7", 1),
        "state": {},
    }


def request_of(
    fields: Iterable[tuple[bytes, bytes]] = (),
    *,
    method: str = "POST",
    target: bytes = b"/mcp",
    limits: Limits = LIMITS,
    hops: int = 0,
) -> Request:
    """The request with these header fields."""
    scope = scope_of(fields, method=method, target=target)
    return read_request(cast("Any", scope), limits, hops)


class Counting(list[tuple[bytes, bytes]]):
    """A list that knows how often somebody has gone through it."""

    passes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self.passes += 1
        return super().__iter__()
