"""Real clients, of people who paste the URL and no token: they sign in at the gate itself, without a human, and stay signed
in while gates end and begin, tokens expire, and two gates share one address.
"""

from __future__ import annotations

from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.clients.app_clients import RealClient, real_clients
from tests.clients.app_gates import AppGates, app_gates
from tests.clients.node import node_programs
from tests.clients.signing_in import (
    SECONDS,
    by_fastmcp,
    by_inspector,
    by_mcp_remote,
    by_sdk,
    by_supergateway,
    by_typescript,
    programs,
    run,
    together,
)
from tests.harness.identity.app import App, aside
from tests.harness.identity.app_person import AppPerson
from tests.harness.identity.openid_provider import OpenIDProvider, openid_provider
from tests.harness.only_ci import IN_CI, only_in_ci
from tests.harness.program import TOKEN
from tests.harness.redis_server import RedisServer, need_redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

WRONG = "mcpgate_" + "Qz8vR2mLx5WnB7jYc4HdK1uGp6TeSa9f" + "Q" * 11
"""In the form of our own tokens."""

QUARTER_HOUR = 900.0

KEEPS_NO_TOKENS = {"Inspector"}
"""Clients that sign in at each start here: the Inspector keeps tokens in the keyring of a desktop, and there is none."""

KEEPS_NO_TIME = KEEPS_NO_TOKENS | {"Python SDK"}
"""Those that do not know at the next start, either, when their tokens end."""

SIGNS_IN_AT_401 = KEEPS_NO_TIME | {"fastmcp"}
"""Those, too, that sign in again when a token is refused, and do not ask for another one first."""

pytestmark = pytest.mark.filterwarnings("ignore:Using in-memory token storage")  # by FastMCP


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIDProvider]:
    with openid_provider() as server:
        yield server


@pytest.fixture
def gates(provider: OpenIDProvider, tmp_path: Path) -> Iterator[AppGates]:
    """Gates, each before a probe server of its own; none has begun."""
    with app_gates(tmp_path, provider) as gates:
        yield gates


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[dict[str, RealClient]]:
    """By default those in Python, with CI those for Node, too."""
    with real_clients(tmp_path, node_programs() if IN_CI else None) as clients:
        yield clients


async def started(clients: dict[str, RealClient], url: str) -> dict[str, Any]:
    """The results of one start of each client."""
    starts: dict[str, Callable[[], Awaitable[Any]]] = {
        name: lambda client=client: client.start(url)  # type: ignore[misc]
        for name, client in clients.items()
    }
    return await together(starts)


def visits(clients: dict[str, RealClient]) -> dict[str, int]:
    """How often each client has opened its browser."""
    return {name: client.home.visits for name, client in clients.items()}


def visits_after_two_starts(clients: dict[str, RealClient], again: set[str]) -> dict[str, int]:
    """The visits to expect of clients, if these sign in at both starts."""
    return {name: 1 + (name in again) for name in clients}


def each(clients: dict[str, RealClient], value: int) -> dict[str, int]:
    return dict.fromkeys(clients, value)


async def test_clients_sign_in_once_and_are_let_in_at_every_start(
    gates: AppGates, clients: dict[str, RealClient]
) -> None:
    await aside(gates.start)
    assert await started(clients, gates.url) == each(clients, 5)
    assert visits(clients) == each(clients, 1)
    assert await started(clients, gates.url) == each(clients, 5)
    assert visits(clients) == visits_after_two_starts(clients, KEEPS_NO_TOKENS)
    assert {client.home.questions for client in clients.values()} == {1}
    gates.all[0].wait_for_log(r"oauth:alice@example.com .*tools/call add")


async def test_clients_whose_apps_a_person_has_revoked_ask_again(
    gates: AppGates, clients: dict[str, RealClient]
) -> None:
    await aside(gates.start)
    assert await started(clients, gates.url) == each(clients, 5)
    await aside(clients["fastmcp"].home.end_apps, gates.url.removesuffix("/mcp"))
    assert await started(clients, gates.url) == each(clients, 5)
    assert visits(clients) == each(clients, 2)
    assert {client.home.questions for client in clients.values()} == {2}


@only_in_ci
async def test_clients_stay_signed_in_though_gates_end_and_begin_at_every_step(
    gates: AppGates, clients: dict[str, RealClient]
) -> None:
    """The gate begins anew when the clients have registered, when they have codes, and when their tokens are over."""
    await aside(gates.start)
    registered, decided = (Barrier(len(clients), gates.restart, SECONDS) for _ in range(2))
    for client in clients.values():
        client.home.before, client.home.after = registered.wait, decided.wait
    assert await started(clients, gates.url) == each(clients, 5)
    assert visits(clients) == each(clients, 1)
    for client in clients.values():
        client.home.before = client.home.after = lambda: None
    await aside(gates.restart, later=2 * QUARTER_HOUR)
    assert await started(clients, gates.url) == each(clients, 5)
    assert visits(clients) == visits_after_two_starts(clients, SIGNS_IN_AT_401)
    assert {client.home.questions for client in clients.values()} == {1}


