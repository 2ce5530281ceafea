"""`python run.py`: how it starts, serves, logs and stops, run as a user runs it."""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from gatehouse.downstream.listeners import CannotListenError, bind
from gatehouse.version import VERSION
from tests.harness.leaks import pieces_in
from tests.harness.only_ci import default_modes, only_in_ci
from tests.harness.program import ROOT, TOKEN, Program, free_port, running
from tests.harness.tools import JSON_AND_SSE, call_tool, rpc, slow_call

if TYPE_CHECKING:
    from collections.abc import Iterator


PROBE = "probe_server:mcp"
MODES = ["network", "inprocess"]


@pytest.fixture(scope="module", params=default_modes(MODES))
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("run")
    with running(folder, MCP_APP=PROBE, UPSTREAM_MODE=request.param) as program:
        program.wait_for()
        yield program


def test_any_fastmcp_server_works_asyncio_only_tools_included(program: Program) -> None:
    answer = call_tool(program, "asyncio_only", seconds=0.01)
    assert answer.status_code == 200
    assert "exit 0" in answer.text
    assert '"7"' in call_tool(program, "add", a=3, b=4).text


def test_a_failing_asyncio_background_task_ends_neither_server_nor_gate(program: Program) -> None:
    assert "left behind" in call_tool(program, "fail_in_background").text
    program.wait_for_log("callback .*RuntimeError .*probe_server.py, line")
    assert "left behind" in call_tool(program, "fail_in_background").text
    assert program.process.poll() is None


