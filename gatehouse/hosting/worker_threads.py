"""Worker threads made cheaper: the ones in which tools run that are not `async`.

Two things that cost such a call up to a third of its time: AnyIO, on trio-asyncio's loop, starts a thread
for each call anew; and Trio has the kernel rename a thread before and after each call, for debuggers, and
other threads run meanwhile, which then have to wait for each other again. Both are changed by private
names; where these are others one day, calls only cost more (`tests/test_worker_threads.py` tells).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import trio._core._thread_cache as trio_threads


def keep_anyio_threads() -> None:
    """Let AnyIO keep its worker threads until the current asyncio task is over.

    It keeps them as long as the task that the loop was started for, which trio-asyncio's loop has not;
    then it takes the task of the request.
    """
    with suppress(ImportError):
        from anyio._backends._asyncio import _root_task

        _root_task.set(asyncio.current_task())


def leave_trio_threads_unnamed() -> None:
    """Have Trio not tell the kernel what its threads are doing."""
    setattr(trio_threads, "set_os_thread_name", None)  # noqa: B010 - there is no public way
