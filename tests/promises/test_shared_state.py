"""The state that several gates share, in a real Redis; and that a broken one opens nothing, to nobody."""

from __future__ import annotations

import logging
import signal
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import trio

from gatehouse.identity.rate import parse_rate
from gatehouse.policy.budgets import Budgets
from gatehouse.policy.seals import Seals
from gatehouse.policy.sessions import Sessions, shared_key
from gatehouse.policy.shared_state import (
    CALL_SECONDS,
    RETRY_SECONDS,
    SOCKET_SECONDS,
    UNAVAILABLE,
    SharedState,
)
from tests.harness.program import free_port
from tests.harness.redis_server import PASSWORD, SOON, RedisServer, need_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import redis
    from trio.testing import MockClock

    from tests.harness.redis_server import Share

RATE = parse_rate("1/min, burst 10")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that nobody breaks; each test has other keys."""
    need_redis()
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder, "--unixsocket", str(folder / "socket"))
    yield server
    server.kill()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every line of every library, in which no piece of the password may be."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    for spelling in (PASSWORD, quote(PASSWORD, safe="")):
        assert not any(spelling[at : at + 6] in caplog.text for at in range(len(spelling) - 5))


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in log.records if record.name == "gate.shared"]


async def let_in(limits: Budgets, key: str, tries: int = 20) -> int:
    return [await limits.retry_after(key, RATE) for _ in range(tries)].count(None)


# Budgets.


async def test_two_gates_share_one_budget(steady: RedisServer, share: Share) -> None:
    ours, theirs = Budgets(share(steady.url)), Budgets(share(steady.url))
    assert await let_in(ours, "two gates", 4) == 4
    assert await let_in(theirs, "two gates") == 6
    wait = await ours.retry_after("two gates", RATE)
    assert wait is not None
    assert 0 < wait <= 60.001
    assert await let_in(ours, "another key") == 10


async def test_a_new_rate_is_a_new_budget_for_all_gates(steady: RedisServer, share: Share) -> None:
    ours, theirs = Budgets(share(steady.url)), Budgets(share(steady.url))
    assert await let_in(ours, "new rate") == 10
    changed = parse_rate("1/min, burst 1")
    assert await theirs.retry_after("new rate", changed) is None
    assert await ours.retry_after("new rate", changed) is not None


async def test_a_killed_redis_leaves_each_gate_with_its_own_limits_and_one_warning(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    limits = Budgets(share(redis_server.url))
    assert await let_in(limits, "alice", 4) == 4
    redis_server.kill()
    assert await let_in(limits, "alice") == 6
    assert await let_in(limits, "bob") == 10
    (line,) = lines(log)
    assert line.startswith(
        f"shared state at redis://127.0.0.1:{redis_server.port}/0 is unavailable ("
    )
    assert "nobody listens there" in line


async def test_a_hanging_redis_is_waited_for_once_not_once_for_each_request(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    limits = Budgets(share(redis_server.url, retry_seconds=5))
    assert await let_in(limits, "alice", 1) == 1
    redis_server.send(signal.SIGSTOP)
    answers: list[float | None] = []

    async def request(key: str) -> None:
        answers.append(await limits.retry_after(key, RATE))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(request, "alice")
            nursery.start_soon(request, f"key {number}")
    assert trio.current_time() - began < CALL_SECONDS  # as long as one
    assert answers.count(None) == 9 + 50
    began = trio.current_time()
    for name in range(200):
        await limits.retry_after(f"{name}", RATE)
    assert trio.current_time() - began < SOCKET_SECONDS
    redis_server.send(signal.SIGCONT)
    assert len(lines(log)) == 1


async def test_once_it_is_back_budgets_are_shared_again_and_one_line_says_so(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    shared = share(redis_server.url)
    ours, theirs = Budgets(shared), Budgets(share(redis_server.url, retry_seconds=60))
    assert await let_in(ours, "alice", 1) == 1
    redis_server.send(signal.SIGSTOP)
    assert await let_in(ours, "alice", 1) == 1
    for _ in range(3):  # tried again, in vain, without another line, and no call waits for that
        await trio.sleep(SOON * 1.5)
        began = trio.current_time()
        assert await let_in(ours, "alice", 1) == 1
        assert trio.current_time() - began < SOCKET_SECONDS / 2
        await shared.catch_up()
    redis_server.send(signal.SIGCONT)
    await trio.sleep(SOON * 1.5)
    await shared.catch_up()
    assert await let_in(ours, "bob", 4) == 4
    assert await let_in(theirs, "bob") == 6
    assert len(lines(log)) == 2
    assert lines(log)[1] == f"shared state at redis://127.0.0.1:{redis_server.port}/0 is back"


async def test_a_redis_that_answers_but_takes_nothing_is_not_back(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    shared = share(redis_server.url)
    limits = Budgets(shared)
    for broken, mended in [
        ("REPLICAOF 127.0.0.1 9", "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ]:
        log.clear()
        with redis_server.client() as client:
            client.execute_command(*broken.split())  # type: ignore[no-untyped-call]
            for _ in range(3):
                assert await let_in(limits, "alice", 1) == 1
                await trio.sleep(SOON * 1.5)
                await shared.catch_up()
            (line,) = lines(log)
            assert "is unavailable (" in line
            client.execute_command(*mended.split())  # type: ignore[no-untyped-call]
        await trio.sleep(SOON * 1.5)
        await shared.catch_up()
        assert "is back" in lines(log)[1]


async def test_a_restart_of_redis_in_quiet_times_is_not_even_noticed(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    limits = Budgets(share(redis_server.url))
    assert await let_in(limits, "alice", 1) == 1
    redis_server.kill()
    redis_server.start()
    assert await let_in(limits, "alice", 1) == 1
    assert lines(log) == []


async def test_a_budget_from_a_clock_that_was_set_back_does_not_lock_a_key_out(
    steady: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    shared = share(steady.url)
    assert await let_in(Budgets(shared), "clock", 1) == 1
    with steady.client() as client:
        (key,) = client.scan_iter("mcp-gate:*:clock")
        client.set(key, 1e12)
    assert await shared.take("clock", "clock", RATE) is UNAVAILABLE
    assert await let_in(Budgets(shared), "clock") == 10


async def test_a_cancelled_caller_does_not_wait(redis_server: RedisServer, share: Share) -> None:
    limits = Budgets(share(redis_server.url))
    assert await let_in(limits, "alice", 1) == 1
    redis_server.send(signal.SIGSTOP)
    began = trio.current_time()
    with trio.move_on_after(0.05) as patience:
        await limits.retry_after("alice", RATE)
    assert patience.cancelled_caught
    assert trio.current_time() - began < SOCKET_SECONDS
    redis_server.send(signal.SIGCONT)


# Whatever stands at that address.


async def fake_redis(answer: bytes, *, task_status: trio.TaskStatus[int]) -> None:
    """Something that answers everything with `answer`, piece by piece, and is no Redis."""

    async def talk(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for asked in stream:
                for piece in answer.split(b"|") * max(1, asked.count(b"GET\r\n")):
                    await stream.send_all(piece)
                    await trio.sleep(0.1 if b"|" in answer else 0)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(talk, [listener])


@pytest.fixture
async def nobody() -> AsyncIterator[trio.Nursery]:
    """Where a fake runs."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"|".join([b"$40\r\n", *[b"x"] * 40]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"+OK\r\n",
        b":-1\r\n",
        b"*-1\r\n",
        b"*4\r\n:0\r\n$3\r\nabc\r\n$3\r\nabc\r\n$3\r\nabc\r\n",
        b"*4\r\n:1\r\n:0\r\n$3\r\nnan\r\n$3\r\nnan\r\n",
        b"*1000000000\r\n",
        b"$-99\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
        b"-MOVED 3999 127.0.0.1:1\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    ],
)
async def test_whatever_the_server_says_limits_hold_and_no_session_is_opened(
    nobody: trio.Nursery, share: Share, answer: bytes, log: pytest.LogCaptureFixture
) -> None:
    port = await nobody.start(fake_redis, answer)
    limits, sessions = (
        Budgets(share(f"redis://127.0.0.1:{port}")),
        Sessions(share(f"redis://127.0.0.1:{port}")),
    )
    began = trio.current_time()
    assert await let_in(limits, "alice", 12) == 10
    told = None if answer in {b"+OK\r\n", b"*-1\r\n"} else UNAVAILABLE
    assert await sessions.owner(b"unknown") == told
    assert await sessions.opened(b"ours", "alice")
    assert await sessions.owner(b"ours") == "alice"
    await sessions.ended(b"ours")
    assert trio.current_time() - began < 3 * CALL_SECONDS


