"""Settings that list hosts and web pages: texts with a clear meaning are accepted, and none that could never match.

The results are as browsers send them: in lower case, without the scheme's own port, and without a final dot. A
leading `*.` stays, and stands for all names below one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

DEFAULT_PORTS = {"http": "80", "https": "443"}

_NAME = re.compile(r"(?:\*\.(?=.*[a-z]))?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?")
_WITH_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*)(?::(?P<port>[0-9]*|\*))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#@\s]+)(?P<rest>\S*)")

MIN_SECRET_LENGTH = 24
"""A plain text of this length or more may be a token."""

COMMAS = "with commas between, without brackets and quotes"


def _listed(value: Any) -> Any:
    """The items of a comma-separated list, in lower case."""
    if not isinstance(value, str):
        return value
    return tuple(item for part in value.lower().split(",") if (item := part.strip()))


def host_name(text: str) -> str | None:
    """The name or address as it is compared; None if it is none."""
    with suppress(ValueError):
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    return text.removesuffix(".") if _NAME.fullmatch(text) else None


def _as_ascii(text: str) -> str:
    """The form in which programs send a name in another script; empty if there is none."""
    with suppress(UnicodeError):
        return text.encode("idna").decode("ascii")
    return ""


def _host(item: str) -> str:
    if (name := host_name(item)) is not None:
        return name
    parts = _WITH_PORT.fullmatch(item)
    bare = host_name(parts["host"]) if parts else None
    if parts and bare and parts["port"] in DEFAULT_PORTS.values():
        return bare
    words = f"{_shown(item)} is no host name; "
    if item == "*":
        raise ValueError(
            words
            + "unset, any passes on a HOST that others can reach; on a loopback HOST name each one"
        )
    if bare:
        raise ValueError(words + f"write {bare}, which is let in with any port")
    inner = _inner_host(item)
    if inner:
        raise ValueError(words + f"write {inner}, without scheme and path")
    raise ValueError(
        words
        + f"write names such as gate.example.com, or *.example.com for those below it, {COMMAS}"
    )


def _shown(item: str) -> str:
    """The item, unless it may hold a secret: a password before @, or a token in the wrong place."""
    if "@" in item:
        return "an entry with @"
    return item if len(item) < MIN_SECRET_LENGTH or re.search("[.:*]", item) else "an entry"


def _inner_host(item: str) -> str | None:
    """The host in a text that holds more, or that is in another script."""
    with suppress(ValueError):
        inner = urlsplit(item if "://" in item else f"//{item}").hostname or ""
        if "@" not in item:
            return host_name(inner) or (not inner.isascii() and host_name(_as_ascii(inner))) or None
    return None


def _origin(item: str) -> str:
    words = f"{_shown(item)} is no origin; "
    if item == "null":
        raise ValueError(words + "browsers send it for any local file and any sandboxed page")
    parts = _ORIGIN.fullmatch(item)
    if parts is None:
        host = _inner_host(item)
        like = f"https://{host}" if host else "https://app.example"
        raise ValueError(
            words + f"write scheme://host or scheme://host:port, such as {like}, {COMMAS}"
        )
    scheme, within = parts["scheme"], _WITH_PORT.fullmatch(parts["authority"])
    host = host_name(within["host"]) if within else None
    port = within["port"] if within else None
    if host is None or within is None:
        found = _inner_host(item)
        like = f"{scheme}://{found}" if found else "https://app.example"
        raise ValueError(words + f"write scheme://host or scheme://host:port, such as {like}")
    plain = f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ValueError(words + f"write each port as a number, such as {plain}:3000")
    if port is not None and str(int(port)) != DEFAULT_PORTS.get(scheme):
        plain = f"{plain}:{int(port)}"
    if parts["rest"]:
        raise ValueError(words + f"write {plain}, without anything behind it")
    return plain


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_host, hosts))


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_origin, origins))


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Hosts = Annotated[Listed, AfterValidator(_hosts)]
"""Host names and IP addresses in lower case, without brackets, port and final dot; some begin with `*.`."""

Origins = Annotated[Listed, AfterValidator(_origins)]
"""Origins in lower case, without the scheme's own port; the hosts of some begin with `*.`."""
