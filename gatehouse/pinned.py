"""Names that other libraries keep private, and that the gate replaces for speed.

A part is replaced only in the release that was read, and only if its names are there. In another release the library's
own part serves, and a line of the log names the library and both releases. Importing this module changes nothing:
whoever needs a part calls for it, once, and hands in `warn`.

Safety rests on none of these. Names that it rests on are imported, or looked up before anything is served, by the
modules that use them: a missing name stops the start.
"""

from __future__ import annotations

import importlib.metadata
import pkgutil
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Warn = Callable[[str], object]


class Part(NamedTuple):
    """A part of a library that the gate has a faster one for."""

    library: str
    release: str
    names: tuple[str, ...]
    """Private names, as `module:name`, or `module:class.name`."""
    otherwise: str
    """The consequence if the library's own part serves."""

    def is_as_read(self, warn: Warn) -> bool:
        """True if the library is of that release and has these names; else `warn` is told."""
        release = release_of(self.library)
        missing = [name for name in self.names if not is_there(name)]
        if release == self.release and not missing:
            return True
        lacks = f", which lacks {', '.join(missing)}" if missing else ""
        warn(
            f"{self.library} is {release}{lacks}; the gate was written for {self.release}, so "
            f"{self.library}'s own part serves: {self.otherwise}"
        )
        return False


def release_of(library: str) -> str:
    """The release that is installed, as its metadata tell."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown release"


def is_there(name: str) -> bool:
    """True if `module:name` can be imported."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


THREADS_OF_TRIO = Part(
    "trio",
    "0.35.0",
    ("trio._core._thread_cache:set_os_thread_name",),
    "calls of tools that are not async take longer",
)


def leave_trio_threads_unnamed(warn: Warn) -> None:
    """Keep Trio from telling the kernel, for debuggers, what its threads are doing.

    It does so before and after each call. Other threads run meanwhile, and the two wait for each other again.
    """
    if THREADS_OF_TRIO.is_as_read(warn):
        _set(THREADS_OF_TRIO.names[0], None)


RUN_OF_TRIO = Part(
    "trio",
    "0.35.0",
    ("trio._core._run:GLOBAL_RUN_CONTEXT",),
    "a hosted server that runs Trio, or AnyIO on it, while it is imported, fails",
)


def run_of_trio(warn: Warn) -> dict[str, Any]:
    """All that Trio keeps of its run in this thread: while it is empty, another run can take place.

    Not for speed, but as little rests on it. Empty in another release.
    """
    return vars(pkgutil.resolve_name(RUN_OF_TRIO.names[0])) if RUN_OF_TRIO.is_as_read(warn) else {}


THREADS_OF_ANYIO = Part(
    "anyio",
    "4.16.0",
    ("anyio._backends._asyncio:_root_task",),
    "each call of a tool that is not async starts a thread",
)


def keep_anyio_threads(warn: Warn) -> None:
    """Let AnyIO keep its worker threads until the current asyncio task is over.

    AnyIO keeps its threads while the loop's root task lives. trio-asyncio has no root task, so AnyIO
    would use the request's.
    """
    if THREADS_OF_ANYIO.is_as_read(warn):
        import asyncio

        pkgutil.resolve_name(THREADS_OF_ANYIO.names[0]).set(asyncio.current_task())


RULES_OF_FASTMCP = Part(
    "fastmcp",
    "4.1.2",
    (
        "fastmcp.server.server:apply_session_transforms",
        "fastmcp.server.server:FastMCP._state_store",
        "fastmcp.server.context:_current_context",
    ),
    "each call asks twice which tools its caller has hidden, although nobody has hidden any",
)


def leave_unused_rules_unread(warn: Warn) -> None:
    """Keep FastMCP from looking for a caller's rules of visibility as long as its store of state does not exist.

    FastMCP makes the store when something is kept there for the first time, unless the server has its own.
    """
    if not RULES_OF_FASTMCP.is_as_read(warn):
        return
    apply, _, current = map(pkgutil.resolve_name, RULES_OF_FASTMCP.names)

    async def apply_if_used(components: Any) -> Any:
        context = current.get()
        if context is not None and getattr(context.fastmcp, "_state_storage", "unknown") is None:
            return components
        return await apply(components)

    _set(RULES_OF_FASTMCP.names[0], apply_if_used)


