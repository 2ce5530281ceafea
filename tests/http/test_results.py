"""The end of a call, as its answer tells it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.results import MAX_BYTES, ShortAnswer, has_result

RESULT = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "isError": False}}
FAILED = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "isError": True}}
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
def test_a_result_is_told_from_an_error_in_json_and_in_events(line_end: str) -> None:
    for spelled in (as_json, lambda *each: as_events(*each, line_end=line_end)):
        assert has_result(spelled(NEWS, RESULT))
        assert not has_result(spelled(NEWS, FAILED))
        assert not has_result(spelled(NEWS, ERROR))


def test_an_event_may_have_its_data_in_several_lines() -> None:
    data = json.dumps(RESULT, indent=1).replace("\n", "\ndata: ")
    assert has_result(f"data: {data}\n\n".encode())


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
        b"[" * 5000,
        b"\x1f\x8b\x08\x00",
        b"\xff\xfe",
        as_json(RESULT).replace(b"{", b"data: {", 1),  # an event that has not ended
    ],
)
def test_whatever_is_no_result_is_none(body: bytes) -> None:
    assert not has_result(body)


@given(st.text())
def test_nothing_that_a_server_repeats_turns_an_error_into_a_result(name: str) -> None:
    error = {**ERROR, "error": {"code": -32602, "message": f"Unknown tool: {name}", "data": name}}
    assert not has_result(as_json(error))
    assert not has_result(as_events(error))
    failed = {**FAILED, "result": {"content": [{"type": "text", "text": name}], "isError": True}}
    assert not has_result(as_json(failed))
    assert not has_result(as_events(failed))


def test_a_long_answer_holds_a_result_if_its_beginning_says_so() -> None:
    long = "x" * MAX_BYTES
    content = {"result": {"content": [long]}}
    for spelled in (as_json, as_events):
        for head in ({}, {"jsonrpc": "2.0", "id": 1}, {"id": "a", "jsonrpc": "2.0"}):
            assert long_result(spelled(NEWS, {**head, **content}))
        for odd in (long, '{"result":', "{"):
            assert not long_result(spelled({"id": odd, "error": content}))
            assert not long_result(spelled({"id": long, **content}))


def long_result(body: bytes) -> bool:
    answer = ShortAnswer()
    for start in range(0, len(body), 1000):
        answer.feed(body[start : start + 1000])
    return answer.has_result()


@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    has_result(body)
    has_result(b"data: " + body + b"\n\n")
