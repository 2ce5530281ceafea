"""Settings of the gate's location: its address, the names it answers to, and the fronts before it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from gatehouse.http.address import is_loopback
from gatehouse.policy import origins
from gatehouse.settings.hosts import Hosts, Listed, Origins
from gatehouse.settings.kinds import Host, Port
from gatehouse.settings.public_url import PublicUrl


class LocationSettings(BaseModel):
    """Where the gate listens, and how others reach it."""

    host: Host = "127.0.0.1"
    """The address the gate listens at."""

    port: Port = 7860
    """The port the gate listens at."""

    public_url: PublicUrl = None
    """The URL by which clients call the gate, such as https://gate.example.com. Unset: in a Space that of its first host name."""

    allowed_hosts: Hosts = ()
    """The host names by which clients may call the gate, separated by commas; others get 421."""

    allowed_origins: Origins = ()
    """The web pages that may send requests, as https://app.example, separated by commas; others get 403."""

    trusted_hops: Annotated[int | None, Field(ge=0, le=16)] = None
    """How many fronts (proxies before the gate) add the address they see to X-Forwarded-For. Unset: 1 in a Space, otherwise 0."""

    # Set by Hugging Face in a Space, not by the user: they tell where we are, not what to do.
    space_id: str = ""
    space_host: Listed = ()

    @property
    def in_space(self) -> bool:
        """True in a Hugging Face Space, which is always reachable from outside."""
        return bool(self.space_id)

    @property
    def on_loopback(self) -> bool:
        """True if the gate listens where only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def exposed(self) -> bool:
        """True if others can reach the gate."""
        return self.in_space or not self.on_loopback

    @property
    def hosts_allowed(self) -> tuple[str, ...]:
        """The names that Host may have, in lower case; none means that the bind address decides."""
        return self.allowed_hosts or (self.space_host if self.in_space else ())

    @property
    def hops(self) -> int:
        """How many fronts stand before the gate; each adds the address that it sees."""
        return int(self.in_space) if self.trusted_hops is None else self.trusted_hops

    @property
    def local_endpoint(self) -> str:
        """The MCP endpoint's URL for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/mcp"

    @property
    def public_origin(self) -> str:
        """The scheme and host by which clients call the gate; empty if that is not known."""
        # A Space with a custom domain has several names; the first one is canonical.
        space_hosts = self.space_host if self.in_space else ()
        known = origins.Origins(self.hosts_allowed, (), loopback=self.on_loopback)
        callable_hosts = [host for host in space_hosts if known.knows(host.encode("ascii"))]
        return self.public_url or (f"https://{callable_hosts[0]}" if callable_hosts else "")

    @property
    def public_endpoint(self) -> str:
        """The MCP endpoint's URL for a client, as far as the settings tell it."""
        return f"{self.public_origin}/mcp" if self.public_origin else self.local_endpoint
