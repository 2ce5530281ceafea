"""Makes the worker threads cheaper in which tools run that are not `async`.

Two things that cost such a call up to a third of its time: AnyIO, on trio-asyncio's loop, starts a
thread for each call anew; and Trio has the kernel rename a thread before and after each call, for
debuggers, and other threads run meanwhile, which then have to wait for each other again. Both are
changed by private names; if these change one day, calls only cost more
(`tests/hosting/test_worker_threads.py` tells).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import trio._core._thread_cache as trio_threads


def keep_anyio_threads() -> None:
    """Let AnyIO keep its worker threads until the current asyncio task is over.

    AnyIO keeps its threads while the loop's root task lives. trio-asyncio has no root task, so AnyIO
    would use the request's.
    """
    with suppress(ImportError):
        from anyio._backends._asyncio import _root_task

        _root_task.set(asyncio.current_task())


def leave_trio_threads_unnamed() -> None:
    """Keep Trio from telling the kernel what its threads are doing."""
    setattr(trio_threads, "set_os_thread_name", None)  # noqa: B010 - there is no public way
