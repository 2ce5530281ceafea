"""No token's sessions keep another token's out, at a server that this program hosts or at one elsewhere."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import House, open_house
from tests.harness.only_ci import default_modes
from tests.harness.program import ROOT, running
from tests.harness.wire import until_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.harness.wire import Head, Peer

ALICE, MALLORY = make_value(), make_value()
TOKENS = [
    Token(name, (TokenValue(digest_of(text)),))
    for name, text in (("alice", ALICE), ("mallory", MALLORY))
]
MAX_SESSIONS = 3
"""How many sessions a name may have here."""


class Server:
    """The script of an upstream with sessions. It answers once `opening` is set, and each DELETE once `ending` is.

    It knows no path but the endpoint, nor the method of MCP 2026-07-28 that is asked here.
    """

    def __init__(self) -> None:
        self.open: list[bytes] = []
        self.deletes: list[Head] = []
        self.ending = trio.Event()
        self.opening = trio.Event()
        self.opening.set()
        self._numbers = count()

    async def __call__(self, peer: Peer, head: Head) -> None:
        await peer.body(head)
        if b" /mcp " not in head.start_line or head.get(b"mcp-protocol-version") == b"2026-07-28":
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            return
        if head.start_line.startswith(b"DELETE"):
            self.deletes.append(head)
            await self.ending.wait()
            self.open.remove(head.get(b"mcp-session-id") or b"")
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        session = head.get(b"mcp-session-id")
        if session is not None and head.get(b"x-lose"):
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            return
        if session is None or head.get(b"x-anew"):
            session = b"session-%d" % next(self._numbers)
            self.open.append(session)
            await self.opening.wait()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nMcp-Session-Id: %s\r\nContent-Length: 2\r\n\r\n{}" % session
        )


@pytest.fixture
async def house(
    way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[House, Server]]:
    monkeypatch.setattr("gatehouse.policy.sessions.MAX_SESSIONS_PER_NAME", MAX_SESSIONS)
    async with open_house(
        tokens=TOKENS, upstream_authorization="Bearer of-the-gate", **way
    ) as house:
        server = house.upstream.script = Server()
        yield house, server


async def ask(house: House, token: str, *fields: bytes, path: bytes = b"/mcp") -> Head:
    bearer = b"Authorization: Bearer " + token.encode()
    head, _ = await house.request(path, bearer, *fields, method=b"POST", body=b"{}", token=False)
    return head


async def opened(house: House, token: str) -> bytes:
    head = await ask(house, token)
    assert head.status == 200
    return head.get(b"mcp-session-id") or b""


async def test_the_sessions_that_a_token_opens_beyond_its_bound_are_ended_upstream(
    house: tuple[House, Server],
) -> None:
    gate, server = house
    server.ending.set()
    hers = await opened(gate, ALICE)
    made = [await opened(gate, MALLORY) for _ in range(20)]
    with trio.fail_after(5):
        while len(server.open) > 1 + MAX_SESSIONS:
            await trio.sleep(0.01)
    assert server.open == [hers, *made[-MAX_SESSIONS:]]
    for head, session in zip(server.deletes, made, strict=False):
        assert head.get(b"mcp-session-id") == session
        assert head.get(b"x-gate-principal") == b"mallory"
        assert head.get(b"authorization") == b"Bearer of-the-gate"
        assert head.start_line == b"DELETE /mcp HTTP/1.1"
    assert (await ask(gate, ALICE, b"Mcp-Session-Id: " + hers)).status == 200
    assert (await ask(gate, MALLORY, b"Mcp-Session-Id: " + made[0])).status == 404


async def test_no_request_makes_the_gate_forget_a_session_that_the_server_still_has(
    house: tuple[House, Server],
) -> None:
    gate, server = house
    server.ending.set()
    for path, *fields in (
        (b"/mcp/nowhere",),
        (b"/mcp", b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: unknown"),
        (b"/mcp", b"X-Lose: 1"),
        (b"/mcp", b"X-Anew: 1"),
        (b"/mcp", b"Connection: Mcp-Session-Id"),
    ):
        for _ in range(2 * MAX_SESSIONS):
            session = await opened(gate, MALLORY)
            await ask(gate, MALLORY, b"Mcp-Session-Id: " + session, *fields, path=path)
        with trio.move_on_after(5):
            while len(server.open) > MAX_SESSIONS:
                await trio.sleep(0.01)
        assert len(server.open) <= MAX_SESSIONS, (path, fields)


async def test_a_server_that_is_slow_to_end_them_holds_up_only_the_token_that_opens_too_many(
    house: tuple[House, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, server = house
    monkeypatch.setattr("gatehouse.upstream.farewells.MAX_WAITING", 2)
    for _ in range(MAX_SESSIONS + 16 + 1):  # 16 of which are being ended now
        await opened(gate, MALLORY)
    answered: list[bytes] = []

    async def open_one_more() -> None:
        answered.append(await opened(gate, MALLORY))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(open_one_more)
        for _ in range(3):
            hers = await opened(gate, ALICE)
        lost = await ask(gate, ALICE, b"Mcp-Session-Id: " + hers, b"X-Lose: 1")
        assert lost.status == 404
        await trio.sleep(0.2)
        assert answered == []
        server.ending.set()
    assert len(answered) == 4


async def test_a_client_that_leaves_before_its_answer_opens_no_session_that_nobody_knows_of(
    house: tuple[House, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, server = house
    for module in ("connection", "connections"):  # which end what a client has left behind
        monkeypatch.setattr(f"gatehouse.downstream.{module}.SWEEP_SECONDS", 0.1)
    server.ending.set()
    hers = await opened(gate, ALICE)
    server.opening = trio.Event()
    fields = b"Authorization: Bearer " + MALLORY.encode()
    peers = [await gate.connect() for _ in range(20)]
    for peer in peers:
        await peer.send(gate.raw(b"/mcp", fields, method=b"POST", body=b"{}", token=False))
    with trio.fail_after(5):
        while len(server.open) < 1 + 20:
            await trio.sleep(0.01)
        await trio.sleep(0.1)  # now each is watched
        for peer in peers:
            await peer.reset()
        await trio.sleep(0.5)  # and its connection would be over
        server.opening.set()
        while len(server.open) > 1 + MAX_SESSIONS:
            await trio.sleep(0.01)
    assert hers in server.open


async def test_at_a_server_without_sessions_a_client_that_leaves_ends_its_call_at_once(
    way: dict[str, Any],
) -> None:
    async with open_house(tokens=TOKENS, **way) as house:
        assert (await ask(house, ALICE)).status == 200  # without a session
        house.upstream.script = hang = Hanging()
        peer = await house.connect()
        fields = b"Authorization: Bearer " + ALICE.encode()
        await peer.send(house.raw(b"/mcp", fields, method=b"POST", body=b"{}", token=False))
        await hang.asked.wait()
        await trio.sleep(0.1)
        await peer.reset()
        with trio.fail_after(1):
            await house.upstream.gone.wait()


class Hanging:
    """A script that never answers."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def __call__(self, peer: Peer, head: Head) -> None:
        await peer.body(head)
        self.asked.set()
        await until_gone(peer)


