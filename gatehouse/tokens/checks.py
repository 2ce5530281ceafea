"""Checks of what stands in the tokens file, each on its own: words for what is wrong, and nothing that may be a secret.

A check of a key's value returns the thing that it means, and raises ValueError in words that complete «KEY: ...».
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from gatehouse.http.credentials import LANES, Lane
from gatehouse.identity.matches import key_of
from gatehouse.identity.rate import RateOrOff, parse_rate_or_off
from gatehouse.tokens.moments import beginning_of, end_of

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")

UNQUOTED_SCOPE = re.compile(r"\s*\[\s*scopes\s*\.\s*[^]\s\"']*[^]\s\"'\w.-]")
"""The head of a scope whose name wants quotes, and has none."""


def token_tables(given: Any) -> dict[str, Any]:
    """The tokens, by their names."""
    return _tables(given, "[tokens.NAME]")


def scope_tables(given: Any) -> dict[str, Any]:
    """The scopes, one at least."""
    head = '[scopes."NAME"]'
    if given == {}:
        raise ValueError(f"there are none; write each as {head}, or take this out")
    return _tables(given, head)


def value_tables(given: Any) -> list[dict[str, Any]]:
    """The values of a token, one at least."""
    return _list_of_tables(given, "[[tokens.NAME.values]]", "digest")


def people_tables(given: Any) -> list[dict[str, Any]]:
    """The entries for people, one at least."""
    return _list_of_tables(given, "[[people]]", "match")


def _tables(given: Any, head: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"must be tables, one for each name: {head}")
    return given


def _list_of_tables(given: Any, head: str, key: str) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise ValueError(f"must be tables, with two pairs of brackets: {head}")
    if not given:
        raise ValueError(f"there are none; each is a table, {head}, with a {key}")
    return given


def match(given: Any) -> str:
    """The people whom an entry means."""
    key_of(text(given))
    return text(given)


def text(given: Any) -> str:
    """A text."""
    if not isinstance(given, str):
        raise ValueError("must be a text in quotes")
    return given


def globs(given: Any) -> tuple[str, ...]:
    """A list of globs."""
    if not isinstance(given, list) or not all(isinstance(glob, str) for glob in given):
        raise ValueError('must be a list of globs in quotes, such as ["list_*", "get_item"]')
    if not all(glob and glob.strip() == glob for glob in given):
        raise ValueError("a glob is empty, or begins or ends with a blank, and would match nothing")
    return tuple(given)


def rate(given: Any) -> RateOrOff | None:
    """A rate, or off."""
    if not isinstance(given, str):
        raise ValueError('must be a text in quotes, such as "60/min, burst 20", or "off"')
    return parse_rate_or_off(given)


def lanes(given: Any) -> frozenset[Lane]:
    """A list of lanes."""
    known = [lane for lane in LANES if isinstance(given, list) and lane in given]
    if not known or not all(lane in known for lane in given):
        raise ValueError('must be a list of "header", "query", or both')
    return frozenset(known)


def digest(given: Any) -> bytes:
    """The digest of a value."""
    written = DIGEST.fullmatch(given) if isinstance(given, str) else None
    if not written:
        raise ValueError("must be the digest of a value, sha256: and 64 hex digits, in quotes")
    return bytes.fromhex(written[1])


def beginning(given: Any, of_day: Callable[[date], datetime] = beginning_of) -> datetime:
    """A moment; a day stands for its beginning."""
    if not isinstance(given, date) or (isinstance(given, datetime) and given.tzinfo is None):
        raise ValueError(
            "must be a date and time with an offset, or a date, without quotes, such as 2026-12-24T12:00:00Z or "
            "2026-12-24"
        )
    try:
        return given.astimezone(UTC) if isinstance(given, datetime) else of_day(given)
    except OverflowError:
        raise ValueError("is too far away") from None


def end(given: Any) -> datetime:
    """A moment; a day stands for its end."""
    return beginning(given, end_of)


def shown(key: str) -> str:
    """An unknown key as a fault tells it: only if it is too short and plain to be a secret."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,24}", key) else "a key"


def syntax_fault(message: str, content: str) -> tuple[int, str]:
    """Line and words for a fault that `tomllib` tells; tomllib repeats keys of the file, and we do not."""
    if content.startswith("\ufeff"):
        return 1, "begins with a byte order mark; save it as UTF-8 without one"
    said = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL
    )
    words, at = (said[1], said[2]) if said else ("", "1")
    line = int(at or content.rstrip("\n").count("\n") + 1)
    if words.startswith(("Cannot", "Duplicate")):
        return (
            line,
            "this table or key is in the file twice, or is one thing here and another above",
        )
    if UNQUOTED_SCOPE.match(content.split("\n")[line - 1]):
        return line, 'is not valid TOML: the name of a scope stands in quotes, [scopes."mcp:write"]'
    return line, f"is not valid TOML ({words})"
