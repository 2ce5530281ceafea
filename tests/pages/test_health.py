"""The state of the gate tells a server that starts from one that is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gatehouse.pages.health import Readiness, State
from gatehouse.upstream.reached import Reached


class Server:
    """An upstream that is there, or is not."""

    def __init__(self) -> None:
        self.there = False
        self.time = 0.0
        self.reached = Reached(lambda: self.time)

    async def is_reachable(self) -> bool:
        self.time += 1
        self.reached.note(succeeded=self.there)
        return self.there


async def test_the_state_says_since_when() -> None:
    server, in_flight = Server(), SimpleNamespace(draining=False)
    readiness = Readiness(cast("Any", server), cast("Any", in_flight), dict)
    assert await readiness.state() == State("starting")
    assert await readiness.state() == State("starting")
    server.there = True
    assert await readiness.state() == State("ready", 3.0)
    assert await readiness.state() == State("ready", 3.0)
    server.there = False
    assert await readiness.state() == State("unreachable", 5.0)
    assert await readiness.state() == State("unreachable", 5.0)
    in_flight.draining = True
    assert await readiness.state() == State("stopping")
