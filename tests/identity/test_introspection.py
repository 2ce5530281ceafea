"""Opaque tokens: which answers make one good, how often the server is asked, and what its troubles do."""

from __future__ import annotations

import base64
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.asked import Asked, AskError
from gatehouse.http.challenges import Challenges
from gatehouse.identity.access_tokens import AccessTokens
from gatehouse.identity.admission import Admission
from gatehouse.identity.at_once import AtOnce
from gatehouse.identity.discovery import KeysAt
from gatehouse.identity.introspection import (
    BAD_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_AT_ONCE,
    MAX_AT_ONCE_OF_ONE,
    MAX_BAD,
    MAX_WAIT_SECONDS,
    TELL_SECONDS,
    UNAVAILABLE,
    Introspection,
    fault_in,
)
from gatehouse.identity.jwt import MAX_TOKEN_BYTES, Bad, Jwts, Rules, Verified
from gatehouse.identity.keys import Keys
from gatehouse.identity.people import People
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.scopes import Scopes
from tests.harness.identity.house import as_if_later
from tests.harness.identity.questions import FakeAsk, Question, down
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trio.testing import MockClock

ISSUER, OURS, HERE = "https://as.example", "https://gate.example/mcp", "192.0.2.1"
RULES = Rules(ISSUER, (OURS, OURS + "/"), ())
SECRET = "s3cret: +%é"
GOOD = {"active": True, "aud": OURS, "sub": "alice", "username": "al", "scope": "mcp:read"}


def asking(
    answer: Callable[[Question], Asked | Mapping[str, Any]] | Mapping[str, Any] = GOOD,
    *,
    seconds: float = 60,
    takes: float = 0.0,
) -> tuple[Introspection, FakeAsk]:
    """An introspection, and the server that it asks."""
    ask = FakeAsk(answer if callable(answer) else lambda _: answer, seconds=takes)
    made = Introspection(
        ask, RULES, url="https://as.example/ask", client_id="the gate", client_secret=SECRET, seconds=seconds
    )  # fmt: skip
    return made, ask


async def judged(answer: Any) -> Verified | Bad:
    return await asking(answer)[0].verify(b"opaque", HERE)


async def test_the_question_is_a_form_with_the_clients_credentials_form_encoded_first() -> None:
    introspection, ask = asking()
    answer = await introspection.verify(b"opaque+token/1~==", HERE)
    assert isinstance(answer, Verified)
    assert dict(answer.claims) == {
        **{name: value for name, value in GOOD.items() if name != "active"},
        "iss": ISSUER,
        "preferred_username": "al",
    }
    assert answer.key == ""
    (question,) = ask.questions
    assert question.url == "https://as.example/ask"
    assert question.form == {"token": "opaque+token/1~==", "token_type_hint": "access_token"}
    ((name, value),) = question.fields
    assert name == b"Authorization"
    given = base64.b64decode(value.removeprefix(b"Basic ")).decode("ascii")
    assert [unquote_plus(part) for part in given.split(":")] == ["the gate", SECRET]


NOW = time.time()


