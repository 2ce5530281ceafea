"""Records: what a request leaves behind is one line, as people and machines read it, and one reason."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http import refusals
from gatehouse.http.reply import Reply, forbidden
from gatehouse.records import record
from gatehouse.records.record import Record
from tests.harness.records import ANSWERED, LEFT, REFUSED


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            ANSWERED,
            "POST /mcp 200 3.1 ms (first byte 2.9), 210 bytes in, 300 bytes out, alice by header, "
            "from 203.0.113.7, tools/call list_inventory, id 5f0c1122aabbccdd",
        ),
        (
            LEFT,
            "POST /mcp 499 3.1 ms, 210 bytes in, 0 bytes out, alice by header, "
            "from 203.0.113.7, tools/call list_inventory, id 5f0c1122aabbccdd (client left)",
        ),
        (
            ANSWERED._replace(result="error", differs=True),
            "POST /mcp 200 3.1 ms (first byte 2.9), 210 bytes in, 300 bytes out, alice by header, "
            "from 203.0.113.7, tools/call list_inventory (the body calls something else), id 5f0c1122aabbccdd (ended with an error)",
        ),
        (
            REFUSED,
            "POST /mcp 401 3.1 ms (first byte 2.9), 210 bytes in, 300 bytes out, "
            "from 203.0.113.7, id 5f0c1122aabbccdd (refused: token)",
        ),
    ],
    ids=["answered", "client left", "ended with an error", "refused"],
)
def test_the_line_says_what_there_is_to_say(record: Record, line: str) -> None:
    assert str(record) == line


@pytest.mark.parametrize(
    "odd", ["a b", "a\nb", "a\r", "\x1b[2J", "\u2028", "\ud800", "x, id 1", 'q" ']
)
@pytest.mark.parametrize("field", ["name", "method", "path", "rpc_method", "tool"])
def test_nothing_that_somebody_chose_is_more_than_one_word(field: str, odd: str) -> None:
    chosen: dict[str, Any] = {field: odd}
    line = str(ANSWERED._replace(**chosen))
    assert line.isprintable()
    assert json.dumps(odd) in line
    assert line.replace(json.dumps(odd), str(getattr(ANSWERED, field))) == str(ANSWERED)


@given(st.text(), st.text(), st.text())
def test_the_line_is_one_line(path: str, rpc_method: str, tool: str) -> None:
    line = str(ANSWERED._replace(path=path, rpc_method=rpc_method, tool=tool))
    assert line.isprintable()
    assert line.splitlines() == [line]


def test_a_name_in_any_script_is_shown_as_it_is() -> None:
    assert "tools/call größe," in str(ANSWERED._replace(tool="größe"))


def test_for_machines_there_is_every_field_and_times_are_in_milliseconds() -> None:
    assert ANSWERED.fields() == {
        "request_id": "5f0c1122aabbccdd",
        "client": "203.0.113.7",
        "token": "alice",
        "kind": "token",
        "lane": "header",
        "method": "POST",
        "path": "/mcp",
        "route": "mcp",
        "rpc_method": "tools/call",
        "tool": "list_inventory",
        "differs": False,
        "result": "ok",
        "status": 200,
        "bytes_in": 210,
        "bytes_out": 300,
        "first_byte_ms": 2.9,
        "duration_ms": 3.14,
        "outcome": "done",
        "reason": "",
    }
    assert LEFT.fields()["first_byte_ms"] is None
    assert len(ANSWERED.fields().keys() - {"kind"}) == len(ANSWERED)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", ""),
        ("default", "token"),
        ("oauth:alice@example.com", "oauth"),
        ("front:ci:2", "front"),
    ],
)
def test_the_record_tells_by_which_kind_of_credential_somebody_came(name: str, kind: str) -> None:
    told = ANSWERED._replace(name=name)
    assert (told.kind, told.fields()["kind"]) == (kind, kind)
    assert f", {name} by header," in str(told) or not name


@pytest.mark.parametrize("route", ["health", "ready"])
def test_probes_are_told_at_debug_level_unless_they_are_refused(
    route: str, access_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record.access, "level", logging.DEBUG)
    answered = ANSWERED._replace(route=route, status=503)
    record.write(answered)
    record.write(answered._replace(outcome="refused", reason="host"))
    record.write(ANSWERED)
    levels = [entry.levelname for entry in access_log.records]
    assert levels == ["DEBUG", "INFO", "INFO"]


def test_a_request_leaves_one_line_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    record.write(ANSWERED)
    assert caplog.record_tuples == [("gate.access", logging.INFO, str(ANSWERED))]


# Reasons.

REPLIES = {name: reply for name, reply in vars(refusals).items() if isinstance(reply, Reply)}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_whatever_refuses_or_fails_has_a_reason_and_nothing_else_has(reply: Reply) -> None:
    if reply.status < 400:
        assert reply.reason == ""
    else:
        assert re.fullmatch("[a-z]+(-[a-z]+)*", reply.reason)


def test_a_reason_stands_for_one_reply_only() -> None:
    reasons = [reply.reason for reply in REPLIES.values() if reply.reason]
    assert len(set(reasons)) == len(reasons)
    assert {refusals.malformed(status).reason for status in (400, 414, 431, 501)} == {"malformed"}


@pytest.mark.parametrize(
    ("seconds", "wait"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.1, b"2"), (59.01, b"60")]
)
def test_whoever_asks_too_much_is_told_when_to_ask_again(seconds: float, wait: bytes) -> None:
    reply = refusals.too_many_requests(seconds, "Too many requests.", "rate")
    assert reply.status == 429
    assert (b"Retry-After", wait) in reply.fields()
    assert json.loads(reply.body)["error"] == {"code": -32016, "message": "Too many requests."}
    assert reply.reason == "rate"


def test_what_is_not_allowed_says_so() -> None:
    reply = forbidden("This token may not call it.", "tool")
    assert reply.status == 403
    assert json.loads(reply.body)["error"] == {
        "code": -32015,
        "message": "This token may not call it.",
    }
    assert reply.reason == "tool"


def test_an_unknown_session_is_answered_as_the_sdk_answers_it() -> None:
    reply = refusals.SESSION_NOT_FOUND
    assert reply.status == 404
    content = json.loads(reply.body)
    assert content["jsonrpc"] == "2.0"
    assert content["id"] is None
    assert content["error"]["code"] == -32600
    assert content["error"]["message"].startswith("Session not found")
