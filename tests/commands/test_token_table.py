"""The list of tokens: a line for each value, and what can go."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gatehouse import advice
from gatehouse.commands.token_table import as_json, as_table, hints
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.identity.rate import parse_rate
from gatehouse.tokens.last_use import LastUse
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def value(number: int = 0, **times: Any) -> TokenValue:
    return TokenValue(digest_of(f"value {number}"), **times)


LISTED = (
    Token(
        "alice",
        (
            value(1, created=NOW - 30 * DAY, expires=NOW + 12 * DAY),
            value(2, created=NOW - 10 * DAY),
        ),
        Grants(tools=("list_*", "get"), resources=()),
        parse_rate("60/min"),
        LANES,
        "her laptop\x1b[2J\u202e",
    ),
    Token("bob", (value(3, expires=NOW - 3 * DAY), value(4, not_before=NOW + DAY))),
)


def test_the_table_has_a_line_for_each_value() -> None:
    used = LastUse({value(1).digest: NOW.timestamp() - 7200, value(2).digest: NOW.timestamp()}, 0.0)
    ids = [value(number).id for number in range(5)]
    rows = [re.split(r" {2,}", row) for row in as_table(LISTED, used, NOW).splitlines()]
    rights = ["header, query", "tools list_*, get", "60/min", "her laptop\\x1b[2J\\u202e"]
    assert rows == [
        ["NAME", "VALUE", "AGE", "VALID", "LAST USE", "LANES", "FOR", "RATE", "NOTE"],
        ["alice", ids[1], "30 days", "expires in 12 days", "2 hours ago", *rights],
        ["alice", ids[2], "10 days", "does not expire", "0 seconds ago"],
        ["bob", ids[3], "unknown", "expired 3 days ago", "never", "header", "everything", "none"],
        ["bob", ids[4], "unknown", "begins in 24 hours, does not expire", "never"],
    ]


def test_without_a_record_the_last_use_is_unknown() -> None:
    assert as_table(LISTED, LastUse(), NOW).count("unknown") == 6
    assert list(hints(LISTED[:1], LastUse(), NOW)) == []


def ago(days: float) -> float:
    return (NOW - days * DAY).timestamp()


@pytest.mark.parametrize(
    ("old", "old_used", "new_used", "hint"),
    [
        ({"created": NOW - 30 * DAY}, 9, 1, "old value {} unused for 9 days, safe to drop"),
        ({"created": NOW - 30 * DAY}, 7, 0, "old value {} unused for 7 days, safe to drop"),
        ({"created": NOW - 30 * DAY}, None, 1, "old value {} never used, safe to drop"),
        ({}, 9, 1, "old value {} unused for 9 days, safe to drop"),
        ({"expires": NOW - 2 * DAY}, 1, 3, "value {} expired 2 days ago, safe to drop"),
        ({"created": NOW - 30 * DAY}, 6.9, 1, ""),
        ({"created": NOW - 6 * DAY}, None, 1, ""),
        ({"created": NOW - 30 * DAY}, 9, None, ""),
        ({"created": NOW - 30 * DAY}, 8, 9, ""),
        ({"created": NOW - 1 * DAY}, 9, 1, ""),
        ({}, None, 1, ""),
    ],
)
def test_a_value_that_can_go_is_named_with_the_command_for_it(
    old: dict[str, datetime], old_used: float | None, new_used: float | None, hint: str
) -> None:
    token = Token("alice", (value(1, **old), value(2, created=NOW - 5 * DAY)))
    used = {0: old_used, 1: new_used}
    times = {
        token.values[number].digest: ago(days) for number, days in used.items() if days is not None
    }
    last_use = LastUse(times, began=ago(20))
    command = advice.revoke_value("alice", value(1).id)
    wanted = [f"alice: {hint.format(value(1).id)}: {command}"] if hint else []
    assert list(hints([token], last_use, NOW)) == wanted


def test_a_value_that_may_have_been_used_before_the_record_began_is_not_called_unused() -> None:
    old, new = value(1, created=NOW - 30 * DAY), value(2, created=NOW - 5 * DAY)
    last_use = LastUse({new.digest: ago(1)}, began=ago(6))
    assert list(hints([Token("alice", (old, new))], last_use, NOW)) == []
    assert "unknown" in as_table([Token("alice", (old, new))], last_use, NOW)


def test_a_name_with_nothing_left_is_to_be_renewed_or_dropped() -> None:
    token = Token("alice", (value(1, expires=NOW), value(2, expires=NOW - DAY)))
    (hint,) = hints([token], LastUse(), NOW)
    assert "python run.py tokens rotate alice" in hint
    assert hint.endswith("python run.py tokens revoke alice")


def test_the_list_for_programs_has_the_same() -> None:
    used = LastUse({value(1).digest: NOW.timestamp()}, 0.0)
    listed = json.loads(as_json(LISTED, used, NOW))
    alice, bob = listed["tokens"]
    assert alice["values"][0] == {
        "id": value(1).id,
        "valid": True,
        "created": "2026-10-25T12:00:00Z",
        "not_before": None,
        "expires": "2026-12-06T12:00:00Z",
        "last_use": "2026-11-24T12:00:00Z",
    }
    assert (alice["tools"], alice["prompts"], bob["tools"]) == (["list_*", "get"], [], None)
    assert [each["valid"] for each in bob["values"]] == [False, False]
    assert bob["values"][0]["last_use"] == "never"
    assert listed["hints"] == list(hints(LISTED, used, NOW))