@pytest.fixture
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment of NOW, however long the tests before took."""
    monkeypatch.setattr("gatehouse.identity.introspection.clock", lambda: NOW)


FAULTS: dict[str, dict[str, list[Any]]] = {
    "inactive": {"active": [False, "true", 1, None, [True]]},
    "audience": {"aud": [None, "", "the gate", OURS.upper(), OURS + "/x", [], [[OURS]], {OURS: 1}, 5]},
    "issuer": {"iss": [ISSUER + "/", "https://evil.example", "", 5, [ISSUER]]},
    "subject": {"sub": [None, "", 5, ["alice"]]},
    "malformed": {
        "exp": [True, "9999999999", -1, 1e300, 10**400, []],
        **{name: [False, "1", {}] for name in ("nbf", "iat")},
    },
    "expired": {"exp": [NOW - 61, 0]},
    "not-yet": {name: [NOW + 86_400] for name in ("nbf", "iat")},
    "type": {"token_type": ["refresh_token", "DPoP", "id_token"], "typ": ["Refresh"]},
}  # fmt: skip


@pytest.fixture
def at_import(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time of the import, when the tables here were made: a whole run takes minutes."""
    with as_if_later(monkeypatch, NOW - time.time()):
        yield


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.usefixtures("_one_moment")
async def test_a_token_is_good_only_if_the_answer_says_so_of_this_gate(reason: str) -> None:
    for name, wrong in FAULTS[reason].items():
        for value in wrong:
            answer = await judged({**GOOD, name: value})
            assert answer == Bad(reason, reason != "expired", None), (name, value)


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["https://other.example", OURS + "/"]},
        {"iss": ISSUER},
        {"iss": None, "exp": None},
        {"sub": None, "client_id": "robot"},
        {"exp": NOW + 86_400, "iat": NOW, "nbf": NOW},
        {"token_type": "Bearer", "token_use": "access_token"},
    ],
)
@pytest.mark.usefixtures("_one_moment")
async def test_all_that_an_answer_may_leave_out_or_add_it_may(claims: dict[str, Any]) -> None:
    assert isinstance(await judged({**GOOD, **claims}), Verified)


async def test_a_token_is_good_until_its_end_and_the_leeway_are_over() -> None:
    assert isinstance(await judged({**GOOD, "exp": time.time() - 5}), Verified)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(OURS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
members = (
    "active",
    "aud",
    "iss",
    "sub",
    "client_id",
    "exp",
    "nbf",
    "iat",
    "token_type",
    "username",
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(members), values))
def test_whatever_an_answer_holds_it_is_judged_without_an_error(told: dict[str, Any]) -> None:
    claims = {"iss": ISSUER, **told}
    if not fault_in(claims, RULES, NOW):
        assert OURS in claims["aud"]
        assert claims["iss"] == ISSUER
        assert claims.get("sub") or claims.get("client_id")


@pytest.mark.parametrize(
    "token",
    [
        *(b"", b"a b", b"a\x00", b"a\xff", b"a=b", b"=", b'a"', b"a,b"),
        *(b"hf_OnlyForTests0123456789", b"mcpgate_OnlyForTests0123456789"),
        base64.urlsafe_b64encode(b'{"alg":"RS256"}').rstrip(b"=") + b".e30.c2ln",
        b"a" * (MAX_TOKEN_BYTES + 1),
    ],
)
async def test_the_server_never_sees_a_value_that_cannot_be_such_a_token(token: bytes) -> None:
    introspection, ask = asking()
    answer = await introspection.verify(token, HERE)
    assert isinstance(answer, Bad)
    assert answer.reason in {"malformed", "too-large"}
    assert ask.questions == []


async def test_a_good_answer_counts_for_a_while_and_no_longer_than_the_token(
    autojump_clock: MockClock,
) -> None:
    for exp, seconds, counts_for in (
        (None, 60.0, 60),
        (time.time() + 20, 60.0, 19),
        (None, 0.0, 0),
    ):
        introspection, ask = asking({**GOOD, "exp": exp}, seconds=seconds)
        await introspection.verify(b"opaque", HERE)
        await trio.sleep(counts_for * 0.95)
        await introspection.verify(b"opaque", "192.0.2.2")
        assert len(ask.questions) == (1 if counts_for else 2)
        await introspection.verify(b"opaque", HERE)
        await trio.sleep(counts_for * 0.1 + 1)
        asked = len(ask.questions)
        await introspection.verify(b"opaque", HERE)
        assert len(ask.questions) == asked + 1


