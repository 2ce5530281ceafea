"""Worker threads: kept from call to call, and without names for the kernel."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import trio
import trio._core._thread_cache as trio_threads

from gatehouse.hosting.asyncio_loop import aio_as_trio, open_loop
from gatehouse.hosting.worker_threads import keep_anyio_threads, leave_trio_threads_unnamed

if TYPE_CHECKING:
    import pytest


async def test_calls_of_different_requests_run_in_the_same_thread() -> None:
    async def serve() -> set[int]:
        keep_anyio_threads()
        return {await in_a_task_of_its_own() for _ in range(5)}

    async def in_a_task_of_its_own() -> int:
        import asyncio

        return await asyncio.create_task(anyio.to_thread.run_sync(threading.get_ident))

    async with open_loop():
        assert len(await aio_as_trio(serve)()) == 1


async def test_trio_does_not_rename_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    named = trio_threads.set_os_thread_name
    monkeypatch.setattr(trio_threads, "set_os_thread_name", named)  # put back afterwards
    before = await trio.to_thread.run_sync(name_for_the_kernel)
    leave_trio_threads_unnamed()
    after = await trio.to_thread.run_sync(name_for_the_kernel)
    assert "name_for_the_ke" in before
    assert "name_for_the_ke" not in after


def name_for_the_kernel() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text()
