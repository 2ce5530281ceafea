"""What other libraries keep private: replaced in the release that was read, and done without in any other."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import httpx
import pytest
import trio
import trio._core._thread_cache as trio_threads
from anyio._backends._asyncio import WorkerThread

from gatehouse import pinned
from gatehouse.hosting.escapes import close_nurseries, close_threads
from gatehouse.hosting.loops import aio_as_trio, open_loop
from gatehouse.pinned import LOOP_OF_TRIO_ASYNCIO, THREADS_OF_ANYIO, THREADS_OF_TRIO, Part
from tests.harness.program import ROOT, TOKEN, Program, running

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = [LOOP_OF_TRIO_ASYNCIO, THREADS_OF_ANYIO, THREADS_OF_TRIO]
IDS = [part.library for part in PARTS]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def in_asyncio() -> set[int]:
    """The threads of three calls, each in a task of its own."""

    async def serve() -> set[int]:
        pinned.keep_anyio_threads(refuse)
        return {await asyncio.create_task(thread()) for _ in range(3)}

    async def thread() -> int:
        return await anyio.to_thread.run_sync(threading.get_ident)

    async with open_loop():
        return await aio_as_trio(serve)()  # type: ignore[no-any-return]


def refuse(line: str) -> None:
    raise AssertionError(line)


async def test_calls_of_different_requests_run_in_the_same_thread() -> None:
    assert len(await in_asyncio()) == 1


async def test_trio_does_not_rename_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    named = trio_threads.set_os_thread_name
    monkeypatch.setattr(trio_threads, "set_os_thread_name", named)  # put back afterwards
    before = await trio.to_thread.run_sync(name_for_the_kernel)
    pinned.leave_trio_threads_unnamed(refuse)
    after = await trio.to_thread.run_sync(name_for_the_kernel)
    assert "name_for_the_ke" in before
    assert "name_for_the_ke" not in after


def name_for_the_kernel() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text()


@pytest.mark.parametrize("part", PARTS, ids=IDS)
def test_the_pins_are_the_releases_that_were_read(part: Part) -> None:
    pins = (ROOT / "requirements.txt").read_text()
    assert f"\n{part.library}=={part.release} " in pins
    assert part.is_as_read(refuse)


@pytest.mark.parametrize("part", PARTS, ids=IDS)
def test_another_release_is_told_once_with_both_and_changes_nothing(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "release_of", lambda _: "99.1")
    lines: list[str] = []
    assert not part.is_as_read(lines.append)
    (line,) = lines
    assert line.startswith(f"{part.library} is 99.1; the gate was written for {part.release}, ")


@pytest.mark.parametrize("part", PARTS, ids=IDS)
def test_a_missing_name_is_told_too(part: Part) -> None:
    for name in part.names:
        lines: list[str] = []
        assert not part._replace(names=(f"{name}_gone",)).is_as_read(lines.append)
        (line,) = lines
        assert f"{part.library} is {part.release}, which lacks {name}_gone; " in line


@pytest.mark.parametrize(
    ("kind", "name", "close"),
    [
        (trio.Nursery, "_child_finished", close_nurseries),
        (trio.Nursery, "_nested_child_finished", close_nurseries),
        (WorkerThread, "_report_result", close_threads),
    ],
)
def test_a_missing_name_that_safety_rests_on_stops_the_start(
    kind: type, name: str, close: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(kind, name)
    with pytest.raises(AttributeError, match=name):
        close()


def test_with_none_of_them_the_program_serves_calls_of_every_kind(tmp_path: Path) -> None:
    for part in PARTS:
        metadata = tmp_path / f"{part.library.replace('-', '_')}-99.1.dist-info/METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {part.library}\nVersion: 99.1\n")
    path = f"{tmp_path}:{ROOT}:{ROOT / 'tests/harness'}"
    with running(tmp_path, MCP_APP="probe_server:mcp", PYTHONPATH=path) as program:
        program.wait_for()
        assert '"7"' in call(program, "add", a=3, b=4)
        assert "exit 0" in call(program, "asyncio_only", seconds=0.01)
        assert "left behind" in call(program, "fail_in_background")
        assert '"7"' in call(program, "add", a=3, b=4)
        told = re.findall(
            r" WARNING .* (\S+) is 99\.1; the gate was written for (\S+),", program.log
        )
        assert sorted(told) == [(part.library, part.release) for part in sorted(PARTS)]
        assert program.stop() == 0


def call(program: Program, tool: str, **arguments: object) -> str:
    params = {"name": tool, "arguments": arguments, "_meta": META}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {TOKEN}",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return httpx.post(program.endpoint, headers=headers, json=message, trust_env=False).text
