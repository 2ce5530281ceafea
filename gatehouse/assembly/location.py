"""Settings to parts: the address by which clients call the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.policy.origins import Origins
from gatehouse.upstream.outbound import Shown

if TYPE_CHECKING:
    import socket

    from gatehouse.settings.environment import Settings


def endpoint_at(settings: Settings, handed: list[socket.socket]) -> str:
    """The endpoint that clients are told of: where the listeners are that were handed down, if there are any."""
    if handed:
        host, port = handed[0].getsockname()[:2]
        settings = settings.model_copy(update={"host": host, "port": port})
    return settings.public_endpoint


def dashboard_origin(settings: Settings, endpoint: str) -> str:
    """The origin of the dashboard, where clients reach the gate at `endpoint`."""
    return settings.dashboard_origin if settings.public_origin else endpoint.removesuffix("/mcp")


def issuer_at(settings: Settings, endpoint: str) -> str:
    """The gate as an authorization server: the origin by which clients call it, where they reach it at `endpoint`."""
    return settings.public_origin or endpoint.removesuffix("/mcp")


def origins_of(settings: Settings) -> Origins:
    """The hosts by which clients may call the gate, and the pages that may."""
    return Origins(
        settings.hosts_allowed,
        settings.allowed_origins,
        loopback=settings.on_loopback,
        public=settings.public_origin,
    )


def shown_by(settings: Settings) -> Shown:
    """The address that the upstream sees. A hosted server is called by it if it is known, or the fronts tell it."""
    scheme, _, authority = settings.public_origin.encode("ascii").partition(b"://")
    known = bool(authority)
    return Shown(
        (scheme, authority) if known else None,
        as_host=settings.hosts_upstream and (known or settings.hops > 0),
    )
