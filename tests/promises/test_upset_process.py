"""Whatever a hosted server does to its process: the gate's secrets stay hidden, and its own work goes on."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gatehouse.identity.state_file import PRIVATE_MODE
from gatehouse.process import fresh_start
from tests.harness.only_ci import default_modes
from tests.harness.program import ROOT, TOKEN, Program, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

METRICS_TOKEN = "m3tricsm3tricsm3tricsm3tricsm3trics"
PASSWORD = "pa55word-of-redis"
SIGN_IN = {
    "SPACE_ID": "me/gate",
    "SPACE_CREATOR_USER_ID": "5f0c1d",
    "PUBLIC_URL": "http://localhost:1",
    "SIGN_IN": "huggingface",
    "SIGN_IN_CLIENT_ID": "gate",
    "SIGN_IN_CLIENT_SECRET": "s3cret-of-the-client-of-the-gate-itself",
    "OAUTH_CLIENT_SECRET": "s3cret-that-hugging-face-gives-to-a-space",
    "Sign_In_Secret": "s3cret-of-the-sessions-of-all-browsers",
}
"""Signing in, with a client of one's own in a Space that has another one: three secrets."""


def call(program: Program, tool: str, token: str = TOKEN) -> httpx.Response:
    """One call of a tool, by MCP 2025-06-18 and without a session."""
    return httpx.post(
        program.endpoint,
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        },
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": {}},
        },
        trust_env=False,
        timeout=20,
    )


