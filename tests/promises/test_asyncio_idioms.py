"""asyncio as it is elsewhere: each idiom gives the same in a hosted server as in FastMCP's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.only_ci import only_in_ci
from tests.harness.program import ROOT, START_SECONDS, TOKEN, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES: dict[str, dict[str, str]] = {
    "network": {"UPSTREAM_MODE": "network"},
    "asyncio": {},
    "trio": {"UPSTREAM_RUNTIME": "trio"},
}
VERSION = "2026-07-28"


def ask(endpoint: str) -> dict[str, str]:
    """The result of each idiom, at a server."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {TOKEN}",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "idiom",
    }
    with httpx.Client(headers=headers, timeout=40, trust_env=False) as client:

        def call(name: str) -> str:
            params: dict[str, Any] = {"name": "idiom", "arguments": {"name": name}, "_meta": meta}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            return text_of(client.post(endpoint, json=message))

        return {name: call(name) for name in call("").split()}


def text_of(answer: httpx.Response) -> str:
    if answer.headers["content-type"].startswith("text/event-stream"):
        data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        body = httpx.Response(200, text=data[-1]).json()
    else:
        body = answer.json()
    assert "result" in body, answer.text
    return str(body["result"]["content"][0]["text"])


@contextmanager
def own_server() -> Iterator[str]:
    """FastMCP's own server, on asyncio; yields its endpoint."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/harness/idioms_server.py"), str(port)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


FOR_TRIO_TOO = [
    "context_variable_of_import",
    "thread_local_of_import",
    "database_of_import",
    "signal_of_the_import",
    "other_loops_of_the_import",
    "loop_of_the_import",
    "policy_of_import",
    "no_loop_in_a_thread",
    "loops_of_a_threads_own",
    "anyio_portals",
    "loop_in_a_thread_from_a_thread",
    "pools_of_a_threads_own",
    "subprocess_of_a_thread",
    "signal_handlers_of_pythons_own",
]
NO_LOOP = ("no running event loop", "There is no current event loop")


pytestmark = only_in_ci  # four programs, each with every idiom


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The result of each idiom, by where it runs; all at once, since each takes its time to start."""

    def elsewhere() -> dict[str, str]:
        with own_server() as endpoint:
            return ask(endpoint)

    def hosted(mode: str) -> dict[str, str]:
        folder = tmp_path_factory.mktemp(mode)
        with running(folder, MCP_APP="idioms_server:mcp", **MODES[mode]) as program:
            program.wait_for()
            found = ask(program.endpoint)
            told = program.log.count("tools/call idiom failed for lack of asyncio")
            assert told == (mode == "trio")  # once
            assert program.stop() == 0
        return found

    with ThreadPoolExecutor() as pool:
        asked = {mode: pool.submit(hosted, mode) for mode in MODES}
        asked["elsewhere"] = pool.submit(elsewhere)
        return {where: found.result() for where, found in asked.items()}


def test_what_is_compared_works_elsewhere(answers: dict[str, dict[str, str]]) -> None:
    assert len(answers["elsewhere"]) > 50
    assert not [text for text in answers["elsewhere"].values() if re.match(r"\w+: ", text)]


@pytest.mark.parametrize("mode", ["network", "asyncio"])
def test_each_idiom_gives_the_same_in_a_hosted_server(
    answers: dict[str, dict[str, str]], mode: str
) -> None:
    for name, text in answers["elsewhere"].items():
        assert (name, answers[mode][name]) == (name, text)


def test_on_trio_what_needs_the_loop_says_so_and_threads_have_loops_of_their_own(
    answers: dict[str, dict[str, str]],
) -> None:
    for name, text in answers["trio"].items():
        if name in FOR_TRIO_TOO:
            assert (name, text) == (name, answers["elsewhere"][name])
        else:
            assert any(told in text for told in NO_LOOP), name