def test_the_server_behind_sees_no_credential(program: Program) -> None:
    answer = httpx.post(
        f"{program.endpoint}?key={quote(TOKEN)}",
        headers={
            **JSON_AND_SSE,
            "X-API-Key": TOKEN,
            "Authorization": f"Bearer {TOKEN}",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "what_arrived",
            "MCP-Protocol-Version": "2026-07-28",
            "X-Kept": "yes",
        },
        json=rpc(
            "tools/call",
            name="what_arrived",
            arguments={},
            _meta={
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        ),
        trust_env=False,
    )
    assert answer.status_code == 200
    assert "x-kept" in answer.text
    assert "authorization" not in answer.text
    assert "x-api-key" not in answer.text
    assert TOKEN not in answer.text


def test_a_foreign_browser_origin_is_refused(program: Program) -> None:
    answer = httpx.post(
        program.endpoint,
        json=rpc("ping"),
        trust_env=False,
        headers={
            **JSON_AND_SSE,
            "Authorization": f"Bearer {TOKEN}",
            "Origin": "https://evil.example",
        },
    )
    assert answer.status_code == 403


def test_every_request_leaves_one_line_without_its_query(program: Program) -> None:
    httpx.post(program.endpoint + "?secretly=hidden&key=" + TOKEN, json={}, trust_env=False)
    httpx.get(program.url + "/nope?also=hidden", trust_env=False)
    program.wait_for_log(
        r"POST /mcp \d+ [\d.]+ ms \(first byte [\d.]+\), 2 bytes in, \d+ bytes out, default by query, from 127.0.0.1, id \w+\n"
    )
    program.wait_for_log(
        r"GET /nope 404 [\d.]+ ms \(first byte [\d.]+\), 0 bytes in, \d+ bytes out, from 127.0.0.1, id \w+ \(refused: not-found\)\n"
    )
    assert program.log.count("GET /nope") == 1
    assert "hidden" not in program.output


@pytest.mark.parametrize(
    ("signum", "mode"),
    [pytest.param(signal.SIGTERM, "network", marks=only_in_ci), (signal.SIGINT, "inprocess")],
)
def test_a_signal_lets_a_call_finish_and_ends_with_status_0(
    tmp_path: Path, signum: signal.Signals, mode: str
) -> None:
    with running(tmp_path, MCP_APP=PROBE, UPSTREAM_MODE=mode) as program:
        program.wait_for()
        answers: list[httpx.Response] = []
        caller = threading.Thread(
            target=lambda: answers.append(call_tool(program, "asyncio_only", seconds=1))
        )
        caller.start()
        time.sleep(0.5)
        began = time.monotonic()
        assert program.stop(signum) == 0
        assert time.monotonic() - began < 5
        caller.join()
        assert "exit 0" in answers[0].text
        assert "Traceback" not in program.output
        with pytest.raises(httpx.ConnectError):
            httpx.get(program.url, trust_env=False)


@pytest.mark.parametrize("mode", default_modes(MODES))
def test_calls_that_outlast_the_grace_are_cut_and_the_program_still_ends_with_0(
    tmp_path: Path, mode: str
) -> None:
    with running(tmp_path, MCP_APP=PROBE, UPSTREAM_MODE=mode, GRACE_SECONDS="1") as program:
        program.wait_for()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                call_tool(program, "count", to=60, pause=1)
            except httpx.TransportError as error:
                failures.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        with socket.create_connection(("127.0.0.1", program.port)) as stream:
            stream.sendall(slow_call())
            received = b""
            while b"data: " not in received:
                received += stream.recv(65536)
            time.sleep(0.3)
            began = time.monotonic()
            assert program.stop() == 0
            assert 0.9 < time.monotonic() - began < 3
            received += b"".join(iter(lambda: stream.recv(65536), b""))
        assert received.endswith(b"\r\n\r\n\r\n0\r\n\r\n")  # a whole event, and the last chunk
        caller.join()
        assert failures, "a cut answer must not look complete"
        assert program.log.count(" (cut: draining)") == 2
        lines = [line.partition(" INFO gate: ")[2] for line in program.log.splitlines()]
        said = [line for line in lines if line]
        assert said[0].startswith(f"gate {VERSION} starts: ")
        assert said[1] == f"gate {VERSION} listens at {program.endpoint} and forwards to {PROBE}"
        assert re.fullmatch(
            rf"ready after [0-9.]+ s: Probe \({PROBE}\) on asyncio, 6 tools", said[2]
        )
        assert (
            said[3] == "stopping at SIGTERM, within 1 s: requests in flight: 2 (event streams: 1)"
        )
        assert said[4:] == ["stopped, with status 0"]
        assert f"the server {PROBE} keeps sessions" in program.log
        assert "Traceback" not in program.output
        assert program.errors == []


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_a_signal_at_any_moment_of_the_start_ends_it_cleanly(tmp_path: Path, delay: float) -> None:
    with running(tmp_path, MCP_APP=PROBE) as program:
        time.sleep(delay)
        status = program.stop(seconds=8)
        # Python takes a while to come to the first line of the program, longer on a busy machine.
        assert status in ({0, -signal.SIGTERM} if delay < 1 else {0})
        assert "Traceback" not in program.output


def test_the_gate_answers_before_the_upstream_is_up(tmp_path: Path) -> None:
    (tmp_path / "sleepy.py").write_text(
        "from contextlib import asynccontextmanager\nimport anyio\nfrom fastmcp import FastMCP\n"
        "@asynccontextmanager\nasync def lifespan(server):\n    await anyio.sleep(60)\n    yield\n"
        "mcp = FastMCP('sleepy', lifespan=lifespan)\n"
    )
    with running(
        tmp_path, MCP_APP="sleepy:mcp", PYTHONPATH=f"{ROOT}:{tmp_path}", START_SECONDS="0.5"
    ) as program:
        program.wait_for("/health")
        assert httpx.get(program.url + "/ready", trust_env=False).status_code == 503
        assert httpx.get(program.url + "/", trust_env=False).status_code == 200
        answer = call_tool(program, "add")
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert program.stop(seconds=8) == 0


def test_a_call_that_comes_too_early_waits_for_the_server_to_start(tmp_path: Path) -> None:
    with running(tmp_path, MCP_APP=PROBE) as program:
        program.wait_for("/health")
        assert httpx.get(program.url + "/ready", trust_env=False).status_code == 503
        assert '"7"' in call_tool(program, "add", a=3, b=4).text


def test_with_an_empty_mcp_app_it_forwards_to_a_server_that_runs_elsewhere(tmp_path: Path) -> None:
    port = free_port()
    code = f"from probe_server import mcp; mcp.run('http', port={port}, show_banner=False)"
    elsewhere = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests/harness",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with running(tmp_path, MCP_APP="", UPSTREAM_PORT=str(port)) as program:
            program.wait_for()
            assert '"7"' in call_tool(program, "add", a=3, b=4).text
            assert "uvicorn" not in program.log
    finally:
        elsewhere.kill()
        elsewhere.wait()


def test_nobody_goes_round_the_gate_to_the_hosted_server(program: Program) -> None:
    url = f"http://127.0.0.1:{program.upstream_port}/mcp"
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"X-Gate-Secret": TOKEN}):
        try:
            answer = httpx.post(
                url, json=rpc("ping"), headers={**JSON_AND_SSE, **headers}, trust_env=False
            )
        except httpx.ConnectError:
            assert program.settings["UPSTREAM_MODE"] == "inprocess"  # there is no port
        else:
            assert answer.status_code == 403
    seen = call_tool(program, "what_arrived").text
    assert "x-forwarded-for" in seen
    assert "x-gate-secret" not in seen.lower()


