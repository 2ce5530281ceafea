"""The question who is at the dashboard: by the front, by a session, and what lists say."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.identity.fronts import front_of
from gatehouse.identity.people import Person
from gatehouse.identity.principal import Unknown
from gatehouse.identity.subject import subject_of
from gatehouse.identity.who_signs_in import PeopleWhoSignIn
from gatehouse.signin.cookies import Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sessions import BrowserSessions
from gatehouse.signin.visitor import Visitor
from gatehouse.signin.visitors import Visitors, named_orgs
from tests.harness.identity import assertions as made
from tests.harness.identity.fronts import Way
from tests.harness.identity.signing import key
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.identity.subject import Subject

HUB, SECRET = "https://huggingface.co", b"a secret of the tests, long enough"
CLOUDFLARE = front_of("cloudflare", audiences=[made.CLOUDFLARE_AUD], team=made.TEAM)
FRONT_ALICE = "front:alice@example.com"


def person(sub: str = "alice-1", **claims: Any) -> Subject:
    given = {"sub": sub, "preferred_username": sub.partition("-")[0], **claims}
    return subject_of("person", given, issuer=HUB, expires=time.time() + 600)


def sessions_of_tests() -> BrowserSessions:
    sealer = Sealer(SECRET, "session", bound_to=[HUB, "client"])
    return BrowserSessions(sealer, Jar(secure=True), Ended(None), issuer=HUB)


class Dashboard:
    """A dashboard that people reach through a front, by signing in, or both."""

    def __init__(
        self,
        *,
        front: bool = False,
        sign_in: bool = False,
        required: bool = False,
        admins: str = "alice",
        people: PeopleWhoSignIn | None = None,
    ) -> None:
        self.way = Way(CLOUDFLARE) if front else None
        self.sessions = sessions_of_tests() if sign_in else None
        self.visitors = Visitors(
            people or PeopleWhoSignIn(admins.split()),
            self.sessions,
            self.way.verifier if self.way else None,
            front_required=required,
            secret=SECRET,
        )

    def cookie(self) -> bytes:
        assert self.sessions is not None
        return self.sessions.begin(person())[1].partition(b";")[0]

    async def who(
        self, *assertions: str, cookie: bytes = b"", fields: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Visitor | Unknown | None:
        given = [(CLOUDFLARE.header, each.encode()) for each in assertions]
        cookies = [(b"Cookie", cookie)] if cookie else []
        request = request_of([*given, *cookies, *fields], method="GET", target=b"/dashboard")
        return await self.visitors.who(request)

    @asynccontextmanager
    async def with_keys(self) -> AsyncIterator[Dashboard]:
        """The dashboard while the front's keys are there."""
        assert self.way is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            yield self
            nursery.cancel_scope.cancel()


def reason_of(who: Visitor | Unknown | None) -> tuple[str, int]:
    """The reason for which nobody is known, and the status of the reply."""
    assert isinstance(who, Unknown)
    assert who.reply is not None
    return who.reason, who.reply.status


def name_of(who: Visitor | Unknown | None) -> str:
    assert isinstance(who, Visitor)
    return who.name


# Signing in


async def test_a_session_tells_who_it_is_and_nothing_else_does() -> None:
    dashboard = Dashboard(sign_in=True)
    assert await dashboard.who() is None
    assert await dashboard.who(cookie=b"__Host-gate-session=junk") is None
    cookie = dashboard.cookie()
    assert name_of(await dashboard.who(cookie=cookie)) == "person:alice"
    value = cookie.partition(b"=")[2]
    for name, credential in [
        (b"Authorization", b"Bearer " + value),
        (b"X-API-Key", value),
        (b"Authorization", b"Bearer mcpgate_" + b"x" * 43),
        (CLOUDFLARE.header, value),
    ]:
        assert await dashboard.who(fields=((name, credential),)) is None
    assert await dashboard.who(made.cloudflare()) is None, "no front is known"


