"""Names that other libraries keep private: replaced in the release that was read, and done without in any other."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
import trio
import trio._core._thread_cache as trio_threads
import trio.lowlevel
from anyio._backends._asyncio import WorkerThread
from fastmcp.utilities import async_utils

from gatehouse import pinned
from gatehouse.hosting.escapes import close_nurseries, close_threads
from gatehouse.hosting.loops import aio_as_trio, open_loop
from gatehouse.pinned import (
    LOOP_OF_TRIO_ASYNCIO,
    RULES_OF_FASTMCP,
    RUN_OF_TRIO,
    THREADS_OF_ANYIO,
    THREADS_OF_FASTMCP,
    THREADS_OF_TRIO,
    Part,
)
from tests.harness.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = [
    *(LOOP_OF_TRIO_ASYNCIO, RULES_OF_FASTMCP, RUN_OF_TRIO),
    *(THREADS_OF_ANYIO, THREADS_OF_FASTMCP, THREADS_OF_TRIO),
]
IDS = [part.names[0] for part in PARTS]


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


async def test_a_function_in_a_thread_of_trios_may_return_a_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(async_utils, "run_sync_in_threadpool", anyio.to_thread.run_sync)
    pinned.let_trio_threads_return_coroutines(refuse)

    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return threading.get_ident()

    called = await async_utils.call_sync_fn_in_threadpool(answer)
    assert await called == threading.get_ident()
    assert await async_utils.call_sync_fn_in_threadpool(threading.get_ident) != await answer()
    with pytest.raises(ValueError, match="invalid literal"):
        await async_utils.call_sync_fn_in_threadpool(int, "x")


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
