"""Refusals: each says what to do, and when."""

from __future__ import annotations

import pytest

from gatehouse.http import refusals
from gatehouse.http.reply import Reply
from tests.harness.answers import answers, assert_no_banner, assert_rpc_error

REPLIES = {
    name: reply
    for name, reply in vars(refusals).items()
    if isinstance(reply, Reply) and reply.body.startswith(b'{"jsonrpc"')
    # This one is word for word the upstream's.
    if reply is not refusals.SESSION_NOT_FOUND
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_local_reply_says_what_to_do_and_when(reply: Reply) -> None:
    raw = b"HTTP/1.1 %d x\r\n" % reply.status
    raw += b"".join(b": ".join(pair) + b"\r\n" for pair in reply.fields()) + b"\r\n" + reply.body
    (only,) = answers(raw)
    assert_rpc_error(only)
    assert_no_banner(only.head)
    assert only.head.get(b"Content-Type") == b"application/json"
    assert only.head.get(b"Cache-Control") == b"no-store"
    if reply.status == 503:
        assert int(only.head.get(b"Retry-After") or 0) > 0
    if reply.status == 405:
        assert only.head.get(b"Allow")
    if reply.status == 401:
        assert only.head.get(b"WWW-Authenticate")
