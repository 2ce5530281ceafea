"""Settings of the MCP server behind the gate: which one it is, where it is, and how the gate calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from gatehouse.http.address import is_loopback, is_nearby
from gatehouse.identity.rate import parse_rate
from gatehouse.settings.exposed import Exposed, covers
from gatehouse.settings.kinds import (
    EndpointPath,
    File,
    Host,
    ImportString,
    MaybeRate,
    Port,
    lowered,
)
from gatehouse.settings.upstream_url import Authorization, MaybeUpstreamUrl, UpstreamUrl
from gatehouse.upstream.base import HOSTED_IDLE_SECONDS
from gatehouse.upstream.tls import trust_fault

if TYPE_CHECKING:
    from collections.abc import Iterator


TLS_PORT = 443
"""The port where no server speaks plain HTTP (RFC 9110 section 4.2.2)."""


def _keep_alive(value: Any) -> Any:
    """The seconds; true and false are what this setting was before."""
    word = str(value).strip().lower()
    if word in {"true", "yes", "on"}:
        return HOSTED_IDLE_SECONDS
    return 0 if word in {"false", "no", "off"} else value


class UpstreamSettings(BaseModel):
    """The server, and the way to it."""

    upstream_host: Host = "127.0.0.1"
    """The address of the MCP server; a loopback address unless MCP_APP is empty."""

    upstream_port: Port = 7870
    """The port of the MCP server."""

    upstream_path: EndpointPath = "/mcp"
    """The path of the server's endpoint; the gate sends both /mcp and /mcp/ there."""

    upstream_url: MaybeUpstreamUrl = None
    """The whole of that as one, for a server that runs elsewhere: https://host/mcp, or http://. MCP_APP then counts as empty."""

    upstream_ca: File = None
    """The file (PEM) of the certificate authorities for UPSTREAM_URL=https://... Unset: those of this machine."""

    upstream_authorization: Authorization = None
    """The value of Authorization for the server that runs elsewhere, such as Bearer hf_...; nobody else gets it."""

    mcp_app: ImportString = "mcp_app:mcp"
    """The FastMCP server to host, as module:name. Empty: host none, because one already runs at the upstream address."""

    upstream_mode: Annotated[Literal["network", "inprocess"] | None, BeforeValidator(lowered)] = (
        None
    )
    """How the gate reaches a hosted server: inprocess (a direct call) or network (at a port)."""

    upstream_runtime: Annotated[Literal["asyncio", "trio"] | None, BeforeValidator(lowered)] = None
    """The runtime of a server that is called directly: asyncio or trio.
    Unset: what the server's module says by a name UPSTREAM_RUNTIME of its own, otherwise asyncio."""

    expose_paths: Exposed = ()
    """Paths of the server's outside its endpoint that pass, too, separated by commas: /path, or /path/* for all below it.
    With the words «without token» behind it, such a path is open to everybody."""

    expose_rate: MaybeRate = parse_rate("300/min, burst 100")
    """How often one address may ask for paths that are open without a token; beyond that 429."""

    upstream_keep_alive: Annotated[float, BeforeValidator(_keep_alive), Field(ge=0, le=3600)] = 1
    """How many seconds a connection to a server that runs elsewhere may rest and still be used again. 0: never."""

    start_seconds: Annotated[float, Field(ge=0, le=3600)] = 10
    """How long requests wait for the hosted server to start; then 503."""

    start_requests: Annotated[int, Field(ge=0, le=100_000)] = 64
    """How many requests may wait for the hosted server to start; one more gets 503."""

    @property
    def hosts_upstream(self) -> bool:
        """True if this program runs the MCP server itself, False if the server runs elsewhere."""
        return bool(self.mcp_app) and self.upstream_url is None

    @property
    def upstream_at(self) -> UpstreamUrl:
        """Where the server is."""
        parts = (self.upstream_host, self.upstream_port, self.upstream_path)
        return self.upstream_url or UpstreamUrl("http", *parts)

    @property
    def idle_seconds(self) -> float:
        """How long a connection to the server may rest and still be used again."""
        return HOSTED_IDLE_SECONDS if self.hosts_upstream else self.upstream_keep_alive

    @property
    def in_process(self) -> bool:
        """True if the gate calls the hosted server directly, not through a port of its own."""
        return (
            self.upstream_mode or ("inprocess" if self.hosts_upstream else "network")
        ) == "inprocess"

    @property
    def runtime(self) -> str:
        """The runtime of the hosted server; empty if its module may say."""
        return self.upstream_runtime or ("" if self.in_process else "asyncio")

    def url_disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings that do not go with UPSTREAM_URL, with UPSTREAM_AUTHORIZATION or without: names, and a sentence."""
        for name in ("mcp_app", "upstream_host", "upstream_port", "upstream_path"):
            default = type(self).model_fields[name].default
            if self.upstream_url is not None and getattr(self, name) not in (default, ""):
                yield (
                    {"upstream_url", name},
                    f"{name.upper()}: does not go with UPSTREAM_URL, which says where the server is; take one of the two away",
                )
        at = self.upstream_at
        if at.scheme == "https" and (fault := trust_fault(self.upstream_ca)):
            yield {"upstream_url", "upstream_ca"}, f"UPSTREAM_CA: {fault}"
        if self.upstream_ca is not None and at.scheme != "https":
            yield (
                {"upstream_url", "upstream_ca"},
                "UPSTREAM_CA: is for a server that is reached over TLS; set UPSTREAM_URL=https://..., too",
            )
        if self.upstream_authorization is None:
            return
        if self.hosts_upstream:
            yield (
                {"mcp_app", "upstream_url", "upstream_authorization"},
                "UPSTREAM_AUTHORIZATION: is for a server that runs elsewhere; set UPSTREAM_URL, too",
            )
        elif at.scheme != "https" and not is_nearby(at.host):
            yield (
                {"upstream_url", "upstream_host", "upstream_authorization"},
                "UPSTREAM_AUTHORIZATION: would cross the network for everybody to read; set UPSTREAM_URL=https://...",
            )

    def exposure_disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Exposed paths by which somebody would get to the endpoint: names, and a sentence."""
        endpoint = self.upstream_at.path
        for exposed in self.expose_paths:
            if covers(exposed, endpoint) and not (exposed.prefix and exposed.needs_token):
                yield (
                    {"upstream_url", "upstream_path", "expose_paths"},
                    (
                        f"EXPOSE_PATHS: {exposed} leads to the MCP endpoint {endpoint}, which clients reach at "
                        "/mcp, and never without a token"
                    ),
                )

    def upstream_disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings of the upstream that do not go together: their names, and a sentence."""
        yield from self.url_disagreements()
        yield from self.exposure_disagreements()
        if (
            not self.hosts_upstream
            and self.upstream_at.scheme == "http"
            and self.upstream_at.port == TLS_PORT
        ):
            yield (
                {"mcp_app", "upstream_url", "upstream_port"},
                (
                    f"UPSTREAM_{'URL' if self.upstream_url else 'PORT'}: port 443 is for TLS; set UPSTREAM_URL=https://{self.upstream_at.host}"
                    f"{self.upstream_at.path} instead of UPSTREAM_HOST, UPSTREAM_PORT and UPSTREAM_PATH"
                ),
            )
        if self.hosts_upstream and not is_loopback(self.upstream_host):
            yield (
                {"mcp_app", "upstream_host"},
                (
                    "UPSTREAM_HOST: must be a loopback address such as 127.0.0.1 while MCP_APP is set, or "
                    "others could reach the MCP server without passing the gate; if the server runs elsewhere, set MCP_APP to nothing (MCP_APP=)"
                ),
            )
        if self.in_process and not self.hosts_upstream:
            yield (
                {"mcp_app", "upstream_mode"},
                "UPSTREAM_MODE: inprocess needs a server to host; set MCP_APP, or UPSTREAM_MODE=network",
            )
        if self.runtime == "trio" and not self.in_process:
            yield (
                {"mcp_app", "upstream_mode", "upstream_runtime"},
                (
                    "UPSTREAM_RUNTIME: trio needs UPSTREAM_MODE=inprocess, since the server that listens at "
                    "a port runs on asyncio"
                ),
            )
