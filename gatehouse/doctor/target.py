"""The URL that the doctor is to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from gatehouse.http.address import is_loopback

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where the endpoint is. `path` has no query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole, without any secret."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def private(self) -> bool:
        """True if nobody on the way can read along: TLS, or this machine."""
        return self.scheme == "https" or is_loopback(self.host)

    @property
    def other_spelling(self) -> str:
        """The path with a slash at its end, or without."""
        return self.path.removesuffix("/") if self.path.endswith("/") else f"{self.path}/"

    def at(self, path: str) -> Target:
        """Another path there."""
        return replace(self, path=path)


def read_target(text: str) -> tuple[Target, str]:
    """The target, and the token that stood in the URL as `?key=`, if one did.

    Raises ValueError in words that repeat nothing of the URL: it may hold a secret.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ValueError("this is no URL; write https://host/mcp") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("the URL must begin with https:// or http://, and name a host")
    if parts.username is not None:
        raise ValueError(
            "the URL has a user before the host; the gate knows tokens only: use --token-file"
        )
    if not text.isascii() or not text.strip().isprintable() or " " in text.strip():
        raise ValueError("the URL may hold visible ASCII characters only")
    keys = parse_qs(parts.query).get("key", [""])
    path = "/mcp" if parts.path in {"", "/"} else parts.path
    return Target(parts.scheme, parts.hostname, port or PORTS[parts.scheme], path), keys[0]