async def test_with_nobody_there_or_the_wrong_password_limits_hold_and_the_line_says_what_to_do(
    steady: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    here = f"127.0.0.1:{steady.port}"
    for url, why in [
        (
            f"redis://127.0.0.1:{free_port()}",
            "nobody listens there: is it running, and is the port right?",
        ),
        (
            "redis://nowhere.invalid:6379",
            "its name is not found: is the name right, and does DNS answer?",
        ),
        (
            "redis://255.255.255.255:6379",
            "no way leads there: is the address right, and the network up?",
        ),
        (
            f"redis://:{PASSWORD[:4]}@{here}",
            "it refuses the user or the password of SHARED_STATE_URL, or wants them",
        ),
        (
            f"redis://{here}",
            "it refuses the user or the password of SHARED_STATE_URL, or wants them",
        ),
        (f"rediss://{here}", "it did not answer in time"),  # it waits for the rest of the greeting
        (
            f"rediss://{here}?ssl_ca_certs=/nowhere.pem",
            "there is no such socket, or no such file as ssl_ca_certs",
        ),
        (
            "unix:///nowhere/redis.sock",
            "there is no such socket, or no such file as ssl_ca_certs names",
        ),
    ]:
        log.clear()
        assert await let_in(Budgets(share(url)), "alice") == 10
        (line,) = lines(log)
        assert why in line
        assert "Error" not in line


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"-NOAUTH Authentication required.\r\n", "it refuses the user or the password"),
        (
            b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            "it refuses the user",
        ),
        (
            b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
            "its user may not do all",
        ),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "it is still loading its data"),
        (b"-READONLY You can't write against a read only replica.\r\n", "it is a replica"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "it has no memory left"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "it cannot save its data"),
        (b"-MOVED 3999 127.0.0.1:1\r\n", "it is one of a cluster"),
        (b"-ERR max number of clients reached\r\n", "it takes no more connections"),
        (b"-ERR unknown command\r\n", "it answers the gate's commands with errors"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is no Redis"),
    ],
)
async def test_what_the_server_refuses_is_told_in_words_that_say_what_to_do(
    nobody: trio.Nursery, share: Share, answer: bytes, why: str, log: pytest.LogCaptureFixture
) -> None:
    port = await nobody.start(fake_redis, answer)
    assert (
        await let_in(Budgets(share(f"redis://:{PASSWORD[:3]}@127.0.0.1:{port}")), "alice", 2) == 2
    )
    (line,) = lines(log)
    assert why in line
    assert "Error" not in line


