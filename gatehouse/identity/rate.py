"""Rates, as settings write them: `60/min, burst 20`.

The parsing is ours, though throttled-py, which counts (`policy/counting.py`), knows the same words: it takes a
while to import, and settings are read at every start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

OFF: Literal["off"] = "off"
"""The text of a rate that is no limit."""

MAX_NUMBER = 1_000_000
"""The largest number in a rate. A larger one is a slip, or no limit at all."""

_SECONDS = {"s": 1, "min": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "hour"),
    **dict.fromkeys(("d", "day", "days"), "day"),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "week"),
}

_RATE = re.compile(
    r"(?P<count>[0-9]+)\s*(?:/\s*|per\s+)(?P<unit>[a-z]+)"
    r"(?:(?:\s*,\s*|\s+)burst\s+(?P<burst>[0-9]+))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests in `seconds`, evenly, and `burst` of them at once after a pause."""

    count: int
    seconds: int
    burst: int

    @property
    def interval(self) -> float:
        """The seconds after which there is room for one more."""
        return self.seconds / self.count

    def __str__(self) -> str:
        """The rate as settings write it: `60/min, burst 20`, or `60/min` if that is also the burst."""
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        burst = "" if self.burst == self.count else f", burst {self.burst}"
        return f"{self.count}/{unit}{burst}"


def parse_rate(text: str) -> Rate:
    """The rate that `text` says, such as `60/min, burst 20`, `10/s` or `1000 per hour`.

    Without a burst, all requests of one period may come at once. Raises ValueError, in words that
    complete «NAME: ...» and do not repeat the text.
    """
    match = _RATE.fullmatch(text.strip())
    unit = _UNITS.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(
            "must be a rate such as 60/min or 60/min, burst 20; the units are s, min, hour, day, week"
        )
    count = _number(match["count"])
    burst = count if match["burst"] is None else _number(match["burst"])
    return Rate(count, _SECONDS[unit], burst)


RateOrOff = Rate | Literal["off"]


def parse_rate_or_off(text: str) -> RateOrOff:
    """The same, or OFF."""
    if text.strip().lower() == OFF:
        return OFF
    try:
        return parse_rate(text)
    except ValueError as error:
        raise ValueError(f"{error}; off for no limit") from None


def _number(digits: str) -> int:
    number = int(digits) if len(digits) <= len(str(MAX_NUMBER)) else 0
    if not 1 <= number <= MAX_NUMBER:
        raise ValueError(f"must be a rate whose numbers are from 1 to {MAX_NUMBER}, such as 60/min")
    return number