# The front


async def test_with_a_front_its_word_is_the_sign_in_for_people_of_no_list_too() -> None:
    people = PeopleWhoSignIn(["alice@example.com"], ["bob@example.com"])
    async with Dashboard(front=True, people=people).with_keys() as at:
        who = await at.who(made.cloudflare())
        assert isinstance(who, Visitor)
        assert (who.name, who.session) == (FRONT_ALICE, "")
        assert who.until == who.subject.expires > time.time()
        assert at.visitors.is_admin(who.subject)
        assert reason_of(await at.who()) == ("front-missing", 403)
        assert reason_of(await at.who(made.cloudflare(aud=["other"]))) == ("audience", 403)
        twice = await at.who(made.cloudflare(), made.cloudflare())
        assert reason_of(twice) == ("front-twice", 403)


async def test_a_machine_never_opens_the_dashboard() -> None:
    admins = f"client:{made.SERVICE_TOKEN} alice"
    async with Dashboard(front=True, sign_in=True, admins=admins).with_keys() as at:
        who = await at.who(made.cloudflare_service(), cookie=at.cookie())
        assert reason_of(who) == ("people", 403)
    machine = subject_of("front", {"client_id": made.SERVICE_TOKEN}, issuer=HUB, expires=0)
    people = PeopleWhoSignIn(admins.split(), [f"client:{made.SERVICE_TOKEN}"])
    visitors = Dashboard(sign_in=True, people=people).visitors
    assert not visitors.is_admin(machine)
    assert not visitors.may_sign_in(machine)


def test_while_the_fronts_keys_are_out_of_reach_nobody_can_tell() -> None:
    async def live() -> None:
        both = Dashboard(front=True, sign_in=True)
        for dashboard in (Dashboard(front=True), both):
            assert reason_of(await dashboard.who(made.cloudflare())) == ("keys-unavailable", 503)
        who = await both.who(made.cloudflare(), cookie=both.cookie())
        assert name_of(who) == "person:alice", "who has signed in needs no front"
        required = Dashboard(front=True, sign_in=True, required=True)
        who = await required.who(made.cloudflare(), cookie=required.cookie())
        assert reason_of(who) == ("keys-unavailable", 503)

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))


# Both


FORGED = made.cloudflare(by=key("forger"))


async def test_with_both_a_good_assertion_goes_first_and_then_the_session() -> None:
    async with Dashboard(front=True, sign_in=True).with_keys() as at:
        cookie = at.cookie()
        assert name_of(await at.who(made.cloudflare(), cookie=cookie)) == FRONT_ALICE
        assert name_of(await at.who(made.cloudflare())) == FRONT_ALICE
        assert name_of(await at.who(cookie=cookie)) == "person:alice"
        assert name_of(await at.who(made.cloudflare(aud="other"), cookie=cookie)) == "person:alice"
        assert reason_of(await at.who(made.cloudflare(aud="other"))) == ("audience", 403)
        assert await at.who() is None


async def test_where_the_front_is_required_a_session_alone_opens_nothing() -> None:
    async with Dashboard(front=True, sign_in=True, required=True).with_keys() as at:
        cookie = at.cookie()
        assert name_of(await at.who(made.cloudflare(), cookie=cookie)) == FRONT_ALICE
        assert reason_of(await at.who(cookie=cookie)) == ("front-missing", 403)
        assert reason_of(await at.who()) == ("front-missing", 403)
        assert reason_of(await at.who(made.cloudflare(aud="other"), cookie=cookie))[1] == 403
        assert reason_of(await at.who(FORGED, cookie=cookie))[1] == 403
        twice = await at.who(made.cloudflare(), made.cloudflare(), cookie=cookie)
        assert reason_of(twice) == ("front-twice", 403)


# The lists


