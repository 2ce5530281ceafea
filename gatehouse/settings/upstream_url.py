"""Where an upstream is, as one URL, and the credential that it wants."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from gatehouse.settings.kinds import endpoint_path, stripped

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The schemes of upstreams, each with the port that it has if none is named."""

NO_ADDRESS = "has a host or a port that is none; write https://host:port/mcp"

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*")
_AUTHORIZATION = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


class UpstreamUrl(NamedTuple):
    """Where an upstream is: the parts of `http://host:port/path`."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


def _upstream_url(value: Any) -> Any:
    """The parts of a URL. A refused one may hold a secret, and no message repeats it."""
    text = stripped(value)
    if not isinstance(text, str):
        return text
    scheme, mark, _ = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in DEFAULT_PORTS:
        raise ValueError("must begin with https:// or http://, as in https://host/mcp")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(NO_ADDRESS) from None
    if "@" in parts.netloc:
        raise ValueError(
            "may hold no user name and no password; set UPSTREAM_AUTHORIZATION instead"
        )
    if "?" in text or "#" in text:
        raise ValueError(
            "may have no query and no fragment (no ? and no #); a secret belongs into UPSTREAM_AUTHORIZATION"
        )
    if not parts.path:
        raise ValueError(
            "lacks the path of the MCP endpoint, which is /mcp mostly: https://host/mcp"
        )
    if parts.path != "/":
        endpoint_path(parts.path)
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or port == 0:
        raise ValueError(NO_ADDRESS)
    return UpstreamUrl(scheme, host, port or DEFAULT_PORTS[scheme], parts.path)


def _authorization(value: Any) -> Any:
    text = stripped(value)
    if isinstance(text, str) and not _AUTHORIZATION.fullmatch(text):
        raise ValueError("may hold visible ASCII characters only, with single spaces between")
    if isinstance(text, str) and text.lower().startswith("authorization:"):
        raise ValueError("must be the value alone, such as Bearer hf_..., without the field's name")
    return text


Authorization = Annotated[SecretStr | None, BeforeValidator(_authorization)]
MaybeUpstreamUrl = Annotated[UpstreamUrl | None, NoDecode, BeforeValidator(_upstream_url)]