async def test_a_bad_token_is_remembered_for_a_moment_and_driven_out_by_bad_ones_only(
    autojump_clock: MockClock,
) -> None:
    introspection, ask = asking(
        lambda question: {**GOOD, "active": question.form["token"] == "good"}
    )
    await introspection.verify(b"good", HERE)
    for _ in range(3):
        assert (await introspection.verify(b"bad", HERE)) == Bad("inactive", True, None)
    assert len(ask.questions) == 2
    await trio.sleep(BAD_SECONDS + 0.1)
    await introspection.verify(b"bad", HERE)
    assert len(ask.questions) == 3
    for number in range(MAX_BAD):
        await introspection.verify(b"bad%d" % number, HERE)
    await introspection.verify(b"bad", HERE)
    asked = len(ask.questions)
    assert asked == 3 + MAX_BAD + 1
    await introspection.verify(b"good", HERE)
    assert len(ask.questions) == asked


async def test_a_token_that_was_good_here_and_is_over_counts_as_no_failure_and_holds_no_longer(
    autojump_clock: MockClock,
) -> None:
    introspection, ask = asking()
    digest = sha256(b"opaque").digest()
    assert isinstance(await introspection.verify(b"opaque", HERE), Verified)
    assert introspection.good_until(digest) == pytest.approx(time.time() + 60, abs=10)
    ask.answer = lambda _: {"active": False}
    await trio.sleep(61)
    assert introspection.holds(digest)
    assert introspection.good_until(digest) < time.time()
    assert await introspection.verify(b"opaque", HERE) == Bad("inactive", False, None)
    assert await introspection.verify(b"forged", HERE) == Bad("inactive", True, None)
    await trio.sleep(61)
    assert not introspection.holds(digest)  # whoever came by it goes
    ask.answer = lambda _: GOOD
    assert isinstance(await introspection.verify(b"opaque", HERE), Verified)
    assert introspection.holds(digest)


