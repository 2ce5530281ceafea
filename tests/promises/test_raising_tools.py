"""Whatever a tool raises, and however: that call fails, the log says which, and everything else goes on."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.only_ci import default_modes
from tests.harness.program import TOKEN, Program, running
from tests.harness.raising_server import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES: dict[str, dict[str, str]] = {
    "network": {"UPSTREAM_MODE": "network"},
    "asyncio": {},
    "trio": {"UPSTREAM_RUNTIME": "trio"},
}
KINDS = [
    *("SystemExit", "KeyboardInterrupt", "CancelledError", "GeneratorExit"),
    *("Panic", "Untellable", "group", "nested"),
]
EVERYWHERE = ["in_async_tool", "in_sync_tool", "in_middleware", "in_task_group", "after_progress"]
ON_ASYNCIO = ["asyncio_background", "asyncio_callback", "asyncio_reader"]
ALONE = [
    "asyncio_stop",
    "asyncio_cancelled_other",
    "asyncio_cancels_itself",
    "asyncio_cancels_itself_late",
]
LIMITED = f"""
[tokens.limited]
tools = ["none"]
values = [{{digest = "sha256:{"7" * 64}"}}]
"""
"""A tokens file with a list of tools, so the gate looks at what the server has."""

NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Client:
    """A client of one era: of MCP 2026-07-28, or of an older one with a session."""

    def __init__(self, program: Program, era: str) -> None:
        self.program = program
        self.modern = era == "2026-07-28"
        headers = {
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {TOKEN}",
            "MCP-Protocol-Version": era,
        }
        self.http = httpx.Client(headers=headers, timeout=5, trust_env=False)
        if not self.modern:
            who = {"name": "test", "version": "1"}
            asked = {"protocolVersion": era, "capabilities": {}, "clientInfo": who}
            answer = self.post("initialize", asked, {})
            self.http.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]

    def post(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.http.post(self.program.endpoint, headers=headers, json=message)

    def answer(self, method: str, **params: Any) -> httpx.Response:
        headers = {}
        if self.modern:
            headers = {"Mcp-Method": method, "Mcp-Name": params[NAMED_BY[method]]}
            params["_meta"] = META
        return self.post(method, params, headers)

    def ask(self, method: str, **params: Any) -> str:
        return self.answer(method, **params).text

    def call(self, tool: str, **arguments: Any) -> str:
        return self.ask("tools/call", name=tool, arguments=arguments)


@pytest.fixture(scope="module", params=default_modes(MODES))
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("contained")
    settings = {"MCP_APP": "raising_server:mcp", "TOKENS_FILE": "tokens.toml"}
    (folder / "tokens.toml").write_text(LIMITED)
    with running(folder, **settings, **MODES[request.param]) as program:
        program.wait_for()
        yield program
        assert program.process.poll() == 1 or program.stop() == 0  # the last test ends it


@pytest.fixture(params=["2026-07-28", "2025-11-25"])
def client(program: Program, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client(program, request.param)
    yield client
    client.http.close()


def on_asyncio(client: Client) -> bool:
    return "UPSTREAM_RUNTIME" not in client.program.settings


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_tool_raises_is_the_error_of_its_call_and_of_nothing_else(
    client: Client, kind: str
) -> None:
    for tool in EVERYWHERE:
        class_name = "SystemExit" if kind in {"group", "nested"} else kind
        began = len(client.program.log)
        answer = client.call(tool, kind=kind)
        assert SECRET not in answer
        if "result" in answer:  # a cancelled child of a task group is no failure of the group
            assert (kind, tool) == ("CancelledError", "in_task_group")
        else:
            assert "-32603" in answer
            if (
                kind in {"Untellable", "nested"}
                and tool == "in_task_group"
                and not on_asyncio(client)
            ):
                class_name = "UntellableError"  # all that may pass through a nursery of Trio's
            assert class_name in answer
            client.program.wait_for_log(f"tools/call {tool} raised .*{class_name}")
            told = client.program.log[began:].splitlines()
            told = [line for line in told if "gate.access" not in line]
            assert (
                sum(map(len, told)) < 5000
            )  # a busy machine adds lines of a loop that stood still
        assert '"7"' in client.call("add", a=3, b=4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_task_or_a_callback_raises_ends_nothing(client: Client, kind: str) -> None:
    if on_asyncio(client):
        for tool in ON_ASYNCIO:
            assert "left behind" in client.call(tool, kind=kind)
            assert '"7"' in client.call("add", a=3, b=4)


def test_a_loop_that_is_stopped_and_a_task_that_is_cancelled_from_within_go_on(
    client: Client,
) -> None:
    if on_asyncio(client):
        answers = {tool: client.call(tool) for tool in ALONE}
        assert "goes on" in answers["asyncio_stop"]
        assert "CancelledError" in answers["asyncio_cancelled_other"]
        assert "CancelledError" in answers["asyncio_cancels_itself"]
        assert "at its end" in answers["asyncio_cancels_itself_late"]
        assert '"7"' in client.call("add", a=3, b=4)
        client.program.wait_for_log("stop.. of the loop .*raising_server")


def test_apps_that_never_pause_take_their_turns_like_everybody_else(program: Program) -> None:
    client = Client(program, "2026-07-28")
    with ExitStack() as open_sockets:
        for method in ("GET", "HEAD"):
            for kind in ("byte", "nothing", "listening"):
                head = f"{method} /mcp/endless?kind={kind} HTTP/1.1\r\nHost: {program.url[7:]}\r\n"
                asked = socket.create_connection(("127.0.0.1", program.port))
                open_sockets.enter_context(asked)
                asked.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        time.sleep(0.1)
        there = seconds_of_a_call(client)
    time.sleep(0.1)
    gone = seconds_of_a_call(client)
    client.http.close()
    assert there < 2  # was 3 and more, which is what they take
    assert gone < 2


def seconds_of_a_call(client: Client) -> float:
    began = time.monotonic()
    assert '"7"' in client.call("add", a=3, b=4)
    return time.monotonic() - began


def test_what_the_servers_own_lists_raise_costs_the_gate_its_question_only(
    program: Program,
) -> None:
    told = "whether .* is not known: listing what it has raised {} .*raising_server"
    program.wait_for_log(told.format("SystemExit"))
    file = program.folder / "tokens.toml"
    file.with_name("new").write_text(LIMITED.replace("none", "another"))
    file.with_name("new").replace(file)
    program.wait_for_log(told.format("CancelledError"))


def test_resources_and_prompts_fail_by_themselves(client: Client) -> None:
    for kind in ("SystemExit", "CancelledError", "Panic"):
        assert kind in client.ask("resources/read", uri=f"raise://by/{kind}")
        assert kind in client.ask("prompts/get", name="in_prompt", arguments={"kind": kind})
    assert '"7"' in client.call("add", a=3, b=4)


def test_the_log_tells_of_a_failure_in_a_line_that_names_no_resource_and_no_message(
    client: Client,
) -> None:
    client.ask("resources/read", uri="raise://by/KeyboardInterrupt")
    client.program.wait_for_log("resources/read raised KeyboardInterrupt .*raising_server.py")
    raised = re.findall(r".* raised .*", client.program.log)
    assert raised
    assert not [line for line in raised if SECRET in line or len(line) > 400]


def test_context_variables_that_the_import_has_set_are_set_in_requests(client: Client) -> None:
    assert "kept 0.3333333" in client.call("set_at_import")


def test_a_server_beyond_saving_ends_the_program_with_1_and_keeps_nobody_waiting(
    program: Program,
) -> None:
    client, began = Client(program, "2026-07-28"), time.monotonic()
    call: dict[str, Any] = {"method": "tools/call", "name": "add", "arguments": {"a": 3, "b": 4}}
    assert client.answer("tools/call", name="end_the_server", arguments={}).status_code >= 500
    with suppress(httpx.TransportError):
        while time.monotonic() < began + 5:
            assert client.answer(**call).status_code >= 500
            assert httpx.get(f"{program.url}/ready", trust_env=False).status_code == 503
    assert program.process.wait(5) == 1
    assert time.monotonic() - began < 5  # mostly 0.3
    assert "MCP_APP: the server raising_server:mcp" in program.log
    client.http.close()