def tokens(folder: Path, *arguments: str) -> str:
    """`python run.py tokens ...`, in the folder that the gate was started in."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "tokens", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TOKENS_FILE": "tokens.toml"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


RUNTIMES = {"inprocess": "asyncio", "network": ""}


@pytest.fixture(scope="module", params=default_modes(RUNTIMES))
def upset(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Program, Path, str]]:
    """A gate whose server has upset everything, twice; the folder it was started in; a named token."""
    folder = tmp_path_factory.mktemp("folder")
    mode, runtime = request.param, RUNTIMES[request.param]
    value = tokens(folder, "add", "alice")
    with running(
        folder,
        MCP_APP="awkward_server:mcp",
        UPSTREAM_MODE=mode,
        UPSTREAM_RUNTIME=runtime,
        FASTMCP_STATELESS_HTTP="true",
        TOKENS_FILE="tokens.toml",
        Metrics_Token=METRICS_TOKEN,
        SHARED_STATE_URL=f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
        TOKEN_RATE="1000/s",
        FAILURE_RATE="3/hour",
        **SIGN_IN,
    ) as program:
        program.wait_for()
        assert call(program, "upset_again", value).status_code == 200
        yield program, folder, value


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="no /proc")  # noqa: PTH110
def test_no_tool_finds_the_gates_secrets(upset: tuple[Program, Path, str]) -> None:
    program, _, _ = upset
    seen = call(program, "look").text
    assert "awkward_server:mcp" in seen
    assert "PATH=" in seen
    assert "core files: 0 bytes" in seen
    for secret in (TOKEN, METRICS_TOKEN, PASSWORD, "s3cret-"):
        assert secret not in seen


def test_the_log_goes_on_in_its_form_and_at_its_time(upset: tuple[Program, Path, str]) -> None:
    program, _, _ = upset
    assert httpx.get(program.url + "/nowhere", trust_env=False).status_code == 404
    program.wait_for_log(r"GET /nowhere 404")
    (line,) = re.findall(r"(?m)^(\S+) INFO gate\.access: GET /nowhere 404", program.log)
    moment = datetime.strptime(line, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    program.wait_for_log("printed by a tool")


def test_answers_have_the_right_date(upset: tuple[Program, Path, str]) -> None:
    program, _, _ = upset
    date = httpx.get(program.url + "/health", trust_env=False).headers["date"]
    moment = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_strangers_are_counted_and_figures_are_shown(upset: tuple[Program, Path, str]) -> None:
    program, _, _ = upset
    statuses = [call(program, "look", "wrong" * 10).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    page = httpx.get(
        program.url + "/metrics",
        headers={"Authorization": f"Bearer {METRICS_TOKEN}"},
        trust_env=False,
    )
    assert page.status_code == 200


def test_files_are_where_they_were(upset: tuple[Program, Path, str]) -> None:
    program, folder, value = upset
    state = folder / "gate-state.sqlite3"
    assert stat.S_IMODE(state.stat().st_mode) == PRIVATE_MODE
    os.utime(folder / "tokens.toml")
    assert call(program, "look", value).status_code == 200
    tokens(folder, "revoke", "alice")
    time.sleep(1)
    assert call(program, "look", value).status_code in {401, 429}
    assert program.stop() == 0
    listed = sorted(path.name for path in (folder / "elsewhere").rglob("*.sqlite3"))
    assert listed == []


# The new start.


def probe(*options: str, **environment: str) -> dict[str, Any]:
    """The secrets that a program which starts as run.py does finds afterwards."""
    code = (
        "import json, os, sys; from gatehouse.process import fresh_start; fresh_start.leave_secrets_behind();"
        "fresh_start.signals_may_come();"
        "print(json.dumps([os.getpid(), dict(os.environ), sys.orig_argv, sys.flags.utf8_mode]))"
    )
    started = subprocess.Popen(
        [sys.executable, *options, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = started.communicate(timeout=20)
    pid, environ, argv, utf8 = json.loads(out)
    return {"same": pid == started.pid, "environ": environ, "argv": argv, "utf8": utf8}


def test_the_new_start_keeps_everything_else() -> None:
    secrets = {"MCP_AUTH_TOKEN": TOKEN, "metrics_token": "ä\udcff" * 20, "SHARED_STATE_URL": " "}
    secrets["OAUTH_CLIENT_SECRET"] = "perhaps the hosted server's"
    found = probe("-X", "utf8", "-W", "error", **secrets, OTHER="kept")
    assert found["same"]
    assert found["utf8"] == 1
    assert found["argv"][1:5] == ["-X", "utf8", "-W", "error"]
    assert {**found["environ"], **secrets, "OTHER": "kept"} == found["environ"]
    assert fresh_start.HANDED_ON not in found["environ"]


@pytest.mark.parametrize("handed", ["99", "x", "0"])
def test_secrets_that_do_not_arrive_stop_the_start(tmp_path: Path, handed: str) -> None:
    with running(tmp_path, **{fresh_start.HANDED_ON: handed}) as program:
        assert program.process.wait(20) == 2
        (line,) = program.log.splitlines()
        assert line.startswith("cannot start anew")


def test_secrets_too_long_for_a_pipe_stop_the_start(tmp_path: Path) -> None:
    with running(tmp_path, METRICS_TOKEN="x" * 100_000) as program:
        assert program.process.wait(20) == 2
        (line,) = program.log.splitlines()
        assert line.startswith("cannot start anew")


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="no /proc")  # noqa: PTH110
def test_without_descriptors_no_socket_takes_their_numbers(tmp_path: Path) -> None:
    port = free_port()
    started = subprocess.Popen(
        ["sh", "-c", f"exec {sys.executable} {ROOT}/run.py <&- >&- 2>&-"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PORT": str(port), "MCP_APP": "", "MCP_AUTH_TOKEN": TOKEN},
    )
    try:
        with eventually_connected(port):
            for number in (0, 1, 2):
                assert str(Path(f"/proc/{started.pid}/fd/{number}").readlink()) == os.devnull
        started.terminate()
        assert started.wait(10) == 0
    finally:
        started.kill()
        started.wait()


@contextmanager
def eventually_connected(port: int) -> Iterator[socket.socket]:
    deadline = time.monotonic() + 20
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            with connection:
                yield connection
            return
