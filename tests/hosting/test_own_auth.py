"""A hosted server with `auth=` of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP

from gatehouse.hosting.faults import HostedServerError
from gatehouse.hosting.own_auth import judge_auth
from tests.harness import callers_server

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY = {"type": "http.response.body", "body": b""}


def answering(status: int, *bodies: dict[str, Any]) -> Callable[..., Any]:
    """An app that answers so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"0"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for body in bodies:
            await send(body)

    return app


async def answer_of(app: Callable[..., Any]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    around = judge_auth(callers_server.with_auth_of_another_kind, "some:server")
    await around(app)({"type": "http"}, None, send)
    return sent


async def test_a_401_without_words_says_why(caplog: pytest.LogCaptureFixture) -> None:
    start, body = await answer_of(answering(401, EMPTY))
    assert "some:server has auth= of its own (OwnWay)" in caplog.text
    assert "has answered 401: its own auth= has found no credential" in caplog.text
    assert start["status"] == 401
    fields = dict(start["headers"])
    assert fields[b"www-authenticate"] == b"Bearer"
    assert len(fields) == len(start["headers"])
    assert int(fields[b"content-length"]) == len(body["body"])
    assert b"the server behind it has auth= of its own" in body["body"]
    assert b"server.auth = None" in body["body"]


@pytest.mark.parametrize(
    ("status", "bodies"),
    [
        (200, [EMPTY]),
        (403, [EMPTY]),
        (401, [{**EMPTY, "body": b"its own words"}]),
        (401, [{**EMPTY, "more_body": True}, {**EMPTY, "body": b"later"}]),
    ],
)
async def test_any_other_answer_stays_as_it_is(status: int, bodies: list[dict[str, Any]]) -> None:
    start, *others = await answer_of(answering(status, *bodies))
    assert start["status"] == status
    assert (b"content-length", b"0") in start["headers"]
    assert others == bodies


def test_a_server_that_would_let_nobody_in_does_not_start_and_others_are_left_alone() -> None:
    with pytest.raises(HostedServerError, match="has auth= of its own"):
        judge_auth(callers_server.with_auth, "some:server")
    app = answering(401, EMPTY)
    assert judge_auth(FastMCP("x"), "some:server")(app) is app
