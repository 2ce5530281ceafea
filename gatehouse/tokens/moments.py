"""Moments as people write them: a day stands for its end, or for its beginning, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta


def end_of(day: date) -> datetime:
    """The end of that day, which is the beginning of the next. Raises OverflowError for the last day of all."""
    return beginning_of(day + timedelta(days=1))


def beginning_of(day: date) -> datetime:
    """The first moment of that day."""
    return datetime.combine(day, time(), UTC)