SERVER = """
from fastmcp import FastMCP
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager as Manager

*others, _ = Manager.__init__.__defaults__
Manager.__init__.__defaults__ = (*others, 10)  # of all callers together: max_sessions
mcp = FastMCP("stateful")
"""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.mark.parametrize("mode", default_modes(["network", "inprocess"]))
def test_no_token_keeps_others_out_of_a_hosted_server_with_sessions(
    tmp_path: Path, mode: str
) -> None:
    (tmp_path / "stateful.py").write_text(SERVER)
    (tmp_path / "sitecustomize.py").write_text(
        f"import gatehouse.policy.sessions as sessions; sessions.MAX_SESSIONS_PER_NAME = {MAX_SESSIONS}"
    )
    values = [
        f'[[tokens.{name}.values]]\ndigest = "sha256:{digest_of(text).hex()}"\n'
        for name, text in (("alice", ALICE), ("mallory", MALLORY))
    ]
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("[tokens.alice]\n[tokens.mallory]\n" + "".join(values))
    paths = f"{tmp_path}:{ROOT}"
    with (
        running(
            tmp_path,
            MCP_APP="stateful:mcp",
            UPSTREAM_MODE=mode,
            TOKENS_FILE=str(tokens),
            PYTHONPATH=paths,
        ) as program,
        httpx.Client(
            headers={"Accept": "application/json, text/event-stream"}, trust_env=False, timeout=10
        ) as client,
    ):
        program.wait_for()
        for number in range(60):
            token = ALICE if number % 20 == 19 else MALLORY
            answer = client.post(
                program.endpoint, headers={"Authorization": f"Bearer {token}"}, json=INITIALIZE
            )
            assert answer.status_code == 200, (number, answer.text)
        assert program.errors == []
