"""Named tokens as an administrator has them: made, used, rotated and revoked while the program runs."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import fastmcp
import httpx
import mcp
import pytest
from fastmcp.client.transports import StreamableHttpTransport

from gatehouse.commands.parser import parser
from gatehouse.commands.tokens import tokens_command
from gatehouse.settings.environment import Settings
from gatehouse.tokens.last_use import read_last_use
from gatehouse.tokens.value import digest_of
from tests.harness.identity.authorization_server import authorization_server
from tests.harness.leaks import pieces_in
from tests.harness.program import ROOT, Program, running
from tests.harness.redis_server import PASSWORD, RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

METRICS_TOKEN = "f1gures/for+prometheus~only-7b1c90ad"
MODES = ["legacy", "2026-07-28"]
WAYS = {
    "foodwise": {},
    "network": {"UPSTREAM_MODE": "network", "UPSTREAM_RUNTIME": "asyncio"},
}
NO_FAILURES: dict[str, str] = {"FAILURE_RATE": "off"}


def tokens(folder: Path, *arguments: str) -> tuple[str, str]:
    """The output of `python run.py tokens ...` on stdout and stderr; it must end well."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "tokens", *arguments],
        cwd=folder,
        env={
            "TOKENS_FILE": "tokens.toml",
            "STATE_DB": "state.sqlite3",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def made(folder: Path, *arguments: str) -> str:
    """The value that a command has made; in this process, since each program takes a second to start."""
    options = parser().parse_args(["tokens", *arguments])
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        assert (
            tokens_command(
                options, Settings(_env_file=None, tokens_file=folder / "tokens.toml", state_db=None)
            )
            == 0
        )
    value = stdout.getvalue().strip()
    assert re.fullmatch(r"mcpgate_[A-Za-z0-9_-]{43}", value)
    assert value not in stderr.getvalue()
    return value


def call(
    program: Program,
    token: str,
    tool: str,
    said: str = "",
    era: str = "2026-07-28",
    request_id: str = "",
    **arguments: Any,
) -> httpx.Response:
    """A call of `tool`, whose header fields say that it is `said`, if the era has such fields. With its id, if one is given."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    return httpx.post(
        program.endpoint,
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {token}",
            "MCP-Protocol-Version": era,
            "Mcp-Method": "tools/call",
            "Mcp-Name": said or tool,
            **({"X-Request-Id": request_id} if request_id else {}),
        },
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        timeout=30,
        trust_env=False,
    )


def error_in(answer: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC error of an answer, be it JSON or an event stream."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = re.findall("^data: (.+)$", text, re.MULTILINE)[-1].strip()
    return dict(json.loads(text)["error"])


def within(seconds: float, done: Callable[[], bool]) -> float:
    """Wait until it is done; the seconds that it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() < began + seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


class Kitchen:
    """FoodWise with three tokens, and their values."""

    def __init__(self, folder: Path, program: Program, values: dict[str, str]) -> None:
        self.folder = folder
        self.program = program
        self.alice, self.guest, self.tablet = values.values()
        self.values = values


@pytest.fixture(scope="module", params=WAYS)
def kitchen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp("kitchen")
    values = {
        "alice": made(folder, "add", "alice", "--note", "her laptop"),
        "guest": made(folder, "add", "guest", "--tools", "list_*,get_item", "--expires", "30d"),
        "tablet": made(folder, "add", "tablet", "--query"),
    }
    settings = {
        "MCP_AUTH_TOKEN": "",
        "TOKENS_FILE": "tokens.toml",
        "STATE_DB": "state.sqlite3",
        "LOG_FORMAT": "json",
        "METRICS_TOKEN": METRICS_TOKEN,
        "SQLITE_PATH": str(folder / "food.sqlite3"),
        **WAYS[request.param],
    }
    with running(folder, **settings) as program:
        program.wait_for()
        yield Kitchen(folder, program, values)
        assert program.stop() == 0
        for secret in (*values.values(), METRICS_TOKEN):
            for file in folder.iterdir():
                assert not pieces_in(file.read_bytes().decode("latin-1"), secret), file.name


async def as_client(program: Program, token: str, mode: str) -> tuple[set[str], str, str]:
    """A real client's view with the token: tools, and the result of a call of each of two."""
    transport = StreamableHttpTransport(
        program.endpoint, headers={"Authorization": f"Bearer {token}"}
    )
    async with fastmcp.Client(transport, mode=mode) as client:
        names = {tool.name for tool in await client.list_tools()}
        outcomes = []
        for tool, arguments in [("list_inventory", {}), ("add_item", {"name": "Salt"})]:
            try:
                await client.call_tool(tool, arguments)
                outcomes.append("done")
            except mcp.MCPError as error:
                outcomes.append(str(error))
        return names, outcomes[0], outcomes[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_real_client_sees_and_calls_only_what_its_token_may(kitchen: Kitchen, mode: str) -> None:
    names, listed, added = asyncio.run(as_client(kitchen.program, kitchen.alice, mode))
    assert len(names) == 11
    assert (listed, added) == ("done", "done")
    names, listed, added = asyncio.run(as_client(kitchen.program, kitchen.guest, mode))
    assert names == {
        "list_inventory",
        "list_expiring",
        "list_low_stock",
        "list_shopping",
        "get_item",
    }
    assert listed == "done"
    assert "'add_item'" in added
    assert "'guest'" in added


def test_the_gate_refuses_early_where_the_era_lets_it_tell(kitchen: Kitchen) -> None:
    answer = call(kitchen.program, kitchen.guest, "remove_item", item_id="1")
    assert answer.status_code == 403
    assert "'remove_item'" in error_in(answer)["message"]


@pytest.mark.parametrize("era", ["2025-11-25", "2025-03-26", ""])
def test_a_lie_in_an_older_eras_header_calls_nothing(kitchen: Kitchen, era: str) -> None:
    answer = call(kitchen.program, kitchen.guest, "add_item", "list_shopping", era, name="Poison")
    # An empty version counts as the newest one, whose fields the server compares with the body.
    assert error_in(answer)["code"] == (-32015 if era else -32020)
    assert "Poison" not in call(kitchen.program, kitchen.alice, "list_inventory").text


def test_a_refusal_within_the_server_is_logged_with_the_requests_id(kitchen: Kitchen) -> None:
    program = kitchen.program
    call(program, kitchen.guest, "add_item", "list_shopping", "2025-11-25", name="Poison")
    program.wait_for_log("the token guest was refused tools/call add_item, id ")
    request_id = re.findall(r"was refused tools/call add_item, id (\w+)", program.log)[-1]
    program.wait_for_log(f'"request_id": "{request_id}", .*"token": "guest"')


def test_a_lie_in_the_newest_eras_header_is_told_by_the_server(kitchen: Kitchen) -> None:
    answer = call(kitchen.program, kitchen.guest, "add_item", "list_shopping", name="Poison")
    assert answer.status_code == 400
    assert "Poison" not in call(kitchen.program, kitchen.alice, "list_inventory").text


def test_resources_and_prompts_are_closed_to_a_token_for_tools(kitchen: Kitchen) -> None:
    async def main(token: str) -> tuple[int, int]:
        transport = StreamableHttpTransport(
            kitchen.program.endpoint, headers={"Authorization": f"Bearer {token}"}
        )
        async with fastmcp.Client(transport) as client:
            return len(await client.list_resources()), len(await client.list_prompts())

    assert asyncio.run(main(kitchen.alice)) == (1, 1)
    assert asyncio.run(main(kitchen.guest)) == (0, 0)


def test_the_log_is_json_that_tells_who_did_what_and_holds_no_value(kitchen: Kitchen) -> None:
    program = kitchen.program
    call(program, kitchen.alice, "list_shopping")
    httpx.post(f"{program.endpoint}?key={kitchen.tablet}", content="{}", trust_env=False)
    httpx.get(f"{program.endpoint}/{kitchen.alice}", trust_env=False)
    program.wait_for_log('"status": 401')
    lines = [json.loads(line) for line in program.log.splitlines()]
    assert all({"time", "level", "logger"} <= line.keys() for line in lines)
    requests = [line for line in lines if line["logger"] == "gate.access"]
    assert any(
        (line["token"], line["lane"], line["rpc_method"], line["tool"])
        == ("alice", "header", "tools/call", "list_shopping")
        for line in requests
    )
    assert any((line["token"], line["lane"]) == ("tablet", "query") for line in requests)
    refused = [line for line in requests if line["outcome"] == "refused"]
    assert any(line["reason"] == "no-token" and line["client"] == "127.0.0.1" for line in refused)


def test_log_and_figures_tell_who_called_what_of_clients_that_name_it_only_in_the_body(
    kitchen: Kitchen,
) -> None:
    """Claude Code, supergateway and mcp-remote are such clients."""
    program = kitchen.program
    era, private = "2025-06-18", "a-private-argument"
    call(program, kitchen.alice, "list_inventory", era=era, request_id="good", query=private)
    call(program, kitchen.alice, "get_item", era=era, request_id="bad", item_id=private)
    call(program, kitchen.guest, "add_item", era=era, request_id="refused", name=private)
    call(program, kitchen.alice, "list_shopping", "list_expiring", era, request_id="two-names")
    program.wait_for_log('"request_id": "two-names"')
    lines = {
        line["request_id"]: line
        for line in map(json.loads, program.log.splitlines())
        if "request_id" in line
    }
    facts = ("token", "rpc_method", "tool", "result", "outcome", "reason")
    told = {one: tuple(lines[one][fact] for fact in facts) for one in ("good", "bad", "refused")}
    assert told == {
        "good": ("alice", "tools/call", "list_inventory", "ok", "done", ""),
        "bad": ("alice", "tools/call", "get_item", "error", "done", ""),
        "refused": ("guest", "tools/call", "add_item", "refused", "refused", "grants"),
    }
    assert private not in program.log
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    page = httpx.get(f"{program.url}/metrics", headers=headers, trust_env=False).text
    assert 'calls_total{result="ok",token="alice",tool="list_inventory"}' in page
    assert 'refusals_total{reason="grants"}' in page
    assert private not in page


def test_the_figures_want_their_own_token_and_count_by_name(kitchen: Kitchen) -> None:
    program = kitchen.program
    call(program, kitchen.alice, "list_expiring")
    call(program, kitchen.alice, "no_such_tool")
    url = f"{program.url}/metrics"
    for token, status in [("", 401), (kitchen.alice, 401), (METRICS_TOKEN, 200)]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code == status
    assert httpx.get(f"{url}?key={METRICS_TOKEN}", trust_env=False).status_code == 401
    calls = 'mcp_gate_calls_total{result="%s",token="alice",tool="%s"}'
    assert calls % ("ok", "list_expiring") in answer.text
    assert calls % ("error", "other") in answer.text
    assert "no_such_tool" not in answer.text, "a token may invent names"
    assert "mcp_gate_open_streams 0.0" in answer.text
    answer = httpx.post(program.endpoint, headers=headers, content="{}", trust_env=False)
    assert answer.status_code == 401, "who may read figures may not call tools"


def test_the_list_tells_the_last_use(kitchen: Kitchen) -> None:
    call(kitchen.program, kitchen.alice, "list_shopping")
    within(
        10,
        lambda: digest_of(kitchen.alice) in read_last_use(kitchen.folder / "state.sqlite3").times,
    )
    stdout, _ = tokens(kitchen.folder, "list", "--json")
    values = {token["name"]: token["values"][0] for token in json.loads(stdout)["tokens"]}
    assert values["alice"]["last_use"] not in {"never", "unknown"}
    text, _ = tokens(kitchen.folder, "list")
    assert "her laptop" in text


# The upstream's own port, and sessions of a server that has them.


def test_the_servers_own_port_and_its_sessions_are_closed_to_others(tmp_path: Path) -> None:
    alice, bob = made(tmp_path, "add", "alice"), made(tmp_path, "add", "bob", "--tools", "count")
    settings = {"MCP_APP": "probe_server:mcp", "TOKENS_FILE": "tokens.toml", "MCP_AUTH_TOKEN": ""}
    with running(tmp_path, UPSTREAM_MODE="network", **settings) as program:
        program.wait_for()
        own_port = f"http://127.0.0.1:{program.upstream_port}/mcp"
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        fields = {
            "Accept": "application/json, text/event-stream",
            "X-Gate-Principal": "alice",
            "Authorization": f"Bearer {bob}",
        }
        with httpx.Client(trust_env=False, timeout=10) as http:
            assert http.post(own_port, headers=fields, json=hello).status_code == 403
            as_alice = {**fields, "Authorization": f"Bearer {alice}"}
            opened = http.post(program.endpoint, headers=as_alice, json=hello)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
            for method, body in [("POST", ping), ("GET", None), ("DELETE", None)]:
                for foreign in (session, {"Mcp-Session-Id": "0" * 32}):
                    answer = http.request(
                        method, program.endpoint, headers={**fields, **foreign}, json=body
                    )
                    assert answer.status_code == 404
                    assert "Session not found" in error_in(answer)["message"]
            answer = http.post(program.endpoint, headers={**as_alice, **session}, json=ping)
            assert answer.status_code == 200
            tool = {"name": "add", "arguments": {"a": 1, "b": 2}}
            add = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": tool}
            own = http.post(program.endpoint, headers=fields, json=hello)
            mine = {"Mcp-Session-Id": own.headers["mcp-session-id"]}
            answer = http.post(program.endpoint, headers={**fields, **mine}, json=add)
            assert error_in(answer)["code"] == -32015, "the field that says alice is taken off"
            answer = http.delete(program.endpoint, headers={**as_alice, **session})
            assert answer.status_code == 200
            answer = http.post(program.endpoint, headers={**as_alice, **session}, json=ping)
            assert answer.status_code == 404
        program.wait_for_log("GET /mcp 404 .* bob by header")


def test_names_that_no_tool_has_are_told_at_the_start_and_after_a_change(tmp_path: Path) -> None:
    made(tmp_path, "add", "alice", "--tools", "lst_*,add")
    settings = {"MCP_APP": "probe_server:mcp", "TOKENS_FILE": "tokens.toml"}
    with running(tmp_path, **settings) as program:
        program.wait_for()
        program.wait_for_log(r"alice.*lst_\*")
        assert not re.search(r"alice.*`add`", program.log)
        made(tmp_path, "add", "bob", "--tools", "cuont")
        program.wait_for_log("bob.*cuont")


# Changes while it runs.


class Caller(threading.Thread):
    """Asks again and again with the token that is in `use`, and keeps what came back."""

    def __init__(self, program: Program, use: list[str]) -> None:
        super().__init__()
        self.url = f"{program.endpoint}/x"
        self.use = use
        self.statuses: list[int] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as http:
            while not self.stopping.is_set():
                headers = {"Authorization": f"Bearer {self.use[0]}"}
                self.statuses.append(http.get(self.url, headers=headers).status_code)
                time.sleep(0.03)


def test_20_rotations_under_load_fail_nobody_that_is_good_and_pass_nobody_that_is_not(
    tmp_path: Path,
) -> None:
    used = {name: [made(tmp_path, "add", name)] for name in ("alice", "bob", "carol", "dave")}
    bad = ["mcpgate_" + "x" * 43]
    with running(tmp_path, TOKENS_FILE="tokens.toml", MCP_APP="", **NO_FAILURES) as program:
        program.wait_for("/health")
        callers = [Caller(program, use) for use in (*used.values(), bad)]
        for caller in callers:
            caller.start()
        old: list[str] = []
        for _ in range(5):
            fresh = {name: made(tmp_path, "rotate", name, "--overlap", "3s") for name in used}
            for name, use in used.items():
                within(1.2, partial(is_let_in, program, fresh[name]))
                old.append(use[0])
                use[0] = fresh[name]
        for caller in callers:
            caller.stopping.set()
            caller.join()
        for caller in callers[:4]:
            assert len(caller.statuses) > 30
            assert set(caller.statuses) == {502}, "let in: there is no upstream"
        assert set(callers[4].statuses) == {401}
        time.sleep(3)
        assert {status_of(program, value) for value in old} == {401}, "the overlap of all is over"
        assert {status_of(program, use[0]) for use in used.values()} == {502}


def is_let_in(program: Program, token: str) -> bool:
    return status_of(program, token) == 502


def status_of(program: Program, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{program.endpoint}/x", headers=headers, trust_env=False).status_code


def test_a_change_takes_effect_within_a_second_and_a_faulty_file_changes_nothing(
    tmp_path: Path,
) -> None:
    alice = made(tmp_path, "add", "alice")
    file = tmp_path / "tokens.toml"
    with running(tmp_path, TOKENS_FILE="tokens.toml", MCP_APP="") as program:
        program.wait_for("/health")
        bob = made(tmp_path, "add", "bob")
        assert within(3, lambda: status_of(program, bob) == 502) < 1.2
        whole = file.read_text()
        for broken in ("", whole[: len(whole) // 2], whole + "\n[tokens.alice]\n", "lanes = 3"):
            file.write_text(broken)
            time.sleep(1.2)
            assert (status_of(program, alice), status_of(program, bob)) == (502, 502)
        program.wait_for_log(r"the tokens in force stay as they are: \S*/tokens\.toml, line \d+")
        file.write_text(whole)
        program.wait_for_log("the tokens file is in order again")
        for end in range(0, len(whole), 40):  # a slow save, each moment of which is another text
            file.write_text(whole[:end])
            # One of them at a time: what stands still for long is no save any more.
            assert status_of(program, (alice, bob)[end // 40 % 2]) == 502
            time.sleep(0.1)
        file.unlink()
        time.sleep(1.2)
        assert status_of(program, alice) == 502
        file.write_text(whole)
        tokens(tmp_path, "revoke", "alice")
        assert within(3, lambda: status_of(program, alice) == 401) < 1.2
        assert status_of(program, bob) == 502
        assert program.stop() == 0


def person(match: str) -> str:
    return f'[[people]]\nmatch = "{match}"\n'


def test_people_come_and_go_with_the_file_which_needs_no_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(person("alice"))
    settings = {"TOKENS_FILE": "tokens.toml", "MCP_APP": "", "MCP_AUTH_TOKEN": ""}
    with authorization_server() as server:
        ways_in = {"AUTH_ISSUER": server.issuer, "PUBLIC_URL": "https://gate.example"}
        with running(tmp_path, **settings, **ways_in, **NO_FAILURES) as program:
            program.wait_for("/health")
            alice = server.token()
            bob = server.token(sub="bob", preferred_username="bob", email="Bob@example.com")
            within(30, lambda: status_of(program, alice) == 502)  # let in: there is no upstream
            assert status_of(program, bob) == 403
            file.write_text(person("alice") + person("*@example.COM"))
            within(10, lambda: status_of(program, bob) == 502)
            file.write_text("people = []\n" + person("*"))  # means nothing, or everybody
            program.wait_for_log("the tokens in force stay as they are")
            assert (status_of(program, alice), status_of(program, bob)) == (502, 502)
            file.write_text(person("bob@example.com"))
            within(10, lambda: status_of(program, alice) == 403)
            assert status_of(program, bob) == 502
            file.write_text("# nobody any more\n")
            within(10, lambda: status_of(program, bob) == 403)
            program.wait_for_log(r"the last \[\[people\]\] entry is gone")
            file.write_text(person("alice"))
            within(10, lambda: status_of(program, alice) == 502)
            assert program.log.count("entry is gone") == 1
            assert "tokens in force: none; people: 2" in program.log
            assert not re.search("alice|bob@", re.sub("oauth:[a-z@.]*", "", program.log.lower()))
            assert program.stop() == 0


def test_last_use_outlives_a_restart_and_its_loss_harms_nobody(tmp_path: Path) -> None:
    alice = made(tmp_path, "add", "alice")
    state = tmp_path / "state.sqlite3"
    settings = {"TOKENS_FILE": "tokens.toml", "STATE_DB": str(state), "MCP_APP": ""}
    with running(tmp_path, **settings) as program:
        program.wait_for("/health")
        within(10, lambda: state.is_file() and state.stat().st_size > 0)  # the first write is over
        time.sleep(0.2)
        status_of(program, alice)
        assert program.stop() == 0
    with sqlite3.connect(state) as database:
        [_, (digest, used_at)] = database.execute("SELECT * FROM last_use ORDER BY digest")
    assert len(digest) == 32
    assert abs(used_at - time.time()) < 30
    database.close()
    state.write_bytes(b"no database" * 100)
    with running(tmp_path, **settings) as program:
        program.wait_for("/health")
        assert status_of(program, alice) == 502
        within(10, lambda: "STATE_DB" in program.log)
        assert status_of(program, alice) == 502
        assert program.stop() == 0
    stdout, _ = tokens(tmp_path, "list")
    assert "alice" in stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no such file"),
        ("", "has no tokens"),
        ("[tokens.a]\n[[tokens.a.values]]\ndigest = 'sha256:12'\n", "tokens.toml, line 3"),
    ],
)
def test_a_faulty_file_at_the_start_is_status_2_in_words(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "tokens.toml").write_text(text)
    with running(tmp_path, TOKENS_FILE="tokens.toml", MCP_AUTH_TOKEN="", MCP_APP="") as program:
        assert program.process.wait(30) == 2
        assert words in program.log
        assert "Traceback" not in program.output


def test_a_named_value_that_is_another_settings_too_is_refused(tmp_path: Path) -> None:
    alice = made(tmp_path, "add", "alice")
    for name in ("MCP_AUTH_TOKEN", "METRICS_TOKEN"):
        settings = {"TOKENS_FILE": "tokens.toml", "MCP_APP": "", name: alice}
        with running(tmp_path, **settings) as program:
            assert program.process.wait(30) == 2
            assert f"{name}: is also the value" in program.log
            assert not pieces_in(program.output, alice)


# Several gates.


def test_two_gates_share_a_rate_and_a_dead_redis_opens_neither(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    alice = made(tmp_path, "add", "alice", "--rate", "6/min, burst 6")
    settings = {
        "TOKENS_FILE": "tokens.toml",
        "SHARED_STATE_URL": redis_server.url,
        "MCP_APP": "",
        "STATE_DB": "",
    }
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    for folder in (first_folder, second_folder):
        folder.mkdir()
        (folder / "tokens.toml").symlink_to(tmp_path / "tokens.toml")
    with running(first_folder, **settings) as first, running(second_folder, **settings) as second:
        first.wait_for("/health")
        second.wait_for("/health")
        statuses = [status_of(program, alice) for program in (first, second) * 4]
        assert statuses == [502] * 6 + [429] * 2
        redis_server.kill()
        statuses = [status_of(second, alice) for _ in range(8)]
        assert 429 in statuses, "each counts for itself now"
        assert status_of(second, "mcpgate_" + "y" * 43) == 401
        for program in (first, second):
            assert program.stop() == 0
        assert "is unavailable" in second.log
        assert not pieces_in(first.output + second.output, PASSWORD)
