"""Paths of the server's outside its endpoint that pass the gate, as EXPOSE_PATHS names them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from gatehouse.http.paths import ExposedPath, folded, is_at_or_below, is_plain, is_reserved
from gatehouse.settings.hosts import MIN_SECRET_LENGTH

_ITEM = re.compile(r"(?P<path>\S+)(?P<open>\s+without\s+token)?", re.IGNORECASE)

FORM = "write /path or /path/*, with commas between, and «without token» behind those that are for everybody"


def _exposed_paths(value: Any) -> Any:
    """The paths of a list with commas between."""
    if not isinstance(value, str):
        return value
    found = tuple(_exposed(item) for part in value.split(",") if (item := part.strip()))
    for each in found:
        if any(each.path == other.path and each != other for other in found):
            raise ValueError(f"{each} is named with and without token; take one of the two away")
    return found


def _exposed(item: str) -> ExposedPath:
    match = _ITEM.fullmatch(item)
    if match is None or not match["path"].isascii():
        raise ValueError(f"{_shown(item)} is no path; {FORM}")
    found = ExposedPath(match["path"].encode("ascii"), needs_token=not match["open"])
    if found.path == b"/*":
        if not found.needs_token:
            raise ValueError(
                "/* without token would open the whole server; name what is to be open"
            )
        return found
    if is_reserved(found.prefix or found.path):
        raise ValueError(
            f"{found} is kept for the gate: its own pages, the MCP endpoint and what is below it, OAuth's paths, and "
            "those of MCP's old transport (/sse, /messages) cannot be exposed"
        )
    if not is_plain(found.prefix or found.path) or b"*" in (found.prefix or found.path):
        raise ValueError(f"{_shown(item)} is no plain path; {FORM}")
    return found


def _shown(item: str) -> str:
    """The item without what may be a secret: a query, or a token in the wrong place."""
    path = re.split("[?#]", item, maxsplit=1)[0]
    if not path.startswith("/") and len(path) >= MIN_SECRET_LENGTH:
        return "an entry"
    return path if path == item else f"{path}?..."


def covers(exposed: ExposedPath, endpoint: str) -> bool:
    """True if a server whose endpoint has that path might take a request for `exposed` as one for it."""
    there = folded(endpoint.encode("ascii"))
    if not there:
        return False
    named = folded(exposed.prefix or exposed.path)
    return is_at_or_below(named, there) or (bool(exposed.prefix) and is_at_or_below(there, named))


Exposed = Annotated[tuple[ExposedPath, ...], NoDecode, BeforeValidator(_exposed_paths)]
