"""The doctor names each fault of a gate, and none of a sound one; no token is in its words."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gatehouse.doctor.examine import examine
from gatehouse.doctor.target import Target
from gatehouse.doctor.visit import Visit
from tests.harness.house import open_house
from tests.harness.program import TOKEN
from tests.harness.sick_gate import FAULTS, OTHER_TOKEN, SickGate
from tests.harness.wire import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.doctor.finding import Finding

IDLE_SECONDS = 1.0
AT_A_TIME = 22
"""Each visit waits more than it computes."""


async def findings_at(port: int, *tokens: str, idle: float = IDLE_SECONDS) -> list[Finding]:
    visit = Visit(Target("http", "127.0.0.1", port, "/mcp"), tokens, idle)
    return await examine(visit, lambda *_: None)


def words(findings: list[Finding]) -> set[str]:
    return {finding.word for finding in findings if finding.level}


@asynccontextmanager
async def standing(*faults: str) -> AsyncIterator[int]:
    """A gate with these faults: its port."""
    async with trio.open_nursery() as nursery:
        upstream = Upstream(SickGate(*faults))
        await nursery.start(upstream.serve)
        yield upstream.port
        nursery.cancel_scope.cancel()


async def test_each_fault_has_its_word_and_a_sound_gate_has_none() -> None:
    wrong: dict[str, set[str]] = {}
    places = trio.CapacityLimiter(AT_A_TIME)

    async def visit(fault: str, expected: set[str]) -> None:
        async with places, standing(fault) as port:
            seen = words(await findings_at(port, TOKEN, OTHER_TOKEN))
        if seen != expected:
            wrong[fault] = seen

    async with trio.open_nursery() as nursery:
        for fault, expected in {"none": set(), **FAULTS}.items():
            nursery.start_soon(visit, fault, expected)
    assert wrong == {}


async def test_our_gate_has_no_fault() -> None:
    async with open_house() as house:
        house.upstream.script = SickGate("no token is needed")
        findings = await findings_at(house.port, TOKEN)
    assert words(findings) == {"one-token"}, findings
