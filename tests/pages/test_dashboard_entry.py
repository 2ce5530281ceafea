"""Signing in and out at the dashboard: who gets a session, where everybody else ends, and that no stranger makes the
gate ask its provider without end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from gatehouse.http.asked import Asked
from gatehouse.identity.rate import Rate
from gatehouse.pages.dashboard.entry import COSTLY, OF_PROVIDER
from gatehouse.policy.failures import Failures
from gatehouse.signin.cookies import Jar
from gatehouse.signin.provider import Provider
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sign_in import SignIn
from tests.harness.dashboard import Browser, person
from tests.harness.identity.paper_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    METADATA,
    ORIGIN,
    TOKEN,
    PaperProvider,
    unix_time,
)
from tests.harness.identity.questions import down

if TYPE_CHECKING:
    from trio.testing import MockClock

    from gatehouse.http.reply import Reply
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.signin.visitor import Visitor
    from tests.harness.dashboard import Answer

JAR = Jar(secure=True)
SEALER = Sealer(b"a secret of the tests, long enough", "login", clock=unix_time)
ALICE = "alice-0001"
FORGET = JAR.delete("session")[1]
FAILS = Rate(3, 60, 3)


@dataclass
class Begun:
    """Sessions that only say that they were begun and ended."""

    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    on_disk: bool = True

    def begin(self, subject: Subject) -> tuple[bytes, bytes]:
        if subject.sub == "unfit":
            raise ValueError("no session for them")
        self.begun.append(subject.sub)
        return JAR.write("session", f"session-of-{subject.sub}", 60)

    def forget(self) -> tuple[bytes, bytes]:
        return JAR.delete("session")

    async def end(self, visitor: Visitor) -> bool:
        self.ended.append(visitor.session)
        return self.on_disk

    async def end_all(self, person: str) -> bool:
        self.ended.append(person)
        return self.on_disk


class Place:
    """A dashboard with a provider without sockets, and a browser before both."""

    def __init__(self, paper: PaperProvider | None = None, rate: Rate | None = None) -> None:
        self.paper = paper or PaperProvider()
        self.sessions = Begun()
        self.browser = Browser({b"/dashboard": self.home, b"/dashboard/tokens": self.home})
        self.browser.people.who_comes = None
        self.browser.people.admins = {ALICE}
        provider = Provider(self.paper.ask, ISSUER, CLIENT_ID, CLIENT_SECRET, clock=unix_time)
        sign_in = SignIn(provider, SEALER, JAR, origin=ORIGIN, clock=unix_time)
        self.browser.signs_in(sign_in, self.sessions, Failures(rate))

    async def home(self, visit: Visit) -> Reply:
        return await visit.page("notice.html", title="Home", words="x", link=("y", "/dashboard"))

    async def begin(self, to: str = "/dashboard/tokens") -> tuple[str, bytes]:
        """The query with which the provider sends back, and the cookie that the browser keeps."""
        answer = await self.browser.get(f"/dashboard/sign-in?to={to}")
        assert answer.status == 303
        query = self.paper.sends_back(answer.one(b"Location").decode())
        return query.decode(), answer.one(b"Set-Cookie").partition(b";")[0]

    async def come_back(self, query: str, *cookies: bytes) -> Answer:
        fields = [(b"Cookie", b"; ".join(cookies))] if cookies else []
        return await self.browser.get(f"/dashboard/callback?{query}", *fields)

    async def sign_in(self) -> Answer:
        return await self.come_back(*await self.begin())


def assert_ends_here(answer: Answer) -> None:
    """One page, one link, and nothing that goes on by itself."""
    assert answer.text.count("<a ") == 1
    assert 'href="/dashboard/sign-in?to=/dashboard' in answer.text
    assert answer.all(b"Location") == answer.all(b"Refresh") == []
    assert "<script" not in answer.text
    assert "http-equiv" not in answer.text
    assert answer.one(b"X-Frame-Options") == b"DENY"


# In


async def test_a_person_on_the_list_gets_a_session_and_goes_to_where_they_were(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    answer = await place.sign_in()
    assert (answer.status, answer.one(b"Location")) == (303, b"/dashboard/tokens")
    session, login = sorted(answer.all(b"Set-Cookie"), reverse=True)
    assert session.startswith(b"__Host-gate-session=session-of-alice-0001; ")
    assert login == JAR.delete("login")[1]
    assert answer.one(b"Cache-Control") == b"no-store"
    assert place.sessions.begun == place.browser.came == [ALICE]
    assert [entry.getMessage() for entry in caplog.records] == [f"{answer.exchange.name} signed in"]


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example", "/mcp", "/dashboard/../mcp", "", "%0d%0aX:y"]
)
async def test_nobody_is_led_away_from_the_dashboard(autojump_clock: MockClock, to: str) -> None:
    place = Place()
    query, cookie = await place.begin(to)
    assert (await place.come_back(query, cookie)).one(b"Location") == b"/dashboard"


async def test_somebody_who_may_come_in_as_a_person_gets_a_session_and_nobody_else_does(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    paper = PaperProvider()
    place = Place(paper)
    paper.person = {**paper.person, "sub": "bob"}
    paper.changes["id_token"] = {"sub": "bob"}
    assert (await place.sign_in()).status == 303
    paper.person = {**paper.person, "sub": "carol"}
    paper.changes["id_token"] = {"sub": "carol"}
    answer = await place.sign_in()
    assert answer.status == 403
    assert "not on their list" in answer.words
    assert FORGET in answer.all(b"Set-Cookie")
    assert place.sessions.begun == ["bob"]
    told = caplog.records[-1].getMessage()
    assert told.endswith(" signed in and was turned away: not on the list (sub:carol)")
    paper.person = {**paper.person, "sub": "unfit"}
    paper.changes["id_token"] = {"sub": "unfit"}
    place.browser.people.admins.add("unfit")
    assert_ends_here(await place.sign_in())
    assert place.sessions.begun == place.browser.came == ["bob"]


async def test_who_is_signed_in_goes_on_and_who_is_not_on_the_list_may_be_somebody_else(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    place.browser.people.who_comes = person(ALICE)
    answer = await place.browser.get("/dashboard/sign-in?to=/dashboard/tokens")
    assert (answer.one(b"Location"), answer.all(b"Set-Cookie")) == (b"/dashboard/tokens", [])
    place.browser.people.who_comes = person("carol")
    answer = await place.browser.get("/dashboard/sign-in?to=/dashboard/tokens")
    assert answer.one(b"Location").startswith(ISSUER.encode())


async def test_whom_the_front_names_is_led_to_no_sign_in_that_the_front_would_go_before(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    place.browser.people.who_comes = person("carol", kind="front")
    answer = await place.browser.get("/dashboard")
    assert answer.status == 403
    assert "not on their list" in answer.words
    assert "/dashboard/sign-in" not in answer.text


# A sign-in that fails


async def test_each_failure_ends_on_one_page_that_says_why_and_what_to_do(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    query, cookie = await place.begin()
    state = query.partition("state=")[2]
    for asked, cookies, status, reason in (
        ("", [], 400, "callback"),
        (query, [], 400, "no-login"),
        ("code=x&state=y", [cookie], 400, "state"),
        (f"error=access_denied&state={state}", [cookie], 403, "denied"),
        (query, [cookie], 400, "used"),
    ):
        answer = await place.come_back(asked, *cookies)
        assert (answer.status, answer.reply.reason) == (status, reason)
        assert_ends_here(answer)
        is_known = reason in {"denied", "used"}
        assert ('?to=/dashboard/tokens"' in answer.text) is is_known
        assert caplog.records[-1].getMessage() == f"a sign-in from 192.0.2.7 failed: {reason}"
    assert place.sessions.begun == []


async def test_a_page_that_brings_somebody_to_the_callback_ends_no_session_of_theirs(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    for query in ("", "code=x&state=y", "error=access_denied&state=y"):
        assert (await place.come_back(query, b"__Host-gate-session=x")).all(b"Set-Cookie") == []


@pytest.mark.parametrize("url", [METADATA, TOKEN])
async def test_a_provider_that_does_not_answer_is_a_503_and_the_person_has_no_part_in_it(
    autojump_clock: MockClock, url: str
) -> None:
    place = Place(PaperProvider(instead={url: down}), FAILS)
    for _ in range(5):
        answer = await place.browser.get("/dashboard/sign-in")
        if answer.status == 303:
            query = place.paper.sends_back(answer.one(b"Location").decode())
            cookie = answer.one(b"Set-Cookie").partition(b";")[0]
            answer = await place.come_back(query.decode(), cookie)
        assert answer.status == 503
        assert answer.one(b"Retry-After") == b"30"
        assert_ends_here(answer)
    assert answer.reply.reason in OF_PROVIDER


async def test_whoever_has_the_provider_asked_in_vain_too_often_waits_and_nobody_else(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider(instead={TOKEN: Asked(400, [], {"error": "invalid_grant"})})
    place = Place(paper, FAILS)
    statuses = []
    for _ in range(8):
        answer = await place.browser.get("/dashboard/sign-in")
        if answer.status == 303:
            query = paper.sends_back(answer.one(b"Location").decode()).decode()
            cookie = answer.one(b"Set-Cookie").partition(b";")[0]
            answer = await place.come_back(query, cookie)
        statuses.append(answer.status)
        assert_ends_here(answer)
    assert "code-refused" in COSTLY
    assert statuses == [400] * 4 + [429] * 4
    assert int(answer.one(b"Retry-After")) > 0
    assert paper.asked(TOKEN) == 4


async def test_no_web_page_can_make_its_visitors_wait(autojump_clock: MockClock) -> None:
    place = Place(rate=FAILS)
    for _ in range(10):
        for query in ("", "code=x&state=y", "error=access_denied&state=y"):
            assert (await place.come_back(query)).status == 400
    assert (await place.sign_in()).status == 303


# Out


async def test_a_person_signs_out_here_or_everywhere_and_the_next_page_says_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for path, said, ended in (
        ("sign-out", "You are signed out.", f"session-of-{ALICE}"),
        ("sign-out-everywhere", "in this browser and in all others", person(ALICE).id),
    ):
        place = Place()
        place.browser.people.who_comes = person(ALICE)
        answer = await place.browser.post(f"/dashboard/{path}")
        assert answer.status == 303
        assert answer.all(b"Set-Cookie") == [FORGET]
        assert place.sessions.ended == [ended]
        assert f"person:{ALICE} signed out" in caplog.records[-1].getMessage()
        place.browser.people.who_comes = None
        shown = await place.browser.get(answer.one(b"Location").decode())
        assert shown.status == 401
        assert said in shown.words


async def test_who_signs_out_hears_that_a_restart_would_forget_it(
    autojump_clock: MockClock,
) -> None:
    for path in ("sign-out", "sign-out-everywhere"):
        place = Place()
        place.sessions.on_disk = False
        place.browser.people.who_comes = person(ALICE)
        answer = await place.browser.post(f"/dashboard/{path}")
        assert answer.all(b"Set-Cookie") == [FORGET]
        place.browser.people.who_comes = None
        page = await place.browser.get(answer.one(b"Location").decode())
        assert "You are signed out" in page.text
        assert "could not write this to its disk" in page.text


async def test_somebody_off_the_list_can_sign_out_and_a_session_that_is_over_already_is_no_fault(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    place.browser.people.who_comes = person("carol")
    assert (await place.browser.post("/dashboard/sign-out")).status == 303
    assert place.sessions.ended == ["session-of-carol"]
    place.browser.people.who_comes = None
    answer = await place.browser.post("/dashboard/sign-out")
    assert (answer.status, answer.all(b"Set-Cookie")) == (303, [FORGET])
    assert len(place.sessions.ended) == 1


async def test_nobody_else_can_sign_somebody_out(autojump_clock: MockClock) -> None:
    place = Place()
    place.browser.people.who_comes = person(ALICE)
    for path in ("/dashboard/sign-out", "/dashboard/sign-out-everywhere"):
        link = await place.browser.get(path)
        assert (link.status, link.one(b"Location")) == (303, b"/dashboard")
        for fields in ([(b"Origin", b"https://evil.example")], [(b"Sec-Fetch-Site", b"same-site")]):
            assert (await place.browser.post(path, {}, *fields)).status == 403
        assert (await place.browser.post(path, {"form_token": "guessed"})).status == 403
    assert place.sessions.ended == []


async def test_a_person_of_the_front_has_no_session_to_end(autojump_clock: MockClock) -> None:
    place = Place()
    place.browser.people.who_comes = person(ALICE, kind="front")
    answer = await place.browser.post("/dashboard/sign-out")
    assert (answer.status, answer.one(b"Location")) == (303, b"/dashboard")
    assert place.sessions.ended == []


async def test_the_words_of_the_sign_in_page_are_its_own(autojump_clock: MockClock) -> None:
    place = Place()
    for query in ("You+are+hacked", "bye%20", "said=x", "bye&x"):
        assert "notice good" not in (await place.browser.get(f"/dashboard?{query}")).text