@only_in_ci
async def test_clients_renew_tokens_that_expire(
    gates: AppGates, clients: dict[str, RealClient]
) -> None:
    await aside(gates.start, access_seconds=2.0)
    assert await started(clients, gates.url) == each(clients, 5)
    ends = trio.current_time() + 2.5
    await aside(gates.restart, access_seconds=2.0)
    await trio.sleep_until(ends)
    assert await started(clients, gates.url) == each(clients, 5)
    assert "POST /token 200" in await aside(gates.asked)
    assert visits(clients) == visits_after_two_starts(clients, KEEPS_NO_TIME)


@only_in_ci
async def test_of_two_gates_with_one_redis_each_knows_what_the_other_did(
    provider: OpenIDProvider, tmp_path: Path
) -> None:
    need_redis()
    with ExitStack() as stack:
        redis = RedisServer(tmp_path)
        stack.callback(redis.kill)
        gates = stack.enter_context(app_gates(tmp_path, provider, SHARED_STATE_URL=redis.url))
        for _ in range(2):
            await aside(gates.start)
        app, person = stack.enter_context(App(gates.url)), stack.enter_context(AppPerson())
        await aside(app.sign_in, person)
        for _ in range(4):  # two at each gate
            old = app.tokens["refresh_token"]
            answer = await aside(app.refresh)
            assert answer.status_code == 200, answer.text
            assert app.tokens["refresh_token"] != old
        assert [await aside(app.add) for _ in gates.all] == [5, 5]
        for gate in gates.all:
            assert (await aside(gates.log_of, gate)).count("POST /token 200") >= 2
        assert (await aside(app.revoke)).status_code == 200
        with trio.fail_after(5):
            while (await aside(statuses_of, app)) != {401}:
                await trio.sleep(0.1)
        for _ in gates.all:
            answer = await aside(app.refresh)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def statuses_of(app: App) -> set[int]:
    """The statuses that each of two gates has for the app."""
    return {app.ask().status_code for _ in range(2)}


async def test_static_tokens_lead_no_client_to_the_gates_own_sign_in(
    gates: AppGates, tmp_path: Path
) -> None:
    await aside(gates.start)
    good = await together(holders_of(TOKEN, gates.url, tmp_path / "good"))
    assert good == dict.fromkeys(good, 5)
    assert signing_in(await aside(gates.asked)) == set()
    bad = await together(holders_of(WRONG, gates.url, tmp_path / "bad"))
    assert {name for name in bad if bad[name] == good[name]} == set()
    # Clients on the TypeScript SDK show their token there; what they show of the answer says that it is the token.
    assert signing_in(await aside(gates.asked)) == ({"POST /register 404"} if IN_CI else set())
    assert all("remove the static token" in str(bad[name]) for name in bad if name in SHOW_ANSWER)
    assert browsers_opened_in(tmp_path) == []


SHOW_ANSWER = {"TypeScript SDK", "mcp-remote"}
"""Clients that show the answer to their attempt to register."""


def signing_in(asked: set[str]) -> set[str]:
    """Those requests that somebody makes who signs in, or is let in."""
    paths = ("/register", "/authorize", "/token", "/revoke", "/dashboard")
    return {kind for kind in asked if kind.split()[1].startswith(paths)}


def holders_of(token: str, url: str, folder: Path) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Clients with that static token in their configuration."""
    folder.mkdir()
    clients: dict[str, Callable[[], Awaitable[Any]]] = {
        "fastmcp": lambda: run(by_fastmcp(url, bearer=token)),
        "Python SDK": lambda: run(by_sdk(url, bearer=token)),
    }
    if not IN_CI:
        return clients
    header = ("--header", f"Authorization: Bearer {token}")
    node = {name: programs(node_programs(), folder / name) for name in ("remote", "cli", "gateway")}

    async def typescript() -> Any:
        told = await by_typescript(url, folder, era="legacy", bearer=token)
        return int(told["text"]) if "text" in told else told

    return clients | {
        "TypeScript SDK": typescript,
        "mcp-remote": lambda: by_mcp_remote(node["remote"], url, *header),
        "Inspector": lambda: by_inspector(node["cli"], url, *header),
        "supergateway": lambda: by_supergateway(node["gateway"], f"{url}?key={token}"),
    }


def browsers_opened_in(folder: Path) -> list[Path]:
    """The files in which browsers of clients below the folder tell that they were opened."""
    return list(folder.rglob("opened-in-browser.txt"))
