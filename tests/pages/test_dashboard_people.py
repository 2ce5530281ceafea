"""The page of people: who came, by which ways, what they hold, and the end of all that they have open."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.apps.client import Client
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.downstream.exchange import Exchange
from gatehouse.downstream.in_flight import InFlight
from gatehouse.identity.arrivals import Arrivals
from gatehouse.identity.people import People
from gatehouse.identity.principal import Principal
from gatehouse.identity.subject import Subject, subject_of
from gatehouse.pages.dashboard import people as page
from gatehouse.pages.dashboard.people import PeoplePage
from gatehouse.policy.sessions import Sessions
from gatehouse.signin.ended import Ended
from tests.harness.dashboard import Browser, Meanwhile
from tests.harness.request_of import LIMITS, request_of

if TYPE_CHECKING:
    from pathlib import Path

    from gatehouse.apps.grant import Grant
    from tests.harness.dashboard import Answer

ISSUER = "https://issuer.example"
PATH = "/dashboard/people"
ODD = '<img src=x onerror="alert(1)">\u202e\x1b'


def person(name: str, kind: Any = "oauth", **claims: Any) -> Subject:
    told = {"sub": f"{name}-1", "preferred_username": name, "client_id": "an-app", **claims}
    return subject_of(kind, told, issuer=ISSUER, expires=9e9)


def key_of(subject: Subject) -> str:
    return subject.id.partition(":")[2]


async def nothing(*_: Any) -> Any:
    """The client sends nothing."""
    raise AssertionError


class Known:
    """People who came, what they hold, and a browser before their page."""

    def __init__(self, *names: str, by_session: bool = True, **more: Any) -> None:
        self.arrivals, self.people, self.ledger = Arrivals(), People(names), Sessions()
        self.in_flight = InFlight(lambda _: True, upstream="up:1", grace_seconds=1)
        self.ended: list[str] = []
        self.lasts = True
        self.page = PeoplePage(
            self.arrivals,
            self.people,
            ledger=self.ledger,
            in_flight=self.in_flight,
            lets_in=lambda subject: self.people.find(subject) is not None,
            is_admin=lambda subject: subject.username == "alice",
            end_browsers=self.end_browsers if by_session else None,
            **more,
        )
        self.browser = Browser(
            {b"/dashboard/people": self.page.show}, {b"/dashboard/people/end": self.page.end}
        )

    async def end_browsers(self, who: str) -> bool:
        self.ended.append(who)
        return self.lasts

    def comes(self, subject: Subject, now: float) -> None:
        self.arrivals.admitted(
            Principal(subject.id, subject.shown, kind=subject.kind, subject=subject), now
        )

    def holds(self, subject: Subject, *, stream: bool = False) -> Exchange:
        """One request of theirs is in flight."""
        exchange = Exchange(request_of([], method="POST"), nothing, nothing, LIMITS, {})
        exchange.is_from(subject.id, subject.shown, "header")
        exchange.carries_events = stream
        self.in_flight.add(exchange)
        return exchange

    async def end(self, key: str) -> Answer:
        return await self.browser.post(f"{PATH}/end", {"person": key})


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("gatehouse.identity.arrivals.clock", lambda: 1e9)
    monkeypatch.setattr("time.time", lambda: 1e9)
    return 1e9


async def test_without_anybody_the_page_says_so() -> None:
    answer = await Known().browser.get(PATH)
    assert answer.status == 200
    assert "Nobody has come in by a sign-in yet." in answer.words
    assert '<form method="post" action="/dashboard/people/end"' not in answer.text


async def test_one_person_is_one_line_with_all_ways_and_all_that_they_hold(now: float) -> None:
    known = Known("alice")
    alice, bob = person("alice", orgs=["acme"]), person("bob")
    known.comes(alice, now - 120)
    known.arrivals.signed_in(replace(alice, kind="person", shown="person:alice"))
    known.comes(bob, now - 7200)
    await known.ledger.opened(b"1", alice.id)
    known.holds(alice, stream=True)
    known.holds(alice)
    words = (await known.browser.get(PATH)).words
    assert "2 people and machines" in words
    assert (
        "alice admin signed in here ( 0 seconds ago ) access token ( 2 minutes ago ) "
        f"from {ISSUER} Facts sub alice-1 User name alice" in words
    )
    assert "1 session, 1 stream, 1 request yes End all" in words
    assert "Organisations acme" in words
    assert "bob access token" in words
    assert "2 hours ago nothing no End all" in words
    assert words.index("alice admin") < words.index("bob access token")


async def test_names_that_somebody_chose_are_text(now: float) -> None:
    known = Known()
    known.comes(person(ODD, sub=ODD, client_id=ODD), now)
    answer = await known.browser.get(PATH)
    assert "<img" not in answer.text
    assert "&lt;img src=x" in answer.text
    assert not any(each in answer.text for each in "\u202e\x1b")
    assert "\\u202e" in answer.text
    assert (await known.browser.get(f"{PATH}?find=%3Cimg")).text.count(
        '<form method="post" action="/dashboard/people/end"'
    ) == 1


async def test_a_machine_is_marked_and_named_by_its_client_id(now: float) -> None:
    known = Known()
    known.comes(subject_of("oauth", {"client_id": "cron"}, issuer=ISSUER, expires=9e9), now)
    words = (await known.browser.get(PATH)).words
    assert "cron machine access token" in words
    assert "Client id cron" in words


async def test_a_page_has_a_bound_and_all_others_are_found(
    now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_ROWS", 2)
    known = Known()
    for number, name in enumerate(("ann", "ben", "cat", "dan")):
        known.comes(person(name), now - number)
    answer = await known.browser.get(PATH)
    assert "These are the 2 who were here last." in answer.words
    assert "ann" in answer.words
    assert "cat" not in answer.words
    found = await known.browser.get(f"{PATH}?find=CAT")
    assert "Found: 1 of 4" in found.words
    assert "cat-1" in found.words
    assert 'value="CAT"' in found.text
    nobody = await known.browser.get(f"{PATH}?find=%22%3E%3Cscript%3E{'x' * 500}%00%ff")
    assert "Nobody of that name came in." in nobody.words
    assert "<script>x" not in nobody.text


async def test_ending_ends_all_of_one_person_by_every_way_and_nothing_of_others(
    now: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    known = Known("alice", "bob")
    alice, bob = person("alice"), person("bob")
    for who in (alice, bob):
        known.comes(who, now)
        await known.ledger.opened(who.sub.encode(), who.id)
    front = replace(alice, kind="front", shown="front:alice")
    await known.ledger.opened(b"through the front", front.id)
    mine = [known.holds(alice, stream=True), known.holds(front)]
    theirs = known.holds(bob, stream=True)
    answer = await known.end(key_of(alice))
    assert (answer.status, answer.one(b"Location")) == (303, b"/dashboard/people")
    assert known.ended == [f"person:{key_of(alice)}"]
    assert [each.ending for each in mine] == [True, True]
    assert not theirs.ending
    assert (known.ledger.number_of(bob.id), known.ledger.known) == (1, 1)
    said = (await known.browser.get(PATH)).words
    assert (
        "Ended for alice: sessions: 2, requests in flight: 2, and every session in a browser. They may come again"
        in said
    )
    (line,) = [each.getMessage() for each in caplog.records if each.name == "gate.dashboard"]
    assert line == (
        "person:alice ended all that oauth:alice had open: sessions 2, requests in flight 2, and every session in a browser"
    )
    assert "Ended for" not in (await known.browser.get(PATH)).words


async def test_an_end_that_a_restart_would_forget_is_told(now: float) -> None:
    known = Known("bob")
    known.lasts = False
    known.comes(person("alice"), now)
    await known.end(key_of(person("alice")))
    said = (await known.browser.get(PATH)).words
    assert "A restart of the gate would forget" in said
    assert "They may come again" not in said


@pytest.mark.parametrize("key", ["", "x", "0" * 32, "../" * 10, "oauth:" + "0" * 32, "0" * 33])
async def test_nobody_is_ended_by_a_made_up_key(now: float, key: str) -> None:
    known = Known()
    known.comes(person("alice"), now)
    held = known.holds(person("alice"))
    await known.end(key)
    assert not held.ending
    assert known.ended == []
    page = await known.browser.get(PATH)
    assert "Nothing was done" in page.words
    assert '<p class="notice warn"' in page.text


async def test_the_page_says_how_to_keep_somebody_out(now: float) -> None:
    listed, unlisted = Known("alice"), Known(by_session=False, several_gates=True)
    words = (await listed.browser.get(PATH)).words
    assert "first take them off the list" in words
    assert "end them there" not in words
    assert "Several gates" not in words
    words = (await unlisted.browser.get(PATH)).words
    assert "There is no list of people" in words
    assert "Sessions in browsers are the front's: end them there." in words
    assert "Several gates share their state." in words
    unlisted.comes(person("alice"), now)
    await unlisted.end(key_of(person("alice")))
    assert "browser" not in (await unlisted.browser.get(PATH)).words.partition("People Those")[0]


async def test_where_people_only_sign_in_nothing_is_said_of_issuers_and_fronts() -> None:
    words = (await Known(signed_in_only=True).browser.get("/dashboard/people")).words
    assert "may sign in again" in words
    assert "There is no list of people" not in words
    assert "front" not in words.partition("How far an end goes")[2]
    assert "issuer" not in words.partition("How far an end goes")[2]


async def test_no_call_waits_for_the_list_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    known, meanwhile = Known("alice"), Meanwhile()
    known.comes(person("alice"), time.time())
    monkeypatch.setattr(known.people, "find", lambda _: meanwhile.wait())
    await meanwhile.beside(partial(known.browser.get, "/dashboard/people"))


@pytest.mark.parametrize("lasts", [True, False])
async def test_whoever_ends_their_own_sessions_reads_it_where_they_sign_in_again(
    now: float, *, lasts: bool
) -> None:
    known = Known()
    known.lasts = lasts
    me = person("alice", "person", sub="alice")
    known.comes(me, now)
    answer = await known.end(key_of(me))
    assert known.ended == [me.id]
    word = b"bye-everywhere" if lasts else b"bye-everywhere-in-memory"
    assert answer.one(b"Location") == b"/dashboard?" + word


class LetIn:
    """Lets apps in."""

    def __init__(self, path: Path | None = None) -> None:
        self.grants = Grants(Ended(path, ENDED_GRANTS), path, lambda: None)

    def __call__(self, who: Subject, app: str) -> Grant:
        client = Client(f"https://{app}.example", app, ("https://x.example/cb",))
        return self.grants.new(who, client, to="x.example", scopes=(), resource="https://g/mcp")


async def test_a_person_is_shown_with_their_apps_and_the_end_of_all_revokes_them(
    now: float, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    let_in = LetIn(tmp_path / "state")
    known = Known("alice", "bob", grants=let_in.grants, signed_in_only=True)
    alice, bob = person("alice", "person"), person("bob", "person")
    theirs = [let_in(alice, "Claude"), let_in(alice, "Inspector")]
    other = let_in(bob, "Claude")
    for who in (theirs[0].person, bob):
        known.comes(who, now)
    page = await known.browser.get(PATH)
    assert "2 people Name" in page.words
    assert "alice admin an app from" in page.words
    assert f'<a href="/dashboard/apps?person={key_of(alice)}">2 apps' in page.text
    assert "It also revokes all apps of that person" in page.words
    assert "may sign in again, and let apps in" in page.words
    await known.end(key_of(alice))
    assert [let_in.grants.has_ended(each) for each in (*theirs, other)] == [True, True, False]
    said = (await known.browser.get(PATH)).words
    assert "and every session in a browser, and all apps. They may come again" in said
    assert "would forget" not in said
    assert "in flight 0, and every session in a browser, and all apps" in caplog.text


async def test_an_end_of_apps_that_a_restart_would_forget_is_told(now: float) -> None:
    let_in = LetIn()
    known = Known(grants=let_in.grants)
    known.comes(let_in(person("alice", "person"), "Claude").person, now)
    for lasts, words in ((True, "of apps."), (False, "of those in browsers and of apps.")):
        known.lasts = lasts
        await known.end(key_of(person("alice")))
        said = (await known.browser.get(PATH)).words
        assert f"A restart of the gate would forget the end {words}" in said


async def test_apps_are_revoked_before_what_they_have_open_is_ended(
    now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_in = LetIn()
    known = Known(grants=let_in.grants)
    grant = let_in(person("alice", "person"), "Claude")
    known.comes(grant.person, now)
    seen: list[bool] = []
    held = known.holds(grant.person)
    end = known.in_flight.end_all

    def end_all(principal: str) -> int:
        seen.append(let_in.grants.has_ended(grant))
        return end(principal)

    monkeypatch.setattr(known.in_flight, "end_all", end_all)
    await known.end(key_of(grant.person))
    assert held.ending
    assert all(seen)
