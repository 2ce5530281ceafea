"""Spans of time, as people write and read them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gatehouse.tokens.durations import in_words, parse_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        (" 2w ", timedelta(weeks=2)),
        ("0s", timedelta(0)),
    ],
)
def test_a_span_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1 d", "1y", "1d2h", "٣d"])
def test_other_spans_are_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and a unit, such as 90s, 15m, 12h, 30d"):
        parse_duration(text)
    with pytest.raises(ValueError, match="is too long"):
        parse_duration("999999999w")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 seconds"),
        (1, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (3600, "60 minutes"),
        (7200, "2 hours"),
        (36 * 3600, "2 days"),
        (30 * 86_400 - 1, "30 days"),
    ],
)
def test_spans_are_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