async def test_valkey_urls_and_sockets_are_understood(steady: RedisServer, share: Share) -> None:
    password = quote(PASSWORD, safe="")
    ours = Budgets(share(steady.url.replace("redis://", "valkey://")))
    theirs = Budgets(share(f"unix://:{password}@{steady.folder}/socket?db=0"))
    assert await let_in(ours, "by other ways", 4) == 4
    assert await let_in(theirs, "by other ways") == 6


# The ledger.


async def test_a_session_that_one_gate_opened_is_known_to_the_other(
    steady: RedisServer, share: Share
) -> None:
    ours, theirs = Sessions(share(steady.url)), Sessions(share(steady.url))
    assert await theirs.owner(b"a session") is None
    assert await ours.opened(b"a session", "alice")
    assert await theirs.owner(b"a session") == "alice"
    assert theirs.known == 1
    await theirs.ended(b"a session")
    assert await theirs.owner(b"a session") is None
    assert await Sessions(share(steady.url)).owner(b"a session") is None


async def test_no_gate_binds_a_session_to_a_second_name(steady: RedisServer, share: Share) -> None:
    ours, theirs = Sessions(share(steady.url)), Sessions(share(steady.url))
    assert await ours.opened(b"contested", "alice")
    assert not await theirs.opened(b"contested", "mallory")
    assert theirs.known == 0
    assert await theirs.owner(b"contested") == "alice"
    assert await theirs.opened(b"contested", "alice")


