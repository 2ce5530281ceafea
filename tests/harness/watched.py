"""A real gate with the dashboard's first page, open to one person whom a cookie names, before a scripted upstream."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import trio

from gatehouse.http.paths import ExposedPaths
from gatehouse.identity.principal import GATE
from gatehouse.pages.dashboard.dashboard import Dashboard
from gatehouse.pages.dashboard.door import Door
from gatehouse.pages.dashboard.now import Now, Server, Traffic
from gatehouse.pages.dashboard.shell import Shell
from gatehouse.pages.health import alive
from gatehouse.pages.table import Pages
from gatehouse.records.recent import Recent
from gatehouse.records.redact import Redactor
from gatehouse.upstream.inventory import Inventory
from tests.harness.dashboard import People, person
from tests.harness.house import open_house
from tests.harness.program import TOKEN
from tests.harness.wire import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gatehouse.http.request import Request
    from gatehouse.pages.table import Page
    from gatehouse.signin.visitor import Visitor
    from tests.harness.house import House

COOKIE = b"Cookie: who=alice"
SECRET = "only-this-gate-knows-0b7d"
"""A secret that the redactor of this gate has been told of."""


class ByCookie(People):
    """Knows alice by her cookie."""

    async def who(self, request: Request) -> Visitor | None:
        self.asked += 1
        return person("alice") if request.value(b"cookie") == COOKIE[8:] else None


class Watched(NamedTuple):
    house: House
    recent: Recent
    people: ByCookie


@asynccontextmanager
async def watched(**settings: Any) -> AsyncIterator[Watched]:
    """The gate, until the block ends. For `settings` see `open_house`."""
    async with open_house(**settings) as house:
        side, recent, people = house.parts.upstream_side, Recent(), ByCookie()
        origin = f"http://127.0.0.1:{house.port}"
        shell = Shell([b"/dashboard"], name=lambda: "Kitchen", provider="Example", front="")
        door = Door(
            origin=origin, origins=house.gate.origins, visitors=people, notices=shell.notices
        )
        in_flight = house.gate.in_flight
        now = Now(
            recent,
            Server(
                readiness=house.parts.readiness,
                inventory=Inventory(side.upstream, side.outbound, side.farewells, GATE),
                name=lambda: "",
                hosted=False,
            ),
            Traffic(
                requests=lambda: len(in_flight),
                streams=lambda: in_flight.open_streams,
                sessions=lambda: None,
                connections=lambda: len(house.connections.open),
            ),
            Redactor([SECRET]),
        )
        dashboard = Dashboard(
            door,
            {b"/dashboard": now.page, b"/dashboard/now.json": now.news},
            {},
            open_views={},
            open_actions={},
            shell=shell,
        )
        table: dict[bytes, Page] = {b"/health": alive, **dict.fromkeys(dashboard.paths, dashboard)}
        house.gate.pages = Pages(table, ExposedPaths([]), judge_methods=dashboard.paths)
        house.gate.observers.append(recent)
        yield Watched(house, recent, people)


class Shown(NamedTuple):
    """The same in a thread of its own, for tests that drive a browser."""

    url: str
    recent: Recent

    def call(self, tool: str) -> None:
        """Let a client call a tool."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        got = httpx.post(f"{self.url}/mcp", json=message, headers=bearer, trust_env=False)
        assert got.status_code == 200


@contextmanager
def shown() -> Iterator[Shown]:
    """The gate, serving from another thread until the block ends."""
    ready: Queue[tuple[Shown, trio.lowlevel.TrioToken, trio.CancelScope]] = Queue()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with watched() as gate:
                gate.house.upstream.script = answer()
                told = Shown(gate.house.url, gate.recent)
                ready.put((told, trio.lowlevel.current_trio_token(), scope))
                await trio.sleep_forever()

    thread = Thread(target=trio.run, args=(serve,))
    thread.start()
    told, token, scope = ready.get(timeout=20)
    try:
        yield told
    finally:
        trio.from_thread.run_sync(scope.cancel, trio_token=token)
        thread.join()
