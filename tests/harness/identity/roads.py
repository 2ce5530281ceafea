"""Ways to servers that are not where their names say: `https://gate.example` is served on loopback, without TLS.

A client of httpx with Roads for its transport takes the URL as it stands, for its cookies and for Host, and asks there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 20.0


class Roads(httpx.BaseTransport):
    """Leads requests for each origin to the origin that `to` has for it, and all others to where they are for.

    Each has a connection of its own: a gate may begin anew in between.
    """

    def __init__(self, to: Mapping[str, str]) -> None:
        self.to = to
        self._real = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        there = self.to.get(origin_of(str(request.url)))
        if there is not None:
            url = httpx.URL(there).copy_with(raw_path=request.url.raw_path)
            request = httpx.Request(
                request.method,
                url,
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return self._real.handle_request(request)

    def close(self) -> None:
        self._real.close()


def origin_of(url: str) -> str:
    """The origin of a URL, as browsers write it."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"
