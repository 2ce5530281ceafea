"""The gate as an ASGI application: called with any bytes, in front of an upstream that is away."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import gate
from gate import Gate
from gatehouse.assembly.house import House as Parts
from gatehouse.hosting.runtimes import Direct
from gatehouse.settings.environment import Settings
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of
from gatehouse.upstream.inprocess import Calls
from tests.harness.hosts import bind_addresses
from tests.harness.program import TOKEN
from tests.harness.request_of import Counting, scope_of

names = st.sampled_from(
    [b"host", b"origin", b"authorization", b"x-api-key", b"connection", b"upgrade", b"expect"]
) | st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^|~-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {b"content-length", b"transfer-encoding"}
)

headers = st.lists(
    st.tuples(names, st.binary(max_size=30) | st.just(b"Bearer " + TOKEN.encode())), max_size=6
)


@hypothesis_settings(max_examples=150)
@given(
    bind=bind_addresses,
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "DELETE"]),
    path=st.sampled_from([b"/mcp", b"/mcp/", b"/mcp/a", b"/health"]) | st.binary(max_size=30),
    query=st.binary(max_size=30) | st.just(b"key=" + TOKEN.encode()),
    given_headers=headers,
    named=st.booleans(),
)
def test_no_bytes_in_target_or_fields_make_the_gate_fail(
    bind: tuple[dict[str, str], bytes],
    method: str,
    path: bytes,
    query: bytes,
    given_headers: list[tuple[bytes, bytes]],
    named: bool,
) -> None:
    limits = Settings(_env_file=None, mcp_app="", upstream_port=1, **bind[0])  # type: ignore[arg-type]
    away = Calls("127.0.0.1:1")
    gate = Parts(limits, [], shared_token=TOKEN, upstream=away).gate
    sent: list[dict[str, Any]] = []
    asked_once: list[bool] = []

    async def receive() -> dict[str, Any]:
        if asked_once:
            await trio.sleep_forever()
        asked_once.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "raw_path": path,
        "query_string": query,
        "headers": [(b"host", bind[1]), *given_headers] if named else given_headers,
        "client": ("127.0.0.1", 1),
    }
    trio.run(cast("Any", gate), scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    assert starts[0]["status"] in {200, 204, 400, 401, 403, 404, 405, 417, 421, 502, 503}
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert TOKEN.encode() not in b"".join(value for _, value in starts[0]["headers"])


FIGURES = f"figures-{TOKEN}"


async def answer_of(gate: Gate, scope: dict[str, Any]) -> tuple[int, bytes]:
    """The gate's own answer to a request without a body."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await cast("Any", gate)(scope, trio.sleep_forever, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_the_figures_have_their_own_challenge_and_count_failures_with_the_endpoint() -> None:
    settings = Settings(
        _env_file=None, mcp_app="", metrics_token=FIGURES, failure_rate="4/hour", upstream_port=1
    )
    gate = Parts(settings, [], shared_token=TOKEN, upstream=Calls("127.0.0.1:1")).gate
    host = (b"Host", b"localhost")
    key = scope_of([host], method="GET", target=b"/metrics?key=" + FIGURES.encode())
    wrong = scope_of([host, (b"Authorization", b"Bearer wrong")], method="GET", target=b"/metrics")
    good = scope_of([host, (b"X-API-Key", FIGURES.encode())], method="GET", target=b"/metrics")
    for scope in (key, wrong):
        status, body = await answer_of(gate, scope)
        assert status == 401
        assert b"METRICS_TOKEN" in body
    paths = (b"/mcp", b"/mcp", b"/mcp", b"/metrics")
    statuses = [(await answer_of(gate, {**wrong, "raw_path": path}))[0] for path in paths]
    assert statuses == [401, 401, 429, 429]
    assert (await answer_of(gate, good))[0] == 200


def test_no_report_of_an_error_with_its_variables_shows_what_the_gate_holds() -> None:
    assert Gate.__repr__ is object.__repr__


class Looked(dict[str, Any]):
    """A scope that knows what has been looked up in it."""

    def __init__(self, scope: dict[str, Any]) -> None:
        super().__init__(scope)
        self.keys_asked: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.keys_asked.append(key)
        return super().__getitem__(key)


async def test_on_its_whole_way_a_requests_fields_are_gone_through_twice_at_most() -> None:
    calls = Calls("127.0.0.1:7870")
    alice = Token("alice", (TokenValue(digest_of(TOKEN)),))
    settings = Settings(
        _env_file=None,
        mcp_app="",
        tokens_file=Path("tokens.toml"),
        token_rate="60/min",
        trusted_hops=1,
        metrics_token=FIGURES,
        allowed_hosts="gate.example",
        allowed_origins="https://app.example",
    )
    gate = Parts(settings, [], contents=Contents((alice,)), upstream=calls).gate
    fields = Counting(
        [
            (b"Host", b"gate.example"),
            (b"Origin", b"https://app.example"),
            (b"Authorization", b"Bearer " + TOKEN.encode()),
            (b"Connection", b"X-Hop"),
            (b"X-Forwarded-For", b"192.0.2.1"),
            (b"MCP-Protocol-Version", b"2026-07-28"),
            (b"Mcp-Method", b"tools/call"),
            (b"Mcp-Name", b"add"),
            (b"Content-Length", b"2"),
        ]
    )
    scope = Looked({**scope_of(target=b"/mcp?a=b"), "headers": fields})
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"{}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok", "more_body": False})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Direct(calls).serve, app, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        await cast("Any", gate)(scope, receive, send)
        nursery.cancel_scope.cancel()
    assert sent[0]["status"] == 200
    assert fields.passes <= 2
    assert scope.keys_asked.count("headers") == 1


def test_the_file_itself_says_which_program_to_start() -> None:
    with pytest.raises(SystemExit, match="start run"):
        runpy.run_path(str(gate.__file__), run_name="__main__")
