"""Header fields and bodies, taken together, tell of a call."""

from __future__ import annotations

import json

import pytest

from gatehouse.downstream.overheard import Heard, Overheard
from gatehouse.http.mcp import McpCall

ADD = McpCall("tools/call", "add")
BODY = json.dumps({"id": 1, "method": "tools/call", "params": {"name": "add"}}).encode()
GOOD = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'


def heard(told: McpCall | None, body: bytes = BODY, answer: bytes = GOOD) -> Heard:
    overheard = Overheard()
    for half in (body[:7], body[7:]):
        overheard.request.feed(half)
    overheard.answer.feed(answer)
    return overheard.heard(told)


@pytest.mark.parametrize("told", [None, ADD, McpCall("", "")])
def test_the_body_tells_what_the_fields_do_not(told: McpCall | None) -> None:
    assert heard(told) == ("tools/call", "add", False, "ok")


@pytest.mark.parametrize("told", [McpCall("tools/call", "list"), McpCall("ping", "")])
def test_fields_count_before_the_body_and_a_difference_is_marked(told: McpCall) -> None:
    assert heard(told) == (*told, True, "ok")


def test_fields_stand_if_the_body_cannot_be_read() -> None:
    for body in (b"\x1f\x8b\x08", b"", b"x" * 70_000):
        assert heard(ADD, body) == ("tools/call", "add", False, "ok")
        assert heard(None, body)[:3] == ("", "", False)


def test_a_resource_is_not_named_but_a_difference_in_it_is_marked() -> None:
    body = json.dumps({"method": "resources/read", "params": {"uri": "file:///private"}}).encode()
    assert heard(McpCall("resources/read", "file:///other"), body)[:3] == (
        "resources/read",
        "",
        True,
    )
