"""Bodies under way: a bound for each name and for all together, an end for those that stop, and no leak."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.downstream.bodies import MAX_LARGEST_BODIES, SMALL_BYTES
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of
from tests.harness.house import House, open_house
from tests.harness.levels import connected, steady_house
from tests.harness.program import ROOT, TOKEN
from tests.harness.uploads import FRAMINGS, last, piece, reading, refusal, upload_head

if TYPE_CHECKING:
    from tests.harness.wire import Head, Peer

LIMIT = 2 * SMALL_BYTES
TOGETHER = MAX_LARGEST_BODIES * LIMIT


async def stopped(house: House, nursery: trio.Nursery, framing: str, count: int) -> None:
    """Send `count` bodies nearly to their end, and stop."""

    async def one(*, task_status: trio.TaskStatus[None]) -> None:
        async with connected(house) as peer:
            await peer.send(upload_head(framing, LIMIT) + piece(framing, bytes(LIMIT - 1)))
            task_status.started()
            await trio.sleep_forever()

    for _ in range(count):
        await nursery.start(one)
    with trio.fail_after(5):
        while house.gate.bodies.under_way < count * (LIMIT - 1):
            await trio.sleep(0.01)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_bodies_over_the_bound_are_refused_and_small_ones_pass_all_the_same(
    caplog: pytest.LogCaptureFixture, framing: str
) -> None:
    async with steady_house(caplog, max_body_bytes=LIMIT) as house:
        house.upstream.script = reading
        async with trio.open_nursery() as nursery:
            await stopped(house, nursery, framing, MAX_LARGEST_BODIES)
            for known in FRAMINGS:
                async with connected(house) as peer:
                    await peer.send(upload_head(known, LIMIT))
                    if known == "chunked":
                        await peer.send(piece(known, bytes(LIMIT)))
                    head = await peer.head()
                    assert (head.status, head.get(b"Retry-After")) == (503, b"5")
                    assert json.loads(await peer.body(head))["error"]["code"] == -32014
            small = b"x" * SMALL_BYTES
            assert (await house.request(method=b"POST", body=small))[0].status == 200
            assert house.gate.bodies.under_way <= TOGETHER
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            while house.gate.bodies.under_way:
                await trio.sleep(0.01)
        assert "(refused: bodies)" in caplog.text


async def test_one_name_leaves_room_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    value = "mcpgate_" + "b" * 40
    tokens = [Token("bob", (TokenValue(digest_of(value)),))]
    async with steady_house(caplog, max_body_bytes=LIMIT, tokens=tokens) as house:
        house.upstream.script = reading
        async with trio.open_nursery() as nursery:
            await stopped(house, nursery, "Content-Length", MAX_LARGEST_BODIES // 2)
            body = b"x" * LIMIT
            assert (await house.request(method=b"POST", body=body))[0].status == 503
            mine = b"Authorization: Bearer " + value.encode()
            request = house.raw(b"/mcp", mine, method=b"POST", body=body, token=False)
            async with connected(house) as peer:
                await peer.send(request)
                assert (await peer.head()).status == 200
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_body_that_stops_is_ended_after_the_silence_whatever_its_size(
    caplog: pytest.LogCaptureFixture, framing: str
) -> None:
    async with steady_house(caplog, body_seconds=0.4) as house:
        house.upstream.script = reading
        async with connected(house) as peer:
            await peer.send(upload_head(framing, 2_000_000) + piece(framing, bytes(1_900_000)))
            began = trio.current_time()
            await refusal(peer, 408)
            assert 0.3 < trio.current_time() - began < 2.5  # the refusal lingers for a second


async def test_however_exchanges_end_no_room_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(7)  # noqa: S311 - to be the same each time

    async def script(peer: Peer, head: Head) -> None:
        if dice.random() < 0.3:
            raise EOFError
        await reading(peer, head)

    async def visit(house: House) -> None:
        with trio.move_on_after(dice.random() * 0.2), suppress(trio.BrokenResourceError):
            framing = dice.choice(FRAMINGS)
            async with connected(house) as peer:
                await peer.send(upload_head(framing, LIMIT))
                await peer.send(piece(framing, bytes(dice.randint(1, LIMIT))) + last(framing))
                await trio.sleep(dice.random() * 0.2)
                if dice.random() < 0.5:
                    await peer.reset()

    async with open_house(max_body_bytes=LIMIT, body_seconds=0.3) as house:
        for _ in range(3):
            house.upstream.script = script
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(visit, house)
            for exchange in list(house.gate.in_flight)[::2]:
                exchange.leaving.cancel()
        with trio.fail_after(5):
            while len(house.gate.in_flight):
                await trio.sleep(0.01)
        assert house.gate.bodies.under_way == 0
    assert TOKEN not in caplog.text


LARGE = """
from pathlib import Path
from gatehouse.process.memory import settle_memory

settle_memory()
held, large = [bytearray(20_000_000)], []
held.clear()  # the C library learns from this that such pieces come again
for _ in range(40):
    large.append(bytearray(b"x") * 3_000_000)
    held.append(bytearray(2000))
large.clear()
(line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in one]
print(line.split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_memory_of_large_pieces_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", LARGE]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 60_000  # kilobytes
