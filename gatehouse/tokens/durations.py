"""Spans of time as people write and read them: `30d` on the command line, "12 days" in a list."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SIZES = (("second", 1, 90), ("minute", 60, 90 * 60), ("hour", 3600, 36 * 3600))
"""In seconds: the unit's own size, and the span from which the next unit reads better."""

SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
"""A span as it is written."""

HOW_TO_WRITE = "write a number and a unit, such as 90s, 15m, 12h, 30d or 2w"


def parse_duration(text: str) -> timedelta:
    """The span that `text` stands for: whole seconds, minutes, hours, days or weeks.

    Raises ValueError, in words that say what to write.
    """
    written = SPAN.fullmatch(text.strip())
    if not written:
        raise ValueError(HOW_TO_WRITE)
    try:
        return timedelta(**{UNITS[written[2]]: int(written[1])})
    except OverflowError:
        raise ValueError("is too long") from None


def in_words(seconds: float) -> str:
    """A span of seconds in the unit that fits, rounded: "45 seconds", "2 hours", "3 days"."""
    unit, size = next(
        ((unit, size) for unit, size, up_to in SIZES if seconds < up_to), ("day", 86_400)
    )
    count = max(0, round(seconds / size))
    return f"{count} {unit}{'' if count == 1 else 's'}"