async def test_the_id_of_a_session_is_not_stored(redis_server: RedisServer, share: Share) -> None:
    sessions = Sessions(share(redis_server.url))
    await sessions.opened(b"such an id", "alice")
    with redis_server.client() as client:
        (key,) = client.scan_iter()
        assert key.startswith(b"mcp-gate:sealed:")
        entry = client.get(key)
        assert isinstance(entry, bytes)
        assert entry.endswith(b" alice")
    for form in ("such an id", b"such an id".hex()):
        assert form not in key.decode()


async def test_with_redis_down_sessions_that_a_gate_knows_go_on_and_nobody_knows_of_others(
    redis_server: RedisServer, share: Share
) -> None:
    shared = [share(redis_server.url) for _ in range(2)]
    ours, theirs = [Sessions(one) for one in shared]
    assert await ours.opened(b"before", "alice")
    redis_server.kill()
    assert await ours.owner(b"before") == "alice"
    assert await theirs.owner(b"before") is UNAVAILABLE
    assert await ours.opened(b"during", "alice")
    assert not await ours.opened(b"during", "mallory")
    assert await ours.owner(b"during") == "alice"
    await ours.ended(b"before")
    assert await ours.owner(b"before") is None
    redis_server.start()
    await trio.sleep(SOON * 1.5)
    for one in shared:
        await one.catch_up()
    assert await ours.owner(b"during") == "alice"
    assert await theirs.owner(b"during") == "alice"


async def test_two_gates_that_bound_a_session_apart_settle_on_the_first_to_share_it(
    redis_server: RedisServer, share: Share
) -> None:
    shared = [share(redis_server.url) for _ in range(2)]
    ours, theirs = [Sessions(one) for one in shared]
    redis_server.kill()
    assert await ours.opened(b"contested", "alice")
    assert await theirs.opened(b"contested", "mallory")
    redis_server.start()
    await trio.sleep(SOON * 1.5)
    for one in shared:
        await one.catch_up()
    assert await ours.owner(b"contested") == "alice"
    assert await theirs.owner(b"contested") is None
    assert await theirs.owner(b"contested") == "alice"


async def test_of_two_names_at_once_one_gets_the_session_even_while_redis_hangs(
    redis_server: RedisServer, share: Share
) -> None:
    sessions = Sessions(share(redis_server.url))
    redis_server.send(signal.SIGSTOP)
    names: list[str] = []

    async def open_it(name: str) -> None:
        if await sessions.opened(b"contested", name):
            names.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it, "alice")
        nursery.start_soon(open_it, "mallory")
    assert [await sessions.owner(b"contested")] == names
    redis_server.send(signal.SIGCONT)


def seconds_left(client: redis.Redis, key: bytes) -> int:
    """After how many seconds Redis forgets the key by itself."""
    seconds = client.ttl(key)
    assert isinstance(seconds, int)
    return seconds


async def test_redis_is_told_again_now_and_then_of_a_session_in_use(
    steady: RedisServer, share: Share, mock_clock: MockClock
) -> None:
    sessions = Sessions(share(steady.url), idle_seconds=1000)
    await sessions.opened(b"in use", "alice")
    with steady.client() as client:
        (key,) = (key for key in client.scan_iter() if 990 < seconds_left(client, key) <= 1000)
        for seconds, told in [(0, False), (240, False), (20, True), (240, False), (20, True)]:
            client.expire(key, 5)
            mock_clock.jump(seconds)
            assert await sessions.owner(b"in use") == "alice"
            assert (seconds_left(client, key) > 5) == told
            with sessions.use(b"in use"):
                pass
        client.delete(key)
        mock_clock.jump(260)
        assert await sessions.owner(b"in use") == "alice"
        entry = client.get(key)
        assert isinstance(entry, bytes)
        assert entry.endswith(b" alice")