@pytest.mark.parametrize(
    ("match", "claims"),
    [
        ("alice", {}),
        ("sub:alice-1", {}),
        ("ALICE@example.com", {"email": "alice@example.com", "email_verified": True}),
        ("*@example.com", {"email": "alice@example.com", "email_verified": True}),
        ("org:cooks", {"orgs": [{"sub": "1", "preferred_username": "cooks"}]}),
    ],
)
def test_admins_are_known_by_the_words_of_people(match: str, claims: dict[str, Any]) -> None:
    visitors = Dashboard(sign_in=True, admins=f"carol {match}").visitors
    assert visitors.is_admin(person(**claims))
    assert visitors.may_sign_in(person(**claims)), "though nobody is in PEOPLE"
    assert not visitors.is_admin(person("bob-1"))
    assert not visitors.may_sign_in(person("bob-1"))


def test_an_address_that_nobody_has_verified_makes_no_admin() -> None:
    visitors = Dashboard(sign_in=True, admins="alice@example.com").visitors
    assert not visitors.is_admin(person(email="alice@example.com", email_verified=False))


def test_a_list_that_was_never_written_lets_nobody_in() -> None:
    assert PeopleWhoSignIn([]).is_open
    assert not Dashboard(sign_in=True).visitors.may_sign_in(person("bob-1"))


def test_who_is_off_the_list_is_out_at_once() -> None:
    people = PeopleWhoSignIn(["alice"], ["dora"], [Person("bob")])
    visitors = Dashboard(sign_in=True, people=people).visitors
    bob = person("bob-1")
    assert visitors.may_sign_in(bob)
    assert not visitors.is_admin(bob)
    people.replace([])
    assert not visitors.may_sign_in(bob)
    assert visitors.may_sign_in(person("dora-1"))


def test_the_organisations_that_lists_name_are_those_of_this_moment() -> None:
    people = PeopleWhoSignIn(["org:owners", "bob"], ["org:eaters", "alice"], [Person("org:cooks")])
    assert named_orgs(people) == {"owners", "eaters", "cooks"}
    people.replace([])
    assert named_orgs(people) == {"owners", "eaters"}


# Forms


def test_a_form_is_its_sessions_own() -> None:
    visitors = Dashboard(sign_in=True).visitors
    phone, laptop = (Visitor(person(), f"{number}-" + "x" * 22) for number in (1, 2))
    token = visitors.form_token(phone)
    assert visitors.takes(phone, token)
    assert visitors.form_token(phone) == token
    assert not visitors.takes(laptop, token)
    assert not visitors.takes(Visitor(person()), token)
    assert not visitors.takes(Visitor(person("bob-1"), phone.session[:-1] + "y"), token)
    assert phone.session not in token


def test_a_form_of_one_whom_the_front_vouches_for_is_their_own() -> None:
    visitors = Dashboard(front=True).visitors
    alice = Visitor(subject_of("front", {"sub": "alice"}, issuer=HUB, expires=1))
    later = Visitor(subject_of("front", {"sub": "alice"}, issuer=HUB, expires=2))
    bob = Visitor(subject_of("front", {"sub": "bob"}, issuer=HUB, expires=1))
    assert visitors.takes(later, visitors.form_token(alice)), "with a new assertion, too"
    assert not visitors.takes(bob, visitors.form_token(alice))


def test_a_form_of_another_secret_is_foreign() -> None:
    alice = Visitor(person(), "1-" + "x" * 22)
    one, other = (
        Visitors(
            PeopleWhoSignIn([]), sessions_of_tests(), None, front_required=False, secret=secret
        )
        for secret in (SECRET, b"another secret, just as long as it")
    )
    assert not one.takes(alice, other.form_token(alice))


@given(st.text() | st.text("0123456789abcdef", min_size=64, max_size=64))
def test_no_other_text_is_a_form_token_and_none_raises(text: str) -> None:
    assert not Dashboard(sign_in=True).visitors.takes(Visitor(person(), "1-" + "x" * 22), text)