def test_if_the_hosted_server_dies_the_program_says_so_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "mortal.py").write_text(
        "import asyncio\n"
        "from contextlib import asynccontextmanager\n"
        "from fastmcp import FastMCP\n"
        "@asynccontextmanager\n"
        "async def lifespan(server):\n"
        "    task = asyncio.current_task()\n"
        "    asyncio.get_running_loop().call_later(1.0, lambda: end(task))\n"
        "    yield {}\n"
        "def end(task):\n"
        "    import gc, uvicorn\n"
        "    gc.unfreeze()\n"
        "    for found in gc.get_objects():\n"
        "        if isinstance(found, uvicorn.Server): found.should_exit = True\n"
        "mcp = FastMCP('mortal', lifespan=lifespan)\n"
    )
    settings = {"MCP_APP": "mortal:mcp", "UPSTREAM_MODE": "network"}
    with running(tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}", **settings) as program:
        assert program.process.wait(20) == 1
        stopping, fault, stopped = program.log.splitlines()[-3:]
        assert stopping.endswith("stopping, since the server died: requests in flight: 0")
        assert fault == "MCP_APP: the server mortal:mcp stopped by itself"
        assert stopped.endswith("stopped, with status 1")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            "class Odd(SystemExit):\n    def __str__(self): raise Odd\nraise Odd",
            r"importing broken:mcp failed: Odd: <no text> \(.*broken.py, line 3\)",
        ),
        (
            "class App:\n    def http_app(self, path): pass\nmcp = App()",
            "could not start: AttributeError: 'App' object has no attribute 'name'",
        ),
        (
            "from contextlib import asynccontextmanager\nfrom fastmcp import FastMCP\n"
            "@asynccontextmanager\nasync def lifespan(server):\n    raise OSError('no disk')\n"
            "    yield\nmcp = FastMCP('x', lifespan=lifespan)",
            "could not start: OSError: no disk",
        ),
        (
            "import asyncio\nfrom contextlib import asynccontextmanager\nfrom fastmcp import FastMCP\n"
            "UPSTREAM_RUNTIME = 'trio'\n"
            "@asynccontextmanager\nasync def lifespan(server):\n    await asyncio.sleep(1)\n"
            "    yield\nmcp = FastMCP('x', lifespan=lifespan)",
            "no running event loop .*; this server runs on Trio.* set UPSTREAM_RUNTIME=asyncio$",
        ),
    ],
)
def test_a_server_that_cannot_be_started_is_one_clear_line_and_status_2(
    tmp_path: Path, module: str, words: str
) -> None:
    (tmp_path / "broken.py").write_text(module)
    with running(tmp_path, MCP_APP="broken:mcp", PYTHONPATH=f"{ROOT}:{tmp_path}") as program:
        assert program.process.wait(20) == 2
        sources, _, line = program.log.splitlines()
        assert "settings come from the environment; there is no " in sources
        assert line.startswith("MCP_APP: ")
        assert re.search(words, line)


