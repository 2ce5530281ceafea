"""The asyncio loop inside Trio: asyncio's own order and fairness, and nothing kept that is cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import sys
import time
import tomllib
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio_asyncio

from gatehouse import pinned
from gatehouse.hosting.asyncio_loop import MAX_UNSEARCHED_TIMERS, BatchLoop
from gatehouse.hosting.loops import aio_as_trio, open_loop
from tests.harness.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")
TRIO_ASYNCIO = pinned.LOOP_OF_TRIO_ASYNCIO.release

# sha256 of the modules of trio-asyncio that gatehouse/hosting/asyncio_loop.py overrides, or builds on.
RELIED_ON = {
    "_async.py": "461f1cad62bdea6175bdfdf8bb08f2b7ea151cf063792263adc57d98bb6fcbd5",
    "_base.py": "bf6f09ee77f77b579d96f8ff3106d51a0b62948e34aef74e944f777370d1c78f",
    "_loop.py": "733d4f85f8f82f7293c42693dba1e30bf8ca708b1850323df6b8e3e7b4f892fa",
}


def test_trio_asyncio_is_pinned_to_the_release_that_was_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [line for line in project["dependencies"] if line.startswith("trio-asyncio")]
    assert pin == f"trio-asyncio=={TRIO_ASYNCIO}"
    assert importlib.metadata.version("trio-asyncio") == TRIO_ASYNCIO


@pytest.mark.parametrize("module", RELIED_ON)
def test_what_is_overridden_in_trio_asyncio_is_what_was_read(module: str) -> None:
    source = Path(trio_asyncio.__file__).with_name(module).read_bytes()
    found = hashlib.sha256(source).hexdigest()
    assert found == RELIED_ON[module], (
        f"{module} is not the one that gatehouse/hosting/asyncio_loop.py was written against. Read what changed, "
        f"make the two agree, run this file, and put the new digest here: {found}"
    )


async def in_asyncio(function: Callable[[], Awaitable[T]]) -> T:
    with trio.fail_after(10):
        async with open_loop() as loop:
            assert type(loop) is BatchLoop
            return await aio_as_trio(function)()  # type: ignore[no-any-return]


async def test_callbacks_run_in_order_and_those_they_add_in_the_next_round() -> None:
    async def main() -> list[str]:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        seen: list[str] = []

        def second() -> None:
            seen.append("second")
            loop.call_soon(seen.append, "fourth")

        loop.call_soon(seen.append, "first")
        loop.call_soon(second)
        loop.call_soon(seen.append, "third").cancel()
        loop.call_soon(seen.append, "third")
        loop.call_later(0.02, done.set)
        loop.call_later(0.01, seen.append, "fifth")
        await done.wait()
        return seen

    assert await in_asyncio(main) == ["first", "second", "third", "fourth", "fifth"]


async def test_a_loop_that_never_rests_lets_trio_have_its_turns() -> None:
    turns = 0

    async def spin() -> None:
        async def busily() -> None:
            while turns < 50:
                await asyncio.sleep(0)

        await asyncio.gather(*(busily() for _ in range(20)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_asyncio, spin)
        while turns < 50:
            await trio.sleep(0.001)
            turns += 1


@pytest.fixture
def threads_that_meet_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    yield
    sys.setswitchinterval(before)


async def test_any_thread_may_call_what_asyncio_would_rather_it_did_not(
    threads_that_meet_often: None,
) -> None:
    """As with asyncio's own loop. Such a call must not leave the loop asleep for good."""

    async def main() -> int:
        loop, seen = asyncio.get_running_loop(), list[int]()

        def add() -> None:
            for n in range(1000):
                (loop.call_soon, partial(loop.call_later, 0))[n % 2](seen.append, n)

        with ThreadPoolExecutor(3) as pool:
            await asyncio.gather(*(loop.run_in_executor(pool, add) for _ in range(3)))
        await asyncio.sleep(0.01)
        return len(seen)

    assert await in_asyncio(main) == 3000


async def test_timers_threads_and_timeouts_keep_their_time() -> None:
    async def main() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.sleep(10)
        assert await asyncio.to_thread(lambda: 7) == 7
        await asyncio.gather(*(asyncio.sleep(0.1) for _ in range(50)))
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
        return time.monotonic() - began

    assert 0.2 <= await in_asyncio(main) < 2


@pytest.mark.parametrize("pause", [0, 0.0001], ids=["a loop that never rests", "one that waits"])
async def test_cancelled_timers_are_let_go_long_before_they_are_due(pause: float) -> None:
    kept: weakref.WeakSet[asyncio.TimerHandle] = weakref.WeakSet()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        for _ in range(5 * MAX_UNSEARCHED_TIMERS):
            timer = loop.call_later(3600, id, None)
            kept.add(timer)
            timer.cancel()
            await asyncio.sleep(pause)
        return len(kept)

    assert await in_asyncio(main) <= 2 * MAX_UNSEARCHED_TIMERS


async def test_a_delay_that_is_no_number_puts_nobody_elses_timers_into_disorder() -> None:
    async def main() -> list[float]:
        loop, seen = asyncio.get_running_loop(), list[float]()
        nan = float("nan")
        for delay in (0.03, nan, 0.02, nan, 0.01, nan, 0.04):
            loop.call_later(delay, seen.append, delay)
        await asyncio.sleep(0.06)
        return [delay for delay in seen if delay == delay]

    assert await in_asyncio(main) == [0.01, 0.02, 0.03, 0.04]


async def test_an_error_in_a_callback_is_told_and_ends_nothing() -> None:
    async def main() -> list[object]:
        loop, told = asyncio.get_running_loop(), list[object]()
        loop.set_exception_handler(lambda _, context: told.append(type(context["exception"])))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)
        return told

    assert await in_asyncio(main) == [ZeroDivisionError]


async def test_a_cancelled_trio_scope_ends_the_loop_and_its_tasks() -> None:
    ended = []

    async def main() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with trio.move_on_after(0.1):
        await in_asyncio(main)
    assert ended == [True]
