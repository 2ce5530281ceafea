"""A named token: its name, its values, and what they may do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from gatehouse.http.mcp import Kind
from gatehouse.identity.grants import EVERYTHING
from gatehouse.identity.principal import METRICS_NAME, SHARED_NAME
from gatehouse.records.metrics import OTHER
from gatehouse.tokens.value import FOREIGN_PATTERN, VALUE_PATTERN

if TYPE_CHECKING:
    from gatehouse.http.credentials import Lane
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.rate import RateOrOff
    from gatehouse.tokens.value import TokenValue

HEADER_ONLY: frozenset[Lane] = frozenset({"header"})

KINDS: tuple[Kind, ...] = get_args(Kind)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

RESERVED = {
    SHARED_NAME: "the gate uses this name for MCP_AUTH_TOKEN",
    METRICS_NAME: "the gate uses this name for METRICS_TOKEN",
    OTHER: "the metrics use this name for all further ones",
}
"""Names that log and metrics use for somebody else."""


@dataclass(frozen=True, slots=True)
class Token:
    """A name, its values, and what they may do. Without a rate of its own, TOKEN_RATE holds."""

    name: str
    values: tuple[TokenValue, ...]
    grants: Grants = EVERYTHING
    rate: RateOrOff | None = None
    lanes: frozenset[Lane] = HEADER_ONLY
    note: str = ""


def check_text(text: str) -> None:
    """Raise ValueError if a note or a glob may not read so, in words that do not repeat it."""
    if not text.isprintable():
        raise ValueError("may hold printable characters only")
    if VALUE_PATTERN.search(text):
        raise ValueError("holds the value of a token, which no file may hold")
    if FOREIGN_PATTERN.search(text):
        raise ValueError("holds an access token, which no file may hold")


def check_name(name: str) -> None:
    """Raise ValueError if a token cannot have this name, in words that do not repeat it."""
    if VALUE_PATTERN.search(name):
        raise ValueError("this looks like the value of a token; give its name instead")
    if not NAME.fullmatch(name):
        raise ValueError(
            "a name has 1 to 64 of A-Z, a-z, 0-9, _ and -, and begins with a letter or a digit"
        )
    if name in RESERVED:
        raise ValueError(f"{name} is reserved: {RESERVED[name]}; choose another name")