async def test_all_who_show_a_token_at_once_share_one_question_and_one_that_leaves_takes_nothing_away(
    autojump_clock: MockClock,
) -> None:
    introspection, ask = asking(takes=1)
    answers: list[Verified | Bad] = []

    async def show(number: int) -> None:
        with trio.move_on_after(0.5 if number == 0 else 10):
            answers.append(await introspection.verify(b"opaque", f"192.0.2.{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(show, number)
            await trio.testing.wait_all_tasks_blocked()
    assert len(ask.questions) == 1
    assert len(answers) == 9
    assert all(isinstance(answer, Verified) for answer in answers)


async def test_one_client_cannot_have_all_questions_and_nobody_waits_for_long(
    autojump_clock: MockClock,
) -> None:
    introspection, ask = asking(takes=3)
    seen: dict[tuple[int, int], tuple[Verified | Bad, float]] = {}

    async def show(net: int, number: int) -> None:
        token = b"%d-%d" % (net, number)
        answer = await introspection.verify(token, f"2001:db8:0:{net}::{number}")
        seen[net, number] = answer, trio.current_time() - begun

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for net in range(3):
            for number in range(20):
                nursery.start_soon(show, net, number)
        await trio.sleep(1)
        assert ask.most_under_way == 3 * MAX_AT_ONCE_OF_ONE
        nursery.start_soon(show, 4, 1)  # of somebody else, at once
    assert isinstance(seen[4, 1][0], Verified)
    assert seen[4, 1][1] == pytest.approx(1 + 3)
    refused = [at for answer, at in seen.values() if answer == UNAVAILABLE]
    assert len(refused) == 3 * (20 - MAX_AT_ONCE_OF_ONE)
    assert refused == [pytest.approx(MAX_WAIT_SECONDS)] * len(refused)


async def test_there_is_a_bound_for_all_clients_together(autojump_clock: MockClock) -> None:
    introspection, ask = asking(takes=1.5)
    async with trio.open_nursery() as nursery:
        for number in range(2 * MAX_AT_ONCE):
            nursery.start_soon(introspection.verify, b"%d" % number, f"192.0.2.{number}")
    assert ask.most_under_way == MAX_AT_ONCE
    assert len(ask.questions) == 2 * MAX_AT_ONCE  # the others waited, and came in turn


TROUBLES: list[tuple[Any, str]] = [
    (Asked(400, [], {}), "it answers 400: are AUTH_CLIENT_ID and AUTH_CLIENT_SECRET right?"),
    (Asked(401, [], {}), "it refuses AUTH_CLIENT_ID and AUTH_CLIENT_SECRET"),
    (Asked(404, [], {}), "it answers 404: is AUTH_INTROSPECTION_URL right?"),
    (Asked(500, [], {}), "it answers 500"),
    ({}, "its answer does not say «active»: is AUTH_INTROSPECTION_URL right?"),
    ({**GOOD, "x": "y" * MAX_ANSWER_BYTES}, "its answer is larger than 8 KiB"),
    (AskError("nobody listens there"), "nobody listens there"),
    (KeyError("a secret"), "KeyError"),
]


@pytest.mark.parametrize(("trouble", "words"), TROUBLES)
async def test_a_trouble_of_the_server_makes_no_token_bad_and_is_told_once(
    trouble: Any, words: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def troubled(_: Question) -> Any:
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    introspection, ask = asking(troubled)
    for number in range(3):
        assert await introspection.verify(b"%d" % number, HERE) == UNAVAILABLE
    assert (UNAVAILABLE.reason, UNAVAILABLE.counts) == ("introspection-unavailable", False)
    assert UNAVAILABLE.retry_after == 5
    ask.answer = lambda _: GOOD
    assert isinstance(await introspection.verify(b"0", HERE), Verified)  # at once
    told, over = [record.message for record in caplog.records]
    assert told.startswith("the authorization server cannot be asked about tokens, which get 503")
    assert words in told
    assert "a secret" not in told
    assert over == "the authorization server can be asked about tokens again"


async def test_a_server_that_comes_and_goes_does_not_fill_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    introspection, ask = asking()
    for number in range(20):
        ask.answer = down if number % 2 == 0 else (lambda _: GOOD)
        await introspection.verify(b"%d" % number, HERE)
    assert len(caplog.records) == 2
    await trio.sleep(TELL_SECONDS)
    ask.answer = down
    await introspection.verify(b"later", HERE)
    assert len(caplog.records) == 3


async def test_room_is_given_back_by_those_who_leave_while_they_wait(
    autojump_clock: MockClock,
) -> None:
    room = AtOnce(2, 1)
    assert await room.enter("a", 1)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(room.enter, "a", 100)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await room.enter("b", 1)
    assert not await room.enter("c", 1)
    assert not await room.enter("b", 1)
    for group in ("a", "b"):
        room.leave(group)
    for group in ("a", "c"):
        assert await room.enter(group, 1)
        room.leave(group)


async def test_whoever_came_by_an_opaque_token_goes_once_the_server_turns_it_down(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    introspection, ask = asking()
    keys = Keys(KeysAt(ask, "").fetch, stale_seconds=60, on_change=lambda: None, name="nobody")
    challenges = Challenges("https://gate.example/pointer")
    tokens = AccessTokens(
        Jwts(RULES, keys),
        keys,
        introspection,
        admission=Admission(People(), Scopes(), challenges),
        challenges=challenges,
        issuer=ISSUER,
        name_claim="",
        leeway=60,
    )
    request = request_of([(b"authorization", b"Bearer opaque")])
    who = await tokens.verify(request)
    assert isinstance(who, Principal)
    assert (who.name, who.kind) == ("oauth:al", "oauth")
    assert tokens.in_force(who)
    assert await tokens.verify(request) is who
    ask.answer = lambda _: {"active": False}
    await trio.sleep(61)
    assert tokens.in_force(who)  # nobody has asked again
    with as_if_later(monkeypatch, 61):
        refused = await tokens.verify(request)
    assert isinstance(refused, Unknown)
    assert (refused.reason, refused.counts) == ("inactive", False)
    assert not tokens.in_force(who)
