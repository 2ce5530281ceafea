"""Opens the asyncio loop in which a hosted server runs: `BatchLoop`, or trio-asyncio's own.

`BatchLoop` (`asyncio_loop`) is made for one release of trio-asyncio (`gatehouse/pinned.py`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import trio_asyncio
from trio_asyncio import aio_as_trio

from gatehouse import pinned
from gatehouse.hosting.contained import log_failed_callback
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

__all__ = ["aio_as_trio", "open_loop", "prepare"]

logger = logger_of("gate.upstream")


@cache
def prepare() -> type | None:
    """Decide which loop `open_loop` opens: BatchLoop, or None for trio-asyncio's.

    Call it before a server is imported: a server may keep asyncio's functions from then on.
    """
    if not pinned.LOOP_OF_TRIO_ASYNCIO.is_as_read(partial(logger.warning, "%s")):
        return None
    from gatehouse.hosting.asyncio_loop import BatchLoop

    pinned.lend_loop(BatchLoop)
    return BatchLoop


@asynccontextmanager
async def open_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """A loop for asyncio's tasks, in the current Trio task, for as long as the block lasts.

    Raises RuntimeError if trio-asyncio opens another than it should.
    """
    kind = prepare()
    async with trio_asyncio.open_loop() as loop:
        if kind is None:
            loop.set_exception_handler(lambda _, context: log_failed_callback(context))
        elif type(loop) is not kind:
            raise RuntimeError("trio-asyncio opens another loop than the gate's")
        yield loop