@pytest.mark.parametrize("setting", ["PORT", "UPSTREAM_PORT"])
def test_a_port_in_use_is_one_clear_line_and_status_2(tmp_path: Path, setting: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        with running(tmp_path, UPSTREAM_MODE="network", **{setting: port}) as program:
            assert program.process.wait(20) == 2
            (line,) = program.output.splitlines()
            assert line.startswith(f"{setting}: 127.0.0.1:{port} is already in use")


def test_an_address_that_cannot_be_had_names_the_setting() -> None:
    with pytest.raises(
        CannotListenError, match=r"^HOST: cannot listen on 192\.0\.2\.1:7860 .*0\.0\.0\.0"
    ):
        bind("PORT", "192.0.2.1", 7860)
    with pytest.raises(
        CannotListenError, match=r"^UPSTREAM_HOST: no\.invalid is no address of this"
    ):
        bind("UPSTREAM_PORT", "no.invalid", 7860)


def test_bad_settings_are_one_clear_line_each_and_status_2(tmp_path: Path) -> None:
    with running(tmp_path, PORT="x", UPSTREAM_PATH="?", MCP_AUTH_TOKEN="tooShort") as program:
        assert program.process.wait(20) == 2
        names = [line.partition(":")[0] for line in program.output.splitlines()]
        assert names == ["MCP_AUTH_TOKEN", "PORT", "UPSTREAM_PATH"]
        assert "tooShort" not in program.output


def test_a_line_of_the_file_that_cannot_be_read_is_one_clear_line_without_its_text(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env").write_text("PORT=1\nMCP_AUTH_TOKEN: tooShort\n")
    with running(tmp_path) as program:
        assert program.process.wait(20) == 2
        (line,) = program.output.splitlines()
        assert line.startswith(f"{tmp_path}/.env, line 2: cannot be read; write NAME=value")


def test_bad_settings_of_foodwise_are_one_clear_line_and_status_2(tmp_path: Path) -> None:
    with running(tmp_path, NOTION_SECRET="ntn_secret-secret-secret") as program:
        assert program.process.wait(20) == 2
        line = program.log.splitlines()[-1]
        assert "NOTION_INVENTORY_DB_ID" in line
        assert "ntn_secret" not in program.output


def test_a_made_up_token_is_shown_works_and_is_another_one_each_time(tmp_path: Path) -> None:
    tokens = set()
    for app, path, status in [(PROBE, "/ready", 200), ("", "/health", 502)]:
        with running(tmp_path, MCP_APP=app, MCP_AUTH_TOKEN="") as program:
            program.wait_for(path)
            while "Stop with Ctrl+C" not in program.output:
                time.sleep(0.02)  # it is told once the gate listens
            (token,) = re.findall(r"Token for this run only .*: (\S+)\n", program.output)
            assert call_tool(program, "add", token=token, a=1, b=1).status_code == status
            assert token not in program.log
            assert f"{program.endpoint}?key={token}" in program.output
            tokens.add(token)
            program.stop()
    assert len(tokens) == 2


def test_no_log_holds_a_piece_of_the_token_in_any_spelling(program: Program) -> None:
    basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    for target in (
        f"/mcp/{TOKEN}",
        f"/{TOKEN}",
        f"/x/{quote(TOKEN)}",
        f"/mcp?{TOKEN}",
        f"/mcp?token={TOKEN}",
        f"/mcp/key={TOKEN}",
    ):
        httpx.get(
            program.url + target, trust_env=False, headers={"Authorization": f"Basic {basic}"}
        )
    raw = TOKEN.encode()
    mixed = "".join(f"%{b:02X}" if n % 3 else chr(b) for n, b in enumerate(raw)).encode()
    twice = "".join(f"%25{b:02x}" if n % 4 else chr(b) for n, b in enumerate(raw)).encode()
    value = b"mcpgate_Zk3-9fQ_x7Lw2sVbN4tRyU8iOp1aSdFgHjKlQwErT-z"
    modern = b"\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: "
    for data in (
        b"GET /" + mixed + b"?" + twice + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /mcp/x" + twice + b"/y HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + value + b"\r\n\r\n",
        b"POST /mcp?" + mixed + b" HTTP/1.1\r\nHost: a" + modern + twice + b"\r\n\r\n",
        b"GET /mcp/"
        + value.swapcase()
        + b" HTTP/1.1\r\nHost: a\r\nMcp-Session-Id: "
        + mixed
        + b"\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + raw + b"\x00\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer " + raw + b"\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-API-Key: " + raw + b"\r\n\r\n",
        raw + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", program.port), timeout=5) as connection:
            connection.sendall(data)
            connection.recv(65536)
    httpx.get(f"{program.url}/the-last", trust_env=False)
    program.wait_for_log("/the-last")
    assert not pieces_in(program.output, TOKEN)
    assert not pieces_in(program.output, value.decode())
    assert program.process.poll() is None


def test_where_people_sign_in_no_static_token_is_needed_and_none_is_made(tmp_path: Path) -> None:
    issuer, secret = f"http://127.0.0.1:{free_port()}", "S3cret-of-the-client"
    given = {
        "MCP_AUTH_TOKEN": "",
        "MCP_APP": "",
        "HOST": "0.0.0.0",
        "PUBLIC_URL": "http://127.0.0.1:7860",
        "AUTH_ISSUER": issuer,
        "AUTH_INTROSPECTION_URL": f"{issuer}/introspect",
        "AUTH_CLIENT_ID": "gate",
        "AUTH_CLIENT_SECRET": secret,
        "LOG_LEVEL": "debug",
    }
    with running(tmp_path, **given) as program:
        program.wait_for("/health")
        program.wait_for_log(
            f"listens at http://127.0.0.1:7860/mcp .*; clients sign in at {issuer}"
        )
        page = httpx.get(program.url, trust_env=False).text
        assert "the URL is all that they need" in page
        assert "YOUR_TOKEN" not in page
        opaque = {"Authorization": "Bearer nobody-knows-whether-this-is-good"}
        answer = httpx.post(program.endpoint, headers=opaque, json={}, trust_env=False)
        assert answer.status_code == 503
        if sys.platform == "linux":
            there = Path(f"/proc/{program.process.pid}/environ").read_bytes()
            assert b"AUTH_ISSUER" in there
            assert secret.encode() not in there
        assert program.stop() == 0
    assert "for this run only" not in program.output
    assert secret not in program.output
