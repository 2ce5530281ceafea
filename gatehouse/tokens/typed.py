"""Reads and judges each thing that a person types about a token, on the command line or in a form.

Each function raises ValueError in words that complete «FIELD: ...» and do not repeat the text.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from gatehouse.identity.rate import parse_rate_or_off
from gatehouse.tokens.durations import SPAN, parse_duration
from gatehouse.tokens.moments import beginning_of, end_of
from gatehouse.tokens.token import check_name, check_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.identity.rate import RateOrOff

WHEN = (
    "a span from now, such as 12h, 30d or 2w, a date such as 2026-12-24 (in UTC), or a date and time such as "
    "2026-12-24T12:00:00Z"
)
"""How to write a moment, in words that complete a sentence."""

TOO_FAR = "is too far away"
"""Said of a moment that is written well, and lies before the year 1 or after the year 9999 in UTC."""

OVERLAP = timedelta(days=7)
"""How long old values stay good beside a new one, unless somebody says otherwise: time to change every client, also
one that is used once a week."""


def name(text: str) -> str:
    """A name that a token can have."""
    check_name(text)
    return text


def note(text: str) -> str:
    """A text that the tokens file may hold."""
    check_text(text)
    return text


def globs(text: str) -> list[str]:
    """Globs with commas between them."""
    return [glob for part in note(text).split(",") if (glob := part.strip())]


def rate(text: str) -> RateOrOff:
    """A rate such as `60/min, burst 20`, or off."""
    return parse_rate_or_off(text)


def span(text: str) -> timedelta:
    """A span such as 12h."""
    return parse_duration(text)


def end(text: str) -> timedelta | datetime:
    """A span from now, or a moment; a date is the end of that day in UTC."""
    return _when(text, end_of)


def beginning(text: str) -> timedelta | datetime:
    """A span from now, or a moment; a date is the beginning of that day in UTC."""
    return _when(text, beginning_of)


def value_id(text: str) -> str:
    """The id of a value, or more of its digest."""
    if not re.fullmatch(r"[0-9a-fA-F]{8,64}", text):
        raise ValueError("must be the id of a value: 8 hex digits, shown by `list`")
    return text


def _when(text: str, of_day: Callable[[date], datetime]) -> timedelta | datetime:
    text = text.strip()
    if SPAN.fullmatch(text):
        return parse_duration(text)
    try:
        with suppress(ValueError):
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return of_day(date.fromisoformat(text))
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError(TOO_FAR) from None
    raise ValueError(f"must be {WHEN}")
