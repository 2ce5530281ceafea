"""Words that a person types about a token, on the command line or in a form: judged alike, and never repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.identity.rate import OFF, parse_rate
from gatehouse.tokens import typed

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = f"mcpgate_{'hunter2' * 6}"
HF = f"hf_{'a' * 30}"


@pytest.mark.parametrize(
    ("read", "text", "meant"),
    [
        (typed.name, "alice-2", "alice-2"),
        (typed.note, "Alice's laptop", "Alice's laptop"),
        (typed.note, "", ""),
        (typed.globs, " list_*, get_item ,,", ["list_*", "get_item"]),
        (typed.globs, "", []),
        (typed.rate, "60/min, burst 20", parse_rate("60/min, burst 20")),
        (typed.rate, " OFF ", OFF),
        (typed.span, "7d", timedelta(days=7)),
        (typed.end, "30d", timedelta(days=30)),
        (typed.end, "2026-12-24", datetime(2026, 12, 25, tzinfo=UTC)),
        (typed.beginning, "2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
        (typed.end, "2026-12-24T12:00:00.5+02:00", datetime(2026, 12, 24, 10, tzinfo=UTC)),
        (typed.value_id, "0123aBcd", "0123aBcd"),
    ],
)
def test_each_thing_is_read_as_it_is_meant(
    read: Callable[[str], Any], text: str, meant: Any
) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (typed.name, "", "a name has 1 to 64"),
        (typed.name, "a" * 65, "a name has 1 to 64"),
        (typed.name, "default", "reserved"),
        (typed.name, VALUE, "looks like the value of a token"),
        (typed.note, "two\nlines", "printable characters only"),
        (typed.note, "\u202eturned", "printable characters only"),
        (typed.note, f"it is {VALUE}", "holds the value of a token"),
        (typed.globs, f"list_*, {HF}", "holds an access token"),
        (typed.rate, "often", "must be a rate such as"),
        (typed.span, "1y", "write a number and a unit"),
        (typed.end, "tomorrow", "a span from now, such as 12h"),
        (typed.end, "9999-12-31", "^is too far away$"),
        (typed.end, "9999-12-31T23:00:00-02:00", "^is too far away$"),
        (typed.beginning, "0001-01-01T01:00:00+02:00", "^is too far away$"),
        (typed.span, "9" * 9 + "w", "^is too long$"),
        (typed.end, "9" * 9 + "w", "^is too long$"),
        (typed.end, "2026-12-24T12:00:00", "a date and time such as"),
        (typed.beginning, "2026-13-01", "a span from now"),
        (typed.value_id, "012345", "8 hex digits"),
    ],
)
def test_anything_else_is_refused_in_words_that_do_not_repeat_it(
    read: Callable[[str], Any], text: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read(text)
    for secret in (VALUE, HF):
        assert secret not in str(refused.value)
