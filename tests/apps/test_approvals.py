"""Approvals: an app comes again without a question only for the same person, in the same browser, to the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.approvals import (
    APPROVAL_SECONDS,
    MAX_APPROVALS,
    OFTEN,
    Approvals,
    can_be_remembered,
)
from gatehouse.apps.authorization import AuthorizationRequest
from gatehouse.apps.grant import Grant, as_caller
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.identity.subject import Subject
from gatehouse.signin.cookies import MAX_VALUE_LENGTH, Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.request import Request

NOW = 1_764_000_000.0
JAR = Jar(secure=True)
WEB = "https://app.example/cb"


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Browser:
    """A browser that keeps the one cookie, before a gate of its own."""

    def __init__(self, *, now: float = NOW, before: float = 0.0) -> None:
        self.time = Time()
        self.time.now = now
        ended = Ended(None, ENDED_GRANTS, before=before, clock=self.time)
        self.grants = Grants(ended, None, lambda: None, clock=self.time)
        self.sealer = Sealer(
            b"a secret of the tests, long enough",
            "apps",
            max_seconds=APPROVAL_SECONDS,
            clock=self.time,
        )
        self.approvals = Approvals(self.sealer, JAR, self.grants, clock=self.time)
        self.cookie = ""

    @property
    def request(self) -> Request:
        fields = [(b"Cookie", self.cookie.encode())] if self.cookie else []
        return request_of(fields, method="GET", target=b"/authorize")

    def keep(self, field: tuple[bytes, bytes]) -> None:
        assert field[0] == b"Set-Cookie"
        pair, _, attributes = field[1].decode().partition(";")
        self.cookie = "" if "Max-Age=0;" in attributes else pair

    def allow(self, asked: AuthorizationRequest, who: Subject, since: float | None = None) -> Grant:
        grant = self.grants.new(who, asked, to="x", scopes=asked.scopes, resource=asked.resource)
        self.keep(self.approvals.remember(self.request, who, asked, grant, since))
        return grant

    def knows(self, asked: AuthorizationRequest, who: Subject) -> bool:
        return self.approvals.find(self.request, who, asked) is not None


def person(name: str = "alice", issuer: str = "https://idp.example") -> Subject:
    return Subject("person", issuer, f"sub of {name}", shown=f"person:{name}")


def asks(
    key: str = "k" * 32, uri: str = WEB, *, scope: str = "read write", host: str = ""
) -> AuthorizationRequest:
    return AuthorizationRequest("id", key, "App", host, uri, "s", "c", "https://gate/mcp", scope)


ALICE = person()


def test_a_yes_counts_for_the_same_person_client_place_and_scopes_and_for_nothing_else() -> None:
    browser = Browser()
    assert not browser.knows(asks(), ALICE)
    browser.allow(asks(), ALICE)
    assert browser.knows(asks(), ALICE)
    assert browser.knows(asks(scope="write read"), ALICE)
    assert browser.knows(asks(uri="https://app.example/other"), ALICE)
    for other in (
        asks("other"),
        asks(uri="https://evil.example/cb"),
        asks(uri="https://app.example.evil.example/cb"),
        asks(scope="read"),
        asks(scope="read write more"),
        asks(scope=""),
    ):
        assert not browser.knows(other, ALICE)
    assert not browser.knows(asks(), person("bob"))
    assert not browser.knows(asks(), person(issuer="https://other.example"))
    assert not Browser().knows(asks(), ALICE)


def test_it_counts_for_thirty_days_from_the_yes_however_often_it_is_used() -> None:
    browser = Browser()
    browser.allow(asks(), ALICE)
    for _ in range(2):
        browser.time.now += APPROVAL_SECONDS / 2 - 1
        found = browser.approvals.find(browser.request, ALICE, asks())
        assert found is not None
        assert found.since == NOW
        browser.allow(asks(), ALICE, found.since)
    browser.time.now += 2
    assert not browser.knows(asks(), ALICE)
    assert browser.approvals.listed(browser.request, ALICE) == []


def test_an_app_that_comes_again_and_again_is_asked_about() -> None:
    browser = Browser()
    other = asks("other")
    for one in (asks(), other):
        browser.allow(one, ALICE)
    told = [browser.knows(asks(), ALICE) for _ in range(OFTEN.burst + 5)]
    assert told == [True] * OFTEN.burst + [False] * 5
    assert browser.knows(other, ALICE)
    assert browser.approvals.listed(browser.request, ALICE), "it comes in again later"


async def test_it_counts_no_more_when_the_grant_that_the_app_got_last_has_ended() -> None:
    browser = Browser()
    first = browser.allow(asks(), ALICE)
    last = browser.allow(asks(), ALICE, NOW)
    await browser.grants.end(first)
    assert browser.knows(asks(), ALICE)
    await browser.grants.end(last)
    assert not browser.knows(asks(), ALICE)
    browser.time.now += 1
    browser.allow(asks(), ALICE)
    assert browser.knows(asks(), ALICE)
    await browser.grants.end_all(as_caller(ALICE, "").id)
    assert not browser.knows(asks(), ALICE)


def test_it_does_not_count_if_it_is_from_before_a_moment_that_the_settings_name() -> None:
    early, late = Browser(), Browser(now=NOW + 61, before=NOW + 60)
    early.allow(asks(), ALICE)
    late.cookie = early.cookie
    assert not late.knows(asks(), ALICE)
    late.allow(asks(), ALICE)
    assert late.knows(asks(), ALICE)


def test_nobody_comes_in_without_a_question_by_a_client_that_many_people_share() -> None:
    for uri in ("http://127.0.0.1:1234/cb", "com.example.tool:/cb", "https://app.example/cb"):
        asked = asks(uri=uri, host="app.example")
        assert not can_be_remembered(asked)
        browser = Browser()
        browser.allow(asked, ALICE)
        assert browser.cookie == ""
        assert not browser.knows(asked, ALICE)
        browser.allow(asks(uri=uri), ALICE)  # whose id is a secret of that program's, more or less
        assert browser.knows(asks(uri=uri), ALICE)
        assert not browser.knows(asked, ALICE)


def test_a_browser_keeps_a_few_and_forgets_those_that_somebody_takes_away() -> None:
    browser, bob = Browser(), person("bob")
    for number in range(MAX_APPROVALS + 4):
        browser.allow(asks(f"key {number}"), bob if number % 2 else ALICE)
        assert len(browser.cookie.partition("=")[2]) <= MAX_VALUE_LENGTH
    assert len(browser.cookie) < 2500
    assert not browser.knows(asks("key 2"), ALICE)
    assert browser.knows(asks("key 4"), ALICE)
    theirs = browser.approvals.listed(browser.request, ALICE)
    assert len(theirs) == MAX_APPROVALS / 2
    browser.keep(browser.approvals.forget(browser.request, [theirs[0].grant]))
    assert not browser.knows(asks("key 4"), ALICE)
    browser.keep(browser.approvals.forget(browser.request, [each.grant for each in theirs]))
    assert browser.approvals.listed(browser.request, ALICE) == []
    others = browser.approvals.listed(browser.request, bob)
    assert len(others) == MAX_APPROVALS / 2
    browser.keep(browser.approvals.forget(browser.request, [each.grant for each in others]))
    assert browser.cookie == ""


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"a": 1},
        {"a": None},
        {"a": ["text"]},
        {"a": [["a", "b", "c"]]},
        {"a": [["a", "b", "c", "d"]]},
        {"a": [["a", "b", 1, 2]]},
        {"a": [["a", "b", True, "d"]]},
        {"a": [["a", "b", 1, "d", "e"]]},
        {"a": {"b": 1}},
    ],
)
def test_a_cookie_of_another_release_holds_none(content: dict[str, Any]) -> None:
    browser = Browser()
    browser.cookie = f"{JAR.name_of('apps')}={browser.sealer.seal(content, NOW + 60)}"
    assert browser.approvals.listed(browser.request, ALICE) == []
    assert not browser.knows(asks(), ALICE)
    browser.allow(asks(), ALICE)
    assert browser.knows(asks(), ALICE)


def test_an_id_that_names_no_grant_counts_for_nothing() -> None:
    browser = Browser()
    browser.allow(asks(), ALICE)
    text = browser.cookie.partition("=")[2]
    content = browser.sealer.open(text)
    assert content is not None
    content["a"][0][3] = "no id"
    browser.cookie = f"{JAR.name_of('apps')}={browser.sealer.seal(content, NOW + 60)}"
    assert not browser.knows(asks(), ALICE)


@given(st.text("eyJhbGci.OiJkaXIi_-A9", max_size=120))
def test_nothing_that_the_gate_has_not_sealed_is_an_approval(text: str) -> None:
    browser = Browser()
    browser.cookie = f"{JAR.name_of('apps')}={text}"
    assert not browser.knows(asks(), ALICE)
