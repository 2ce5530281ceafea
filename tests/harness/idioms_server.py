"""A FastMCP server that uses asyncio as servers do, an idiom at a time: `MCP_APP=idioms_server:mcp`.

Each function here is an idiom, and returns what a caller can see of it; it is to return the same wherever
the server runs. Those that are not `async` run in the thread of a synchronous tool. Started as a program,
`python idioms_server.py PORT`, it is FastMCP's own server on asyncio, without a gate.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import decimal
import functools
import gc
import inspect
import logging
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from asyncio import (
    create_task,
    current_task,
    get_event_loop,
    get_running_loop,
    sleep,
    to_thread,
    wait_for,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from fastmcp import FastMCP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECONDS = 20  # for a machine that is busy with all of these at once
IDIOMS: dict[str, Callable[[], Any]] = {}
seen_loop: asyncio.AbstractEventLoop | None = None


class Policy(asyncio.DefaultEventLoopPolicy):
    """As `uvloop.install()` sets one."""


# Idioms that servers use at import.

at_import: contextvars.ContextVar[str] = contextvars.ContextVar("at_import", default="lost")
at_import.set("kept")

decimal.getcontext().prec = 9
thread_local = threading.local()
thread_local.value = "kept"
database = sqlite3.connect(":memory:")
lock_of_import = asyncio.Lock()
queue_of_import: asyncio.Queue[int] = asyncio.Queue()


def outcome(function: Callable[[], Any]) -> str:
    """The result of a call, or its error."""
    try:
        return repr(function())
    except BaseException as error:  # noqa: BLE001 - this is what is compared
        return f"{type(error).__name__}: {error}"


def loop_at_import() -> str:
    loop = asyncio.get_event_loop()
    return repr(loop.run_until_complete(asyncio.sleep(0, "ran")))


loop_of_import = outcome(loop_at_import)
run_at_import = outcome(lambda: asyncio.run(asyncio.sleep(0, "ran")))
pool_of_import = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="pool")
loop_in_a_thread = asyncio.new_event_loop()
threading.Thread(target=loop_in_a_thread.run_forever, daemon=True).start()
other_loops_at_import = [
    outcome(asyncio.get_running_loop),
    outcome(lambda: anyio.run(anyio.sleep, 0)),
    outcome(lambda: anyio.run(anyio.sleep, 0, backend="trio")),
    outcome(lambda: asyncio.run(anyio.to_thread.run_sync(abs, -3))),
]
asyncio.set_event_loop_policy(Policy())

signal_at_import = outcome(lambda: signal.signal(signal.SIGWINCH, lambda *_: None))
mcp: FastMCP[None] = FastMCP("Idioms")


@mcp.tool
async def idiom(name: str = "") -> str:
    """The result of an idiom, or the names of all of them if none is given."""
    global seen_loop
    if not name:
        return " ".join(IDIOMS)
    try:
        seen_loop = asyncio.get_running_loop()
    except RuntimeError:
        seen_loop = None
    function = IDIOMS[name]
    try:
        with anyio.fail_after(SECONDS):
            if inspect.iscoroutinefunction(function):
                return repr(await function())
            return repr(await anyio.to_thread.run_sync(function))
    except BaseException as error:  # noqa: BLE001 - this is what is compared
        return f"{type(error).__name__}: {error}"


def as_idiom(function: Callable[[], Any]) -> Callable[[], Any]:
    IDIOMS[function.__name__] = function
    return function


def the_loop() -> asyncio.AbstractEventLoop:
    assert seen_loop is not None, "no running event loop"
    return seen_loop


# At import.


@as_idiom
async def context_variable_of_import() -> Any:
    return at_import.get(), str(decimal.Decimal(1) / 3)


@as_idiom
async def thread_local_of_import() -> Any:
    return thread_local.value


@as_idiom
async def database_of_import() -> Any:
    return database.execute("SELECT 1").fetchall()


@as_idiom
async def loop_of_the_import() -> Any:
    return loop_of_import, run_at_import


@as_idiom
async def other_loops_of_the_import() -> Any:
    return other_loops_at_import


@as_idiom
async def functions_kept_by_import() -> Any:
    loop = asyncio.get_running_loop()
    return (
        get_running_loop() is loop,
        get_event_loop() is loop,
        current_task() is asyncio.current_task(),
        await wait_for(to_thread(abs, -3), SECONDS),
        create_task(sleep(0)) in asyncio.all_tasks(),
    )


@as_idiom
async def signal_of_the_import() -> Any:
    return signal_at_import


@as_idiom
async def policy_of_import() -> Any:
    return type(asyncio.get_event_loop_policy()).__name__


@as_idiom
async def queue_and_lock_of_import() -> Any:
    async with lock_of_import:
        asyncio.get_running_loop().call_soon(queue_of_import.put_nowait, 3)
        return await queue_of_import.get()


# Which loop.


@as_idiom
async def event_loop_everywhere() -> Any:
    loop = asyncio.get_running_loop()
    found: list[bool] = []
    done = asyncio.Event()

    def callback() -> None:
        found.append(asyncio.get_event_loop() is loop)
        found.append(asyncio.get_running_loop() is loop)
        found.append(asyncio.get_event_loop_policy().get_event_loop() is loop)
        found.append(asyncio.current_task() is None)
        done.set()

    loop.call_soon(callback)
    loop.call_later(0.001, callback)
    await done.wait()
    await asyncio.sleep(0.01)
    return found, asyncio.get_event_loop() is loop, asyncio._get_running_loop() is loop  # noqa: SLF001


@as_idiom
async def what_it_is() -> Any:
    loop = asyncio.get_running_loop()
    return (
        loop.is_running(),
        loop.is_closed(),
        loop.get_debug(),
        isinstance(loop, asyncio.SelectorEventLoop),
        abs(loop.time() - time.monotonic()) < 0.1,
    )


@as_idiom
async def what_a_running_loop_refuses() -> Any:
    loop, never = asyncio.get_running_loop(), asyncio.sleep(0)
    inner = asyncio.new_event_loop()
    refused = [
        outcome(loop.close),
        outcome(loop.run_forever),
        outcome(lambda: loop.run_until_complete(never)),
        outcome(lambda: asyncio.run(never)),
        outcome(lambda: inner.run_until_complete(never)),
        outcome(lambda: asyncio.Runner().run(never)),
        outcome(lambda: loop.call_soon(None)),  # type: ignore[arg-type]
        outcome(lambda: loop.call_later(None, print)),  # type: ignore[arg-type]
        outcome(lambda: loop.call_at(None, print)),  # type: ignore[arg-type]
        outcome(lambda: loop.set_default_executor(None)),  # type: ignore[arg-type]
        outcome(lambda: loop.set_task_factory(1)),  # type: ignore[arg-type]
        outcome(lambda: loop.set_exception_handler(1)),  # type: ignore[arg-type]
        outcome(lambda: asyncio.set_event_loop_policy(1)),  # type: ignore[arg-type]
    ]
    never.close()
    inner.close()
    return refused


@as_idiom
def no_loop_in_a_thread() -> Any:
    name = threading.current_thread().name
    found = [outcome(asyncio.get_running_loop), outcome(asyncio.get_event_loop)]
    return [text.replace(name, "NAME") for text in found]


@as_idiom
async def setting_the_policy() -> Any:
    loop, before = asyncio.get_running_loop(), asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        process = await asyncio.create_subprocess_exec("true")
        return (
            type(asyncio.get_event_loop_policy()).__name__,
            asyncio.get_event_loop() is loop,
            await process.wait(),
            await asyncio.to_thread(asyncio.run, asyncio.sleep(0, "ran")),
        )
    finally:
        asyncio.set_event_loop_policy(before)


@as_idiom
async def another_loop_of_its_own() -> Any:
    loop = asyncio.new_event_loop()
    here = asyncio.get_running_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    far = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01, "far"), loop)
    near = await asyncio.wrap_future(far)
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    return near, type(loop).__name__, asyncio.get_running_loop() is here


# Callbacks and timers.


@as_idiom
async def order_of_callbacks() -> Any:
    loop, order, done = asyncio.get_running_loop(), list[str](), asyncio.Event()

    def second() -> None:
        order.append("second")
        loop.call_soon(order.append, "fifth")

    loop.call_soon(order.append, "first")
    loop.call_soon_threadsafe(second)
    loop.call_soon(order.append, "third")
    loop.call_soon(order.append, "never").cancel()
    loop.call_soon_threadsafe(order.append, "fourth")
    loop.call_soon(lambda: loop.call_soon(lambda: loop.call_soon(done.set)))
    await done.wait()
    return order


@as_idiom
async def kinds_of_delay() -> Any:
    loop, order = asyncio.get_running_loop(), list[str]()
    kept = [
        loop.call_later(float("inf"), order.append, "inf"),
        loop.call_later(1e300, order.append, "1e300"),
        loop.call_later(10**9, order.append, "10**9"),
        loop.call_later(0.06, order.append, "0.06"),
        loop.call_later(0.02, order.append, "0.02"),
        loop.call_later(0, order.append, "0"),
        loop.call_later(-1, order.append, "-1"),
        loop.call_at(0, order.append, "at 0"),
        loop.call_later(True, order.append, "True"),
    ]
    await asyncio.sleep(0.1)
    seen = list(order)
    for timer in kept:
        timer.cancel()
    return seen, kept[0].when(), kept[0].cancelled()


@as_idiom
async def a_timer_added_before_one_that_is_waited_for() -> Any:
    loop, began = asyncio.get_running_loop(), time.monotonic()
    sleeper = asyncio.create_task(asyncio.sleep(3))
    await asyncio.sleep(0.01)
    loop.call_later(0.02, sleeper.cancel)
    await asyncio.wait([sleeper])
    return sleeper.cancelled(), time.monotonic() - began < 1


@as_idiom
async def sleep_of_no_time() -> Any:
    order: list[str] = []

    async def count(name: str) -> None:
        for number in range(3):
            order.append(f"{name}{number}")
            await asyncio.sleep(0)

    await asyncio.gather(count("a"), count("b"), count("c"))
    return order


@as_idiom
async def errors_in_callbacks() -> Any:
    loop, told = asyncio.get_running_loop(), list[Any]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(
        lambda _, context: told.append((sorted(context), repr(context.get("exception"))))
    )
    try:
        loop.call_soon(lambda: 1 / 0)
        loop.call_later(0.001, int, "x")
        loop.call_exception_handler({"message": "by hand"})
        future = loop.create_future()
        future.set_exception(KeyError("unread"))
        del future
        gc.collect()
        await asyncio.sleep(0.02)
        return told, before
    finally:
        loop.set_exception_handler(before)


@as_idiom
async def debug_mode() -> Any:
    loop, lines = asyncio.get_running_loop(), list[str]()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Executing" in record.getMessage():
                lines.append(record.msg)

    handler, before = Handler(), loop.slow_callback_duration
    logging.getLogger("asyncio").addHandler(handler)
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    try:
        loop.call_soon(time.sleep, 0.03)
        await asyncio.sleep(0.01)
        wrong_thread = await asyncio.to_thread(outcome, lambda: loop.call_soon(print))
        coroutine = outcome(lambda: loop.call_soon(debug_mode))
        return set(lines), wrong_thread, coroutine.split(":")[0], before
    finally:
        loop.slow_callback_duration = before
        loop.set_debug(False)
        logging.getLogger("asyncio").removeHandler(handler)


# Tasks and futures.


@as_idiom
async def task_groups() -> Any:
    async def fail(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise ValueError("one")

    found: list[Any] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0.01, n)) for n in range(3)]
    found.append([task.result() for task in tasks])
    try:
        async with asyncio.TaskGroup() as group:
            long = group.create_task(asyncio.sleep(60))
            group.create_task(fail(0.01))
    except* ValueError as errors:
        found.append(repr(errors))
    return found, long.cancelled()


@as_idiom
async def timeouts() -> Any:
    found: list[Any] = []
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
    except TimeoutError as error:
        found.append(repr(error))
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.01)
    except TimeoutError as error:
        found.append(repr(error))
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + 5) as scope:
        await asyncio.sleep(0)
        scope.reschedule(None)
    found.append(scope.expired())
    found.append(await asyncio.wait_for(asyncio.sleep(0, "in time"), 5))
    task = asyncio.current_task()
    assert task
    found.append(task.cancelling())
    return found


@as_idiom
async def shield_and_cancel() -> Any:
    inner = asyncio.create_task(asyncio.sleep(0.03, "inner"))

    async def outer() -> Any:
        return await asyncio.shield(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0.01)
    told = task.cancel("because")
    try:
        await task
    except asyncio.CancelledError as error:
        return told, error.args, await inner, task.cancelled()


@as_idiom
async def gather_and_wait() -> Any:
    async def fail() -> None:
        raise KeyError("no")

    gathered = await asyncio.gather(asyncio.sleep(0.01, 1), fail(), return_exceptions=True)
    slow, fast = (asyncio.create_task(asyncio.sleep(s, s)) for s in (0.2, 0.01))
    done, pending = await asyncio.wait([slow, fast], return_when=asyncio.FIRST_COMPLETED)
    slow.cancel()
    each = [
        await one for one in asyncio.as_completed([asyncio.sleep(s, s) for s in (0.04, 0.01, 0.02)])
    ]
    return repr(gathered), [t.result() for t in done], len(pending), each


@as_idiom
async def synchronization() -> Any:
    order: list[Any] = []
    lock, condition = asyncio.Lock(), asyncio.Condition()
    semaphore, barrier = asyncio.BoundedSemaphore(2), asyncio.Barrier(3)
    queue: asyncio.PriorityQueue[int] = asyncio.PriorityQueue(2)

    async def use(name: int) -> None:
        async with semaphore, lock:
            order.append(name)
        order.append(await barrier.wait() in {0, 1, 2})
        await queue.put(-name)
        async with condition:
            condition.notify_all()

    async def consume() -> list[int]:
        async with condition:
            await condition.wait_for(queue.full)
        return [await queue.get() for _ in range(3)]

    consumer = asyncio.create_task(consume())
    await asyncio.gather(*(use(n) for n in range(3)))
    return order, sorted(await consumer), outcome(semaphore.release)


@as_idiom
async def tasks_and_their_names() -> Any:
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    task = asyncio.create_task(asyncio.sleep(0.01), name="named")
    found = (
        task in asyncio.all_tasks(),
        current in asyncio.all_tasks(loop),
        task.get_name(),
        current is asyncio.current_task(loop),
        task.get_loop() is loop,
        (await asyncio.gather(task, return_exceptions=True)),
        task in asyncio.all_tasks(),
    )
    future = asyncio.ensure_future(asyncio.sleep(0))
    await future
    return found, type(future).__name__, asyncio.isfuture(loop.create_future())


@as_idiom
async def task_factory() -> Any:
    loop, made = asyncio.get_running_loop(), list[str]()

    def factory(loop: Any, coro: Any, **options: Any) -> Any:
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        await asyncio.create_task(asyncio.sleep(0))
        context = contextvars.copy_context()
        await asyncio.create_task(asyncio.sleep(0), context=context)
    finally:
        loop.set_task_factory(before)
    return made, before


@as_idiom
async def futures() -> Any:
    loop, order = asyncio.get_running_loop(), list[Any]()
    future: asyncio.Future[int] = loop.create_future()
    future.add_done_callback(lambda f: order.append(f.result()))
    future.add_done_callback(order.append)
    future.remove_done_callback(order.append)
    loop.call_later(0.005, future.set_result, 7)
    value = await future
    await asyncio.sleep(0)
    return value, order, outcome(lambda: future.set_result(8)), future.cancel()


@as_idiom
async def contexts() -> Any:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("outer")
    loop, seen = asyncio.get_running_loop(), list[str]()

    async def child() -> str:
        before = variable.get()
        variable.set("child")
        return before

    other = contextvars.copy_context()
    other.run(variable.set, "other")
    loop.call_soon(lambda: seen.append(variable.get()))
    loop.call_soon(lambda: seen.append(variable.get()), context=other)
    loop.call_later(0.001, lambda: seen.append(variable.get()), context=other)
    loop.call_soon_threadsafe(lambda: seen.append(variable.get()), context=other)
    inherited = await asyncio.create_task(child())
    await asyncio.sleep(0.01)
    given = await asyncio.create_task(child(), context=other)
    in_thread = await asyncio.to_thread(variable.get)
    in_executor = await loop.run_in_executor(None, variable.get)
    return seen, inherited, given, in_thread, in_executor, variable.get(), other[variable]


@as_idiom
async def asynchronous_generators() -> Any:
    closed: list[str] = []

    async def generate(name: str) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    async for _ in generate("left by break"):
        break
    gc.collect()
    await asyncio.sleep(0.02)
    generator: Any = generate("closed")
    await anext(generator)
    await generator.aclose()
    hooks = sys.get_asyncgen_hooks()
    return closed, hooks.firstiter is not None, hooks.finalizer is not None


# Threads.


@as_idiom
async def executors() -> Any:
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="own") as pool:
        own = await loop.run_in_executor(pool, lambda: threading.current_thread().name)
    default = await loop.run_in_executor(None, lambda: threading.current_thread().name)
    failed = await asyncio.gather(loop.run_in_executor(None, int, "x"), return_exceptions=True)
    return own, default.split("_")[0], repr(failed), type(loop.run_in_executor(None, int)).__name__


@as_idiom
async def process_pool() -> Any:
    loop = asyncio.get_running_loop()
    with warnings.catch_warnings(), concurrent.futures.ProcessPoolExecutor(1) as pool:
        warnings.simplefilter("ignore")
        return await loop.run_in_executor(pool, abs, -3)


@as_idiom
async def process_pool_that_spawns() -> Any:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, os.path.basename, "a/b")


@as_idiom
async def pool_and_loop_of_import() -> Any:
    loop = asyncio.get_running_loop()
    by_pool = await loop.run_in_executor(pool_of_import, lambda: threading.current_thread().name)
    failed = await asyncio.gather(
        loop.run_in_executor(pool_of_import, int, "x"), return_exceptions=True
    )
    far = asyncio.run_coroutine_threadsafe(asyncio.to_thread(abs, -3), loop_in_a_thread)
    return by_pool[:4], repr(failed), await asyncio.wrap_future(far)


@as_idiom
def loop_in_a_thread_from_a_thread() -> Any:
    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        return await process.wait(), asyncio.get_running_loop() is loop_in_a_thread

    return asyncio.run_coroutine_threadsafe(main(), loop_in_a_thread).result(SECONDS)


@as_idiom
def pools_of_a_threads_own() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, "mine"))
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        return name, await loop.run_in_executor(pool_of_import, abs, -3)

    with concurrent.futures.ProcessPoolExecutor(1) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return asyncio.run(main()), pool.submit(abs, -3).result(SECONDS)


@as_idiom
async def a_default_executor_of_its_own() -> Any:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="mine"))
    name = await asyncio.to_thread(lambda: threading.current_thread().name)
    found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    loop.set_default_executor(
        concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="asyncio")
    )
    return name, found


@as_idiom
def executors_from_a_thread() -> Any:
    loop = the_loop()
    loop.set_default_executor(
        concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="asyncio")
    )
    done = threading.Event()
    future = loop.run_in_executor(None, lambda: 7)

    async def read() -> int:
        try:
            return await future
        finally:
            done.set()

    value = asyncio.run_coroutine_threadsafe(read(), loop).result(SECONDS)
    return value, done.is_set(), type(future).__name__


@as_idiom
def many_coroutines_from_many_threads() -> Any:
    loop = the_loop()

    async def double(n: int) -> int:
        await asyncio.sleep(0.001 * (n % 3))
        return 2 * n

    def ask(n: int) -> int:
        return sum(
            asyncio.run_coroutine_threadsafe(double(n), loop).result(SECONDS) for _ in range(5)
        )

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        many = list(pool.map(ask, range(10)))
    at_once = [asyncio.run_coroutine_threadsafe(double(n), loop) for n in range(200)]
    return many, sum(future.result(SECONDS) for future in at_once)


@as_idiom
def order_of_callbacks_from_a_thread() -> Any:
    loop, order, done = the_loop(), list[int](), threading.Event()
    for n in range(1000):
        handle = loop.call_soon_threadsafe(order.append, n)
        if n % 100 == 50:
            handle.cancel()
    loop.call_soon_threadsafe(done.set)
    return done.wait(SECONDS), order == sorted(order), len(order) > 900


@as_idiom
def tasks_from_a_thread_that_may_not() -> Any:
    """Not safe, says asyncio; it works there nevertheless, since the loop soon wakes by itself."""
    loop, done = the_loop(), list[threading.Event]()
    ways: list[Callable[[Callable[[], None]], Any]] = [
        loop.call_soon,
        functools.partial(loop.call_later, 0.01),
        lambda function: loop.create_task(asyncio.to_thread(function)),
        lambda function: loop.create_future().add_done_callback(lambda _: function()),
    ]
    for way in ways[:3]:
        time.sleep(0.03)  # the loop is waiting by now
        done.append(threading.Event())
        way(done[-1].set)
    future = loop.create_future()
    future.add_done_callback(lambda _: last.set())
    last = threading.Event()
    time.sleep(0.03)
    future.set_result(1)
    return [event.wait(SECONDS) for event in [*done, last]]


@as_idiom
def readers_from_a_thread_that_may_not() -> Any:
    loop, (here, there) = the_loop(), socket.socketpair()
    done, again = threading.Event(), threading.Event()
    with here, there:
        loop.add_reader(here, lambda: done.set() if here.recv(1) else None)
        there.send(b"x")
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result()
        first = done.wait(SECONDS)
        removed = loop.remove_reader(here)
        loop.add_reader(here, lambda: again.set() if here.recv(1) else None)
        there.send(b"x")
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result()
        return first, removed, again.wait(SECONDS), loop.remove_reader(here)


@as_idiom
def loops_of_a_threads_own() -> Any:
    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        return await process.wait(), type(asyncio.get_running_loop()).__name__

    with asyncio.Runner() as runner:
        by_runner = runner.run(main())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    by_hand = loop.run_until_complete(main()), asyncio.get_event_loop() is loop
    asyncio.set_event_loop(None)
    loop.close()
    return asyncio.run(main()), by_runner, by_hand, outcome(lambda: loop.call_soon(print))


@as_idiom
def anyio_portals() -> Any:
    from anyio.from_thread import run, run_sync, start_blocking_portal

    with start_blocking_portal() as portal:
        own = portal.call(anyio.sleep, 0)
    return own, run(anyio.sleep, 0), run_sync(abs, -3)


# Processes, signals.


@as_idiom
async def subprocesses() -> Any:
    pipe = asyncio.subprocess.PIPE
    cat = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    copied, _ = await cat.communicate(b"x" * 1_000_000)
    shell = await asyncio.create_subprocess_shell(
        "echo out; echo err >&2; exit 3", stdout=pipe, stderr=pipe
    )
    told = await shell.communicate()
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        await asyncio.wait_for(sleeper.wait(), 0.02)
    except TimeoutError:
        sleeper.terminate()
    ended = await sleeper.wait()
    try:
        await asyncio.create_subprocess_exec("/no/such/program")
    except FileNotFoundError as error:
        missing = error.filename
    many = [await asyncio.create_subprocess_exec("true") for _ in range(3)]
    codes = await asyncio.gather(*(one.wait() for one in many))
    return len(copied), told, shell.returncode, ended, missing, codes


@as_idiom
async def lines_of_a_subprocess() -> Any:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", "echo one; echo two", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    return [line async for line in process.stdout], await process.wait()


@as_idiom
async def more_subprocesses_than_threads() -> Any:
    many = [await asyncio.create_subprocess_exec("sleep", "60") for _ in range(41)]
    quick = await asyncio.create_subprocess_exec("true")
    code = await asyncio.wait_for(quick.wait(), 2)
    for one in many:
        one.kill()
    return code, {await one.wait() for one in many}


@as_idiom
def subprocess_of_a_thread() -> Any:
    done = subprocess.run(["true"], check=False).returncode
    return done, subprocess.call(["sh", "-c", "exit 3"])


@as_idiom
async def signal_handlers() -> Any:
    loop, got = asyncio.get_running_loop(), list[Any]()
    number = signal.SIGURG
    loop.add_signal_handler(number, got.append, "first")
    loop.add_signal_handler(number, got.append, "second")
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.02)
    removed = loop.remove_signal_handler(number), loop.remove_signal_handler(number)
    refused = [
        outcome(lambda: loop.add_signal_handler(signal.SIGKILL, print)),
        outcome(lambda: loop.add_signal_handler(12345, print)),
        outcome(lambda: loop.add_signal_handler("x", print)),  # type: ignore[arg-type]
        outcome(lambda: loop.remove_signal_handler(12345)),
        outcome(lambda: loop.add_signal_handler(number, signal_handlers)),
    ]
    in_thread = await asyncio.to_thread(outcome, lambda: loop.add_signal_handler(number, print))
    return got, removed, signal.getsignal(number), refused, in_thread.split(":")[0]


@as_idiom
async def signal_handlers_of_pythons_own() -> Any:
    got: list[int] = []
    before = signal.signal(signal.SIGURG, lambda number, _: got.append(number))
    os.kill(os.getpid(), signal.SIGURG)
    await anyio.sleep(0.01)
    signal.signal(signal.SIGURG, before)
    return got


# Sockets.


@as_idiom
async def streams() -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
        peer = writer.get_extra_info("peername")[0]
        serving = server.is_serving()
    refused = await asyncio.gather(
        asyncio.open_connection("127.0.0.1", port), return_exceptions=True
    )
    return got, peer, serving, server.is_serving(), type(refused[0]).__name__


@as_idiom
async def streams_at_a_path() -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(3))
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        async with await asyncio.start_unix_server(answer, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"abc")
            got = await reader.read()
            writer.close()
            return got


@as_idiom
async def much_through_a_stream() -> Any:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = 0
        while piece := await reader.read(65536):
            size += len(piece)
        writer.write(b"%d" % size)
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(64):
            writer.write(b"x" * 65536)
            await writer.drain()
        writer.write_eof()
        got = await reader.read()
        writer.close()
        return got


@as_idiom
async def datagrams() -> Any:
    loop, got = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data.upper(), addr)

    class Ask(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002
            got.set_result(data)

    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    client, _ = await loop.create_datagram_endpoint(
        Ask, remote_addr=server.get_extra_info("sockname")
    )
    client.sendto(b"hello")
    try:
        return await got
    finally:
        client.close()
        server.close()


@as_idiom
async def readers_and_writers() -> Any:
    loop, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    done, order = asyncio.Event(), list[Any]()
    here.setblocking(False)
    there.setblocking(False)

    def read() -> None:
        order.append(here.recv(1))
        if len(order) >= 4:
            done.set()

    def write() -> None:
        order.append("writable")
        loop.remove_writer(there)
        there.send(b"abc")

    loop.add_reader(here, order.append, "never")
    loop.add_reader(here, read)  # instead
    loop.add_writer(there.fileno(), write)
    await done.wait()
    removed = loop.remove_reader(here), loop.remove_reader(here), loop.remove_writer(there)
    loop.add_reader(here, read)
    loop.remove_reader(here)
    there.send(b"unread")
    await asyncio.sleep(0.01)
    with tempfile.TemporaryFile() as file:
        regular = outcome(lambda: loop.add_reader(file.fileno(), print))
    here.close()
    there.close()
    closed = outcome(lambda: loop.add_reader(here, print))
    return order, removed, regular, closed


@as_idiom
async def raw_sockets() -> Any:
    loop, listener = asyncio.get_running_loop(), socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    client = socket.socket()
    client.setblocking(False)
    accepting = asyncio.create_task(loop.sock_accept(listener))
    await loop.sock_connect(client, listener.getsockname())
    server, _ = await accepting
    with listener, client, server:
        await loop.sock_sendall(client, b"x" * 100_000)
        size, buffer = 0, bytearray(65536)
        while size < 100_000:
            size += await loop.sock_recv_into(server, buffer)
        await loop.sock_sendall(server, b"end")
        got = await loop.sock_recv(client, 10)
        waiting = asyncio.create_task(loop.sock_recv(client, 10))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        with tempfile.TemporaryFile() as file:
            file.write(b"y" * 50_000)
            file.flush()
            sent = await loop.sock_sendfile(client, file, 0)
        rest = 0
        while rest < 50_000:
            rest += len(await loop.sock_recv(server, 65536))
    return size, got, waiting.cancelled(), sent, rest


@as_idiom
async def file_through_a_transport() -> Any:
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(len(await reader.read()))
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with tempfile.TemporaryFile() as file:
            file.write(b"z" * 300_000)
            file.flush()
            sent = await asyncio.get_running_loop().sendfile(writer.transport, file)
        writer.close()
        return sent, await got


@as_idiom
async def pipes() -> Any:
    loop, (read_end, write_end) = asyncio.get_running_loop(), os.pipe()
    reader = asyncio.StreamReader()
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
    )
    writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(write_end, "wb"))
    writing.write(b"through")
    writing.close()
    got = await reader.read()
    reading.close()
    return got


@as_idiom
async def names() -> Any:
    loop = asyncio.get_running_loop()
    failed = await asyncio.gather(loop.getaddrinfo("name.invalid", 80), return_exceptions=True)
    return (
        await loop.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM),
        await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        type(failed[0]).__name__,
    )


if __name__ == "__main__":
    mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), path="/mcp")