THREADS_OF_FASTMCP = Part(
    "fastmcp",
    "4.1.2",
    ("fastmcp.utilities.async_utils:run_sync_in_threadpool",),
    "on Trio a tool that is not async, and returns a coroutine, fails",
)


def let_trio_threads_return_coroutines(warn: Warn) -> None:
    """Let a tool that is not async return a coroutine, which FastMCP awaits: Trio's threads return none.

    Not for speed, but as little rests on it.
    """
    if not THREADS_OF_FASTMCP.is_as_read(warn):
        return
    run = pkgutil.resolve_name(THREADS_OF_FASTMCP.names[0])

    async def run_boxed(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        (result,) = await run(lambda: (function(*args),), **options)
        return result

    _set(THREADS_OF_FASTMCP.names[0], run_boxed)


_LOOP = "trio_asyncio._loop:"
_METHODS = (
    *("_main_loop_init", "_main_loop_exit", "_main_loop_one", "_queue_handle", "synchronize"),
    *("_add_callback_signalsafe", "_cancel_timers", "_handle_sig", "_add_io_handler", "_io_task"),
    *("_trio_io_cancel", "default_exception_handler", "stop"),
)
LOOP_OF_TRIO_ASYNCIO = Part(
    "trio-asyncio",
    "0.16.0",
    (
        f"{_LOOP}TrioEventLoop",
        *(f"{_LOOP}_orig_{part}_{what}" for part in ("loop", "policy") for what in ("get", "set")),
        *(f"{_LOOP}_orig_{name}" for name in ("run_get", "loop_new", "current_task")),
        f"{_LOOP}_original_policy",
        *(f"trio_asyncio._async:TrioEventLoop.{name}" for name in _METHODS),
        *("trio_asyncio._base:TrioAsyncioExit", "sniffio:thread_local"),
        *("trio_asyncio._handles:AsyncHandle", "trio_asyncio._handles:ScopedHandle"),
    ),
    "calls take longer, asyncio behaves as trio-asyncio has it, and a tool that stops the loop stops the server",
)
"""All that `hosting/asyncio_loop.py` overrides, and what `lend_loop` puts back."""


def lend_loop(loop: type) -> None:
    """Let trio-asyncio open this loop, which needs nothing of what trio-asyncio has changed in asyncio.

    trio-asyncio's functions would hand one of its own loops to any thread that makes a loop, and refuse a policy.
    `loop` tells the interpreter itself that it runs, which is all that asyncio's own functions need.
    """
    import asyncio
    from _asyncio import get_running_loop

    import trio_asyncio._loop as changed

    own: dict[str, Any] = {
        "_get_running_loop": changed._orig_run_get,  # noqa: SLF001
        "get_running_loop": get_running_loop,
        "get_event_loop": changed._orig_loop_get,  # noqa: SLF001
        "set_event_loop": changed._orig_loop_set,  # noqa: SLF001
        "new_event_loop": changed._orig_loop_new,  # noqa: SLF001
        "get_event_loop_policy": changed._orig_policy_get,  # noqa: SLF001
        "set_event_loop_policy": changed._orig_policy_set,  # noqa: SLF001
    }
    for name, function in own.items():
        setattr(asyncio, name, function)
        setattr(asyncio.events, name, function)
    asyncio.current_task = asyncio.tasks.current_task = changed._orig_current_task  # noqa: SLF001
    asyncio.set_event_loop_policy(changed._original_policy)  # noqa: SLF001
    _set(f"{_LOOP}TrioEventLoop", loop)


def _set(name: str, value: object) -> None:
    module, _, attribute = name.partition(":")
    setattr(pkgutil.resolve_name(module), attribute, value)
