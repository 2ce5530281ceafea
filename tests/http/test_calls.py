"""The call in a body: method and name, and nothing else, whatever the body is."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.calls import MAX_CALL_BYTES, Kept, call_in
from gatehouse.http.mcp import McpCall


def message(method: Any, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.mark.parametrize(
    ("body", "call"),
    [
        (
            message("tools/call", name="add", arguments={"method": "x", "name": "y"}),
            ("tools/call", "add"),
        ),
        (message("prompts/get", name="plan"), ("prompts/get", "plan")),
        (message("resources/read", uri="kitchen://a"), ("resources/read", "kitchen://a")),
        (message("tools/list", name="no name of a thing"), ("tools/list", "")),
        ({"method": "ping"}, ("ping", "")),
        ({"method": "notifications/initialized"}, ("notifications/initialized", "")),
        (message("tools/call"), ("tools/call", "")),
        (message("tools/call", name=["add"]), ("tools/call", "")),
        ({**message("tools/call"), "params": []}, ("tools/call", "")),
        ({"jsonrpc": "2.0", "id": 1, "result": {"content": "secret"}}, ("response", "")),
        ({"jsonrpc": "2.0", "id": 1, "error": {}}, ("response", "")),
    ],
)
def test_a_message_tells_its_method_and_the_name_of_its_thing(body: Any, call: Any) -> None:
    assert call_in(json.dumps(body).encode()) == McpCall(*call)


def test_of_a_key_that_stands_twice_the_last_counts_as_for_servers() -> None:
    body = b'{"method": "tools/list", "method": "tools/call", "params": {"name": "a", "name": "b"}}'
    assert call_in(body) == McpCall("tools/call", "b")


def test_a_batch_names_its_first_calls() -> None:
    calls = [message("tools/call", name=f"t{n}") for n in range(9)]
    told = call_in(json.dumps([*calls[:1], 1, message("resources/read", uri="private")]).encode())
    assert told == McpCall("batch", "tools/call t0, unknown, resources/read")
    told = call_in(json.dumps(calls).encode())
    assert told is not None
    assert told.name.endswith("tools/call t7, ...")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"1",
        b"null",
        b"{}",
        b'{"method": 1}',
        b'{"method": ["tools/call"]}',
        b'{"method": "tools/call"',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"method": "tools/call", "params": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{\x00}\x00",
        json.dumps(message("ping")).encode("utf-16"),
        b"\x1f\x8b\x08\x00",
    ],
)
def test_what_cannot_be_told_is_unknown(body: bytes) -> None:
    assert call_in(body) is None


@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    call_in(body)
    call_in(b"[" + body + b"]")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_message_raises_and_a_line_can_hold_what_is_told(value: Any) -> None:
    for body in (
        value,
        {"method": value, "params": value},
        [value, message("tools/call", name=value)],
    ):
        if call := call_in(json.dumps(body).encode()):
            assert all(word.isprintable() and len(word) <= 128 for word in call.for_log)


def test_only_so_much_is_kept_and_no_chunk_is_copied_before() -> None:
    kept, chunk = Kept(MAX_CALL_BYTES), bytes(1000)
    kept.feed(chunk)
    assert kept.beginning() is chunk
    for _ in range(64):
        kept.feed(chunk)
    assert kept.is_whole
    kept.feed(bytes(1000))
    assert not kept.is_whole
    assert len(kept.beginning()) == MAX_CALL_BYTES


def test_a_body_in_tiny_pieces_takes_little_memory() -> None:
    body = bytes(range(256)) * (MAX_CALL_BYTES // 256)
    kept = Kept(MAX_CALL_BYTES)
    tracemalloc.start()
    try:
        for at in range(0, len(body), 2):
            kept.feed(body[at : at + 2])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.beginning() == body
    assert size < 2 * MAX_CALL_BYTES


def test_a_hostile_body_costs_little() -> None:
    began = time.process_time()
    for body in (b"[" * MAX_CALL_BYTES, b'{"a":' * 13_000, b"[" + b"{}," * 21_000 + b"{}]"):
        call_in(body)
    assert time.process_time() - began < 1
