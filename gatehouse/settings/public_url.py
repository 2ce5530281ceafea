"""The kind of the setting PUBLIC_URL: the origin by which clients call the gate."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from gatehouse.settings.kinds import stripped

DEFAULT_PORTS = {"http": 80, "https": 443}

EXAMPLE = "such as https://gate.example.com"

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


def _public_url(value: Any) -> Any:
    """The origin of a URL: scheme, host, and the port unless it is the scheme's own. No message repeats the text,
    since it may hold a password.
    """
    text = stripped(value)
    if not isinstance(text, str) or not text:
        return text
    scheme, mark, _ = text.lower().partition("://")
    if not mark or scheme not in DEFAULT_PORTS:
        raise ValueError(f"must begin with https:// or http://, {EXAMPLE}")
    try:
        parts = urlsplit(text.lower())
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError:
        raise ValueError(
            f"has a host or a port that nobody can call; write it {EXAMPLE}, a name with other "
            "letters in its ASCII form (xn--...)"
        ) from None
    if "@" in parts.netloc:
        raise ValueError(f"may hold no user name and no password; write it {EXAMPLE}")
    if "?" in text or "#" in text:
        raise ValueError(f"may have no query and no fragment; write it {EXAMPLE}")
    if parts.path.rstrip("/") not in {"", "/mcp"}:
        raise ValueError(
            f"may have no path, since the gate answers at / and /mcp of its own host; write it {EXAMPLE}"
        )
    return f"{scheme}://{host}" + ("" if port in {None, DEFAULT_PORTS[scheme]} else f":{port}")


def _host(name: str) -> str:
    """The host as it stands in a URL. Raises ValueError if there can be none of that name."""
    name = name.removesuffix(".")
    if ":" in name or re.fullmatch(r"[0-9.]+", name):
        address = ip_address(name)
        if address.is_unspecified:
            raise ValueError
        return f"[{address}]" if isinstance(address, IPv6Address) else name
    if not _NAME.fullmatch(name):
        raise ValueError
    return name


PublicUrl = Annotated[str | None, BeforeValidator(_public_url)]
