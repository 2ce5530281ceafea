"""Keys as they are kept: when they are fetched, what replaces them, and who waits."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from gatehouse.http.asked import AskError
from gatehouse.identity.keys import (
    ASK_SECONDS,
    FETCH_SECONDS,
    MAX_REFRESH_SECONDS,
    MIN_REFRESH_SECONDS,
    NO_KEYS_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    WAIT_SECONDS,
    FetchedKeys,
    Keys,
)
from tests.harness.jwts import Signer, jwks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

NOON = 1_700_000_000.0
"""The Unix time at which each test begins."""

STALE_SECONDS = 86_400.0

ONE, TWO = Signer(kid="one"), Signer(kid="two", name="new")


class Source:
    """Brings a document, an error, or nothing for a long time, and notes when it was asked."""

    def __init__(self, *signers: Signer) -> None:
        self.answer: object = jwks(*signers)
        self.max_age: float | None = None
        self.takes = 0.0
        self.asked: list[float] = []
        self.changes = 0

    async def fetch(self) -> FetchedKeys:
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        if isinstance(self.answer, Exception):
            raise self.answer
        return FetchedKeys(self.answer, self.max_age)  # type: ignore[arg-type]

    def changed(self) -> None:
        self.changes += 1


@asynccontextmanager
async def kept(source: Source, stale_seconds: float = STALE_SECONDS) -> AsyncIterator[Keys]:
    """Keys that are kept until the end of the block, once a fetch has been tried."""
    keys = Keys(
        source.fetch,
        stale_seconds=stale_seconds,
        on_change=source.changed,
        name="the server",
        clock=lambda: NOON + trio.current_time(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.keep)
        await wait_all_tasks_blocked()
        yield keys
        nursery.cancel_scope.cancel()


def finds(keys: Keys, signer: Signer) -> bool:
    return bool(keys.fitting(signer.kid, signer.algorithm))


async def seconds_of(keys: Keys, kid: str) -> float:
    """How long a request with a token of this kid waits."""
    began = trio.current_time()
    await keys.look_for(kid, "ES256")
    return trio.current_time() - began


async def test_keys_are_fetched_at_once_and_again_in_time(autojump_clock: MockClock) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        assert finds(keys, ONE)
        assert keys.holds(ONE.key.thumbprint())
        assert keys.good_until == NOON + STALE_SECONDS
        await trio.sleep(REFRESH_SECONDS + 1)
        assert source.asked == [0, REFRESH_SECONDS]
        assert keys.age == 1
        assert source.changes == 1


@pytest.mark.parametrize(
    ("max_age", "pause"),
    [
        (0.0, MIN_REFRESH_SECONDS),
        (-7.0, MIN_REFRESH_SECONDS),
        (90.0, 90.0),
        (1e9, MAX_REFRESH_SECONDS),
        (math.inf, MAX_REFRESH_SECONDS),
        (math.nan, MIN_REFRESH_SECONDS),
    ],
)
async def test_an_answer_may_be_kept_as_long_as_it_says_within_bounds(
    max_age: float, pause: float, autojump_clock: MockClock
) -> None:
    source = Source(ONE)
    source.max_age = max_age
    async with kept(source):
        await trio.sleep(MAX_REFRESH_SECONDS + 1)
        assert source.asked[1] == pause


async def test_a_good_answer_replaces_all_keys_at_once(autojump_clock: MockClock) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer = jwks(TWO)
        await trio.sleep(REFRESH_SECONDS + 1)
        assert finds(keys, TWO)
        assert not finds(keys, ONE)
        assert not keys.holds(ONE.key.thumbprint())
        assert source.changes == 2
        source.answer = {"keys": [{**TWO.jwk, "alg": "ES256", "x5t": "new"}]}
        await trio.sleep(REFRESH_SECONDS)
        assert source.changes == 2


WORSE: tuple[Any, ...] = (
    AskError("the server answered with 500"),
    ValueError("eyJ secret"),
    ExceptionGroup("both", [OSError(), KeyError()]),
    {},
    {"keys": []},
    {"keys": {"one": 1}},
    {"keys": [None, {"kty": "oct", "k": "c2VjcmV0"}]},
    {"error": "down"},
    None,
    [],
    "text",
)


@pytest.mark.parametrize("answer", WORSE)
async def test_a_worse_answer_replaces_nothing_and_is_told_once_until_it_is_over(
    answer: object, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        caplog.clear()
        good, source.answer = source.answer, answer
        await trio.sleep(REFRESH_SECONDS + 3 * RETRY_SECONDS + 1)
        assert finds(keys, ONE)
        assert source.asked == [0, *(REFRESH_SECONDS + RETRY_SECONDS * n for n in range(4))]
        told = [line for line in caplog.messages if "cannot be fetched" in line]
        assert len(told) == 1
        assert "secret" not in caplog.text
        source.answer = good
        await trio.sleep(RETRY_SECONDS)
        assert "can be fetched again" in caplog.messages[-1]
        assert source.changes == 1


async def test_a_server_that_is_back_is_noticed_within_half_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for down, takes in ((AskError("nobody listens there"), 0.0), (jwks(ONE), math.inf)):
        source = Source(ONE)
        source.answer, source.takes = down, takes
        async with kept(source) as keys:
            assert keys.age == math.inf
            for _ in range(61):
                await trio.sleep(1)
                assert not finds(keys, ONE)
            source.answer, source.takes = jwks(ONE), 0.1
            await trio.sleep(29)
            assert finds(keys, ONE)
    assert "nobody listens there" in caplog.text
    assert f"no answer came within {FETCH_SECONDS:g} s" in caplog.text


async def test_keys_serve_until_they_are_too_old(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer = AskError("down")
        await trio.sleep(STALE_SECONDS - 1)
        assert finds(keys, ONE)
        assert keys.are_good
        await trio.sleep(RETRY_SECONDS + 1)
        assert not finds(keys, ONE)
        assert not keys.has_kid("one")
        assert keys.retry_after("two", NOON, None) == NO_KEYS_SECONDS
        told = [line for line in caplog.messages if "cannot be fetched" in line]
        assert len(told) == 2
        source.answer = jwks(ONE)
        await trio.sleep(RETRY_SECONDS)
        assert finds(keys, ONE)


@pytest.mark.parametrize("stale_seconds", [2.0, 8.0, 300.0, 900.0])
async def test_keys_of_a_server_that_answers_never_grow_too_old(
    stale_seconds: float, autojump_clock: MockClock
) -> None:
    source = Source(ONE)
    source.max_age = MAX_REFRESH_SECONDS
    async with kept(source, stale_seconds) as keys:
        for _ in range(60):
            await trio.sleep(stale_seconds / 7)
            assert finds(keys, ONE)
        assert len(source.asked) <= 20
        source.answer = AskError("down")
        await trio.sleep(stale_seconds + 0.1)
        assert not finds(keys, ONE)
        source.answer = jwks(ONE)
        await trio.sleep(RETRY_SECONDS)
        assert finds(keys, ONE)


async def test_keys_may_grow_too_old_sooner_than_they_are_fetched(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    async with kept(source, stale_seconds=0.001):
        await trio.sleep(5.5)
        assert source.asked == [0, 1, 2, 3, 4, 5]


async def test_an_unknown_kid_is_looked_for_once_and_only_its_own_requests_wait(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    source.takes = 1.0
    async with kept(source) as keys:
        await trio.sleep(5)
        source.answer = jwks(ONE, TWO)
        waited: dict[str, list[float]] = {"two": [], "other": []}

        async def request(kid: str) -> None:
            waited[kid].append(await seconds_of(keys, kid))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(request, "two")
            await wait_all_tasks_blocked()
            for kid in ("two", "other", "two", "other"):
                nursery.start_soon(request, kid)
            assert finds(keys, ONE)
        assert waited == {"two": [1.0] * 3, "other": [0.0] * 2}
        assert finds(keys, TWO)
        assert source.asked == [0, 5]


@pytest.mark.parametrize("answer", [jwks(ONE), AskError("down")], ids=["good", "down"])
async def test_a_flood_of_unknown_kids_makes_one_fetch_in_half_a_minute_whatever_its_outcome(
    answer: Any, autojump_clock: MockClock
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer = answer
        await trio.sleep(5)
        for number in range(500):
            assert await seconds_of(keys, f"{number}") == 0
            await trio.sleep(ASK_SECONDS / 500)
            assert finds(keys, ONE)
        in_time = [each for each in source.asked if 5 <= each < 5 + ASK_SECONDS]
        assert len(in_time) <= 2
        assert in_time[0] == 5


async def test_no_request_waits_longer_than_it_may_and_the_fetch_goes_on_without_it(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer, source.takes = jwks(TWO), 3.0
        assert await seconds_of(keys, "two") == WAIT_SECONDS
        assert keys.retry_after("two", NOON + 2, NOON + 1) == ASK_SECONDS - WAIT_SECONDS
        await trio.sleep(1.5)
        assert finds(keys, TWO)


async def test_a_client_that_leaves_does_not_end_the_fetch_that_others_wait_for(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer, source.takes = jwks(TWO), 1.0
        found = []

        async def stay() -> None:
            found.append(await keys.look_for("two", "ES256"))

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.1):
                await keys.look_for("two", "ES256")
            nursery.start_soon(stay)
        assert found[0]
        assert len(source.asked) == 2


async def test_a_fetch_that_is_under_way_answers_who_asks_meanwhile_if_it_brings_the_key(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    source.takes = 1.0
    async with kept(source) as keys:
        await trio.sleep(0.4)
        assert await seconds_of(keys, "two") == pytest.approx(1.6)
        assert source.asked == [0, 1]
        await trio.sleep(10)
        assert source.asked == [0, 1]
    source = Source(ONE)
    source.takes = 1.0
    async with kept(source) as keys:
        await trio.sleep(0.4)
        assert await seconds_of(keys, "one") == pytest.approx(0.6)
        await trio.sleep(10)
        began = trio.current_time() - 11
        assert source.asked == [began]
        source.answer = jwks(ONE, TWO)  # a rotation soon after the start
        assert await seconds_of(keys, "two") == 1
        assert finds(keys, TWO)
        for number in range(50):
            assert await seconds_of(keys, f"{number}") == 0
        assert source.asked == [began, began + 11]


async def test_when_to_come_back_says_whether_the_key_would_be_here(
    autojump_clock: MockClock,
) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        await trio.sleep(5)
        await keys.look_for("two", "ES256")
        await trio.sleep(10)
        now, rest = NOON + 15, ASK_SECONDS - 10
        assert keys.retry_after("two", now, NOON + 5) is None  # looked for in vain
        assert keys.retry_after("three", now, NOON + 4) is None
        same_second = NOON + 4.5  # perhaps later than the fetch
        assert keys.retry_after("three", now, same_second) == rest
        assert keys.retry_after("two", now, NOON + 6) == rest
        assert keys.retry_after("two", now, None) == rest
        for issued in (NOON + 4, NOON + 6, None):
            assert keys.retry_after("two", NOON + 5, issued) is None  # it was here before the fetch
        source.answer = AskError("down")
        await trio.sleep(ASK_SECONDS)
        await keys.look_for("three", "ES256")
        assert keys.retry_after("three", now, same_second) == ASK_SECONDS


async def test_a_key_that_was_taken_out_is_not_one_to_come(autojump_clock: MockClock) -> None:
    source = Source(ONE)
    async with kept(source) as keys:
        source.answer = jwks(TWO)
        await trio.sleep(REFRESH_SECONDS + 5)
        fetched, now = NOON + REFRESH_SECONDS, NOON + REFRESH_SECONDS + 5
        for kid, waits in (("one", False), ("another", True)):
            assert bool(keys.retry_after(kid, now, fetched - 0.4)) is waits, kid
            assert keys.retry_after(kid, now, fetched - 1) is None
            assert keys.retry_after(kid, now, fetched + 1)  # perhaps it is put in again


async def test_keys_left_out_are_told_once_per_change_without_a_word_of_them(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    secret: Mapping[str, Any] = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret-kid"}
    source = Source()
    source.answer = {"keys": [ONE.jwk, secret, {"kty": "AKP"}]}
    async with kept(source):
        await trio.sleep(2 * REFRESH_SECONDS + 1)
        source.answer = jwks(ONE)
        await trio.sleep(2 * REFRESH_SECONDS)
    told = [line for line in caplog.messages if "does not use" in line]
    assert told == [
        "keys of the server that the gate does not use: 1 of an unknown type, 1 symmetric",
        "keys of the server that the gate does not use: none",
    ]
    for text in ("c2VjcmV0", "secret-kid", ONE.jwk["x"]):
        assert text not in caplog.text


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(JSON | st.dictionaries(st.just("keys"), JSON))
def test_garbage_never_replaces_good_keys(garbage: Any) -> None:
    async def check() -> None:
        source = Source(ONE)
        async with kept(source) as keys:
            source.answer = garbage
            await trio.sleep(REFRESH_SECONDS + 1)
            assert finds(keys, ONE)
            assert len(source.asked) == 2

    trio.run(check, clock=MockClock(autojump_threshold=0))
