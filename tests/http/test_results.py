"""The end of a call, as its answer tells it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.calls import Kept
from gatehouse.http.reply import FORBIDDEN
from gatehouse.http.results import MAX_ANSWER_BYTES, end_in, end_of_call

RESULT = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "isError": False}}
FAILED = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "isError": True}}
REFUSED = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32015, "message": "Forbidden: ..."}}
ERROR = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Unknown tool"}}
NEWS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"result": {}}}


def as_json(*messages: object) -> bytes:
    return json.dumps(messages[-1]).encode()


def as_events(*messages: object, line_end: str = "\r\n") -> bytes:
    lines = [": a comment"]
    for message in messages:
        lines += ["id: 1", "event: message", f"data: {json.dumps(message)}", ""]
    return line_end.join([*lines, ""]).encode()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_result_is_told_from_an_error_and_a_refusal_in_json_and_in_events(line_end: str) -> None:
    for spelled in (as_json, lambda *each: as_events(*each, line_end=line_end)):
        for message, end in (
            (RESULT, "ok"),
            (FAILED, "error"),
            (ERROR, "error"),
            (REFUSED, "refused"),
        ):
            assert end_in(spelled(NEWS, message)) == end
            assert end_in(spelled(message)) == end


@pytest.mark.parametrize("message", ["No seat is left", "", None, 7])
def test_the_code_of_a_refusal_in_another_servers_words_is_an_error(message: object) -> None:
    error = {"code": FORBIDDEN, "message": message}
    assert end_in(as_json({**REFUSED, "error": error})) == "error"


def as_sdk(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "frame", ["%s", "event: message\r\ndata: %s\r\n\r\n", "id: 7\ndata: %s\n\n"]
)
def test_an_answer_as_the_sdks_write_it_is_told_without_reading_all_of_it(frame: str) -> None:
    for message, end in ((RESULT, "ok"), (FAILED, "error"), (ERROR, "error"), (REFUSED, "refused")):
        assert end_in(frame.encode() % as_sdk(message)) == end
    quotes = {**RESULT, "result": {"content": [{"type": "text", "text": '"isError": true'}]}}
    assert end_in(frame.encode() % as_sdk(quotes)) == "ok"
    holds = {**RESULT, "result": {"content": [], "structuredContent": {"isError": True}}}
    assert end_in(frame.encode() % as_sdk(holds)) == "ok"


def test_an_event_may_have_its_data_in_several_lines() -> None:
    data = json.dumps(RESULT, indent=1).replace("\n", "\ndata: ")
    assert end_in(f"data: {data}\n\n".encode()) == "ok"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"1",
        b"null",
        as_json(NEWS),
        as_events(NEWS),
        as_json(RESULT)[:-1],
        b'{"result": [1]}',
        b'{"error": null, "result": null}',
        b'{"error": 1, "result": [1]}',
        b"[" * 5000,
        b"\x1f\x8b\x08\x00",
        b"\xff\xfe",
        as_json(RESULT).replace(b"{", b"data: {", 1),  # an event that has not ended
    ],
)
def test_whatever_is_no_answer_tells_nothing(body: bytes) -> None:
    assert end_in(body) == ""


@given(st.text())
def test_nothing_that_a_server_repeats_turns_an_error_into_a_result(name: str) -> None:
    error = {**ERROR, "error": {"code": -32602, "message": f"Unknown tool: {name}", "data": name}}
    assert end_in(as_json(error)) == "error"
    assert end_in(as_events(error)) == "error"
    failed = {**FAILED, "result": {"content": [{"type": "text", "text": name}], "isError": True}}
    assert end_in(as_json(failed)) == "error"
    assert end_in(as_events(failed)) == "error"


def test_a_long_answer_holds_a_result_if_its_beginning_says_so() -> None:
    long = "x" * MAX_ANSWER_BYTES
    content = {"result": {"content": [long]}}
    for spelled in (as_json, as_events):
        for head in ({}, {"jsonrpc": "2.0", "id": 1}, {"id": "a", "jsonrpc": "2.0"}):
            assert end_of_long(spelled(NEWS, {**head, **content})) == "long"
        for odd in (long, '{"result":', "{"):
            assert end_of_long(spelled({"id": odd, "error": content})) == ""
            assert end_of_long(spelled({"id": long, **content})) == ""


def end_of_long(body: bytes) -> str:
    answer = Kept(MAX_ANSWER_BYTES)
    for start in range(0, len(body), 1000):
        answer.feed(body[start : start + 1000])
    return end_of_call(answer)


@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    end_in(body)
    end_in(b"data: " + body + b"\n\n")