async def test_a_session_that_had_to_make_room_is_forgotten_by_all(
    redis_server: RedisServer, share: Share
) -> None:
    sessions = Sessions(share(redis_server.url), max_per_name=2)
    for number in range(20):
        assert await sessions.opened(b"%d" % number, "alice")
    with redis_server.client() as client:
        assert client.dbsize() == 2
    assert await sessions.owner(b"17") is None
    assert await sessions.owner(b"18") == "alice"


async def test_sessions_of_somebody_that_one_gate_ends_are_forgotten_by_all(
    steady: RedisServer, share: Share
) -> None:
    shared = [share(steady.url) for _ in range(2)]
    ours, theirs = [Sessions(one) for one in shared]
    for number in range(3):
        assert await ours.opened(b"of-bob-%d" % number, "oauth:bob")
    assert await ours.opened(b"of-carol", "oauth:carol")
    assert ours.end_all("oauth:bob") == 3
    assert await ours.owner(b"of-bob-0") is None  # at once, whatever the store still has
    await shared[0].catch_up()
    assert await theirs.owner(b"of-bob-0") is None
    assert await theirs.owner(b"of-carol") == "oauth:carol"


async def test_nobody_waits_for_redis_to_use_a_session_that_is_known(
    redis_server: RedisServer, share: Share
) -> None:
    sessions = Sessions(share(redis_server.url, retry_seconds=RETRY_SECONDS))
    await sessions.opened(b"known", "alice")
    redis_server.send(signal.SIGSTOP)
    began = trio.current_time()
    for _ in range(100):
        assert await sessions.owner(b"known") == "alice"
    assert trio.current_time() - began < SOCKET_SECONDS
    redis_server.send(signal.SIGCONT)


# Whoever can write to the store.


async def test_no_entry_without_a_seal_of_ours_gives_a_session_away(
    redis_server: RedisServer, share: Share, log: pytest.LogCaptureFixture
) -> None:
    ours = Sessions(share(redis_server.url))
    assert await ours.opened(b"of alice", "alice")
    assert await ours.opened(b"of mallory", "mallory")
    mine, hers = (f"mcp-gate:{shared_key(one)}" for one in (b"of mallory", b"of alice"))
    with redis_server.client() as client:
        sealed, stolen = client.get(mine), client.get(hers)
        assert isinstance(sealed, bytes)
        assert isinstance(stolen, bytes)
        for forged in [
            b"mallory",  # as the release before wrote it
            b"",
            b" mallory",
            b"\xff\xfe",
            sealed,
            sealed + b",",
            stolen.replace(b"alice", b"mallory"),
            b",".join([*[b"0" * 32] * 40, stolen.replace(b"alice", b"mallory")]),
            Seals([b"another token's digest"]).sealed(shared_key(b"of alice"), "mallory"),
        ]:
            client.set(hers, forged)
            theirs = Sessions(share(redis_server.url))
            assert await theirs.owner(b"of alice", "mallory") is None
            assert await ours.owner(b"of alice") == "alice"
            assert await theirs.opened(b"of alice", "alice")
            assert not await ours.opened(b"of alice", "mallory")
            assert await Sessions(share(redis_server.url)).owner(b"of alice") == "alice"
    told = [line for line in lines(log) if "no gate with these tokens has sealed" in line]
    assert len(told) == 9  # once for each of their gates


async def test_new_tokens_end_no_session_whichever_gate_hears_of_them_first(
    redis_server: RedisServer, share: Share
) -> None:
    shared = [share(redis_server.url) for _ in range(2)]
    ours, theirs = [Sessions(one) for one in shared]
    assert await ours.opened(b"before", "alice")
    shared[0].renew([b"a token's digest", b"a new one's"])
    assert await ours.opened(b"meanwhile", "alice")
    assert await theirs.opened(b"theirs", "alice")
    for session in (b"before", b"meanwhile"):
        assert await theirs.owner(session) == "alice"
    assert await ours.owner(b"theirs") == "alice"
    shared[1].renew([b"a token's digest", b"a new one's"])
    for one in shared:
        await one.catch_up()
    late = SharedState(redis_server.url, Seals([b"a new one's", b"a token's digest"]))
    for session in (b"before", b"meanwhile", b"theirs"):
        assert await Sessions(late).owner(session) == "alice"
    late.close()
