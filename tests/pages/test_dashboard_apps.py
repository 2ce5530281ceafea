"""The page of apps: which app of whom is let in, that everybody but an admin sees and ends their own alone, and what an end
leaves behind.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.apps.approvals import APPROVAL_SECONDS, Approvals
from gatehouse.apps.authorization import AuthorizationRequest
from gatehouse.apps.client import Client
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.pages.dashboard import apps as page
from gatehouse.pages.dashboard.apps import AppsPage
from gatehouse.signin.cookies import Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer
from tests.harness.dashboard import Browser, Meanwhile, person
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gatehouse.apps.grant import Grant, KnownGrant
    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.signin.visitor import Visitor
    from tests.harness.dashboard import Answer

PATH = "/dashboard/apps"
SECRET = b"a secret of the tests, long enough"
ODD = '<img src=x onerror="alert(1)">\u202e\x1b'
ENDS = re.compile(r'name="grant" value="([^"]+)"')


class Place:
    """Grants, their page, two others for admins, and a browser before them, which keeps the cookie of approvals. Alice is an
    admin, and bob may sign in.
    """

    def __init__(self, state: Path | None = None, **more: Any) -> None:
        self.grants = Grants(Ended(state, ENDED_GRANTS), state, lambda: None)
        self.sealer = Sealer(SECRET, "apps", max_seconds=APPROVAL_SECONDS)
        self.approvals = Approvals(self.sealer, Jar(secure=True), self.grants)
        self.cookie = b""
        self.page = AppsPage(self.grants, self.approvals, **more)
        views = {
            b"/dashboard": self.home,
            b"/dashboard/tokens": self.home,
            b"/dashboard/apps": self.page.show,
        }
        self.made = 0
        self.browser = Browser(views, {**self.page.actions, b"/dashboard/tokens/make": self.make})

    async def home(self, visit: Visit) -> Reply:
        return await visit.page("notice.html", title="Home", words="x", link=("y", "/dashboard"))

    async def make(self, visit: Visit, _: Form) -> Reply:
        self.made += 1
        return visit.see("/dashboard/tokens")

    def let_in(
        self, who: Visitor, app: str = "Claude", to: str = "claude.ai", *scopes: str
    ) -> Grant:
        client = Client(f"https://{app}.example/{len(self.grants.all())}", app, ("https://x/cb",))
        grant = self.grants.new(who.subject, client, to=to, scopes=scopes, resource="https://g/mcp")
        self.grants.used(grant, "203.0.113.7")
        return grant

    def remember(self, who: Visitor, app: str) -> Grant:
        """The same, and the browser remembers the yes."""
        grant = self.let_in(who, app)
        uri = "https://x.example/cb"
        asked = AuthorizationRequest(
            "id", grant.client, app, "", uri, "s", "c", "https://g/mcp", ""
        )
        request = request_of(self.cookies, method="GET")
        self.keep([self.approvals.remember(request, who.subject, asked, grant)])
        return grant

    @property
    def cookies(self) -> list[tuple[bytes, bytes]]:
        return [(b"Cookie", self.cookie)] if self.cookie else []

    def keep(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in fields:
            if name == b"Set-Cookie":
                pair, _, attributes = value.partition(b";")
                self.cookie = b"" if b"Max-Age=0;" in attributes else pair

    async def seen_by(self, name: str, target: str = PATH) -> Answer:
        self.browser.people.who_comes = person(name)
        return await self.browser.get(target, *self.cookies)

    async def send(self, action: str, **fields: str | list[str]) -> Answer:
        answer = await self.browser.post(f"{PATH}/{action}", fields, *self.cookies)
        self.keep(answer.reply.headers)
        return answer

    async def end(self, grant: Grant) -> Answer:
        return await self.send("end", grant=grant.id)

    async def end_all(self, who: Visitor) -> Answer:
        return await self.send("end-all", person=who.id.partition(":")[2])

    def remembered(self, who: Visitor) -> list[str]:
        """The grants by which apps of that person come in without a question."""
        request = request_of(self.cookies, method="GET")
        return [each.grant for each in self.approvals.listed(request, who.subject)]


ALICE, BOB, CAROL = person("alice"), person("bob"), person("carol")


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "gate.dashboard"]


# The page


async def test_an_admin_sees_whose_app_it_is_where_its_answers_go_and_from_where_it_came_last() -> (
    None
):
    place = Place()
    place.let_in(BOB, "Claude", "claude.ai", "read", "write")
    place.let_in(ALICE, "Inspector", "this computer")
    answer = await place.seen_by("alice")
    assert answer.status == 200
    assert "2 apps" in answer.words
    assert "Claude claude.ai bob 0 seconds ago for read write" in answer.words
    assert "Inspector this computer alice 0 seconds ago 0 seconds ago from 203.0.113.7" in (
        answer.words
    )
    assert "which nobody has verified" in answer.words
    assert '<nav aria-label="Dashboard">' in answer.text


async def test_somebody_who_may_sign_in_sees_their_own_apps_and_no_way_to_other_pages() -> None:
    place = Place()
    own = place.let_in(BOB, "Claude")
    place.let_in(ALICE, "Inspector")
    key = ALICE.id.partition(":")[2]
    for target in (PATH, f"{PATH}?person={key}", f"{PATH}?find=alice", f"{PATH}?find=Inspector"):
        answer = await place.seen_by("bob", target)
        assert answer.status == 200
        assert "Inspector" not in re.sub(r'value="Inspector"', "", answer.text)
        assert key not in answer.text
        assert "<nav" not in answer.text
    answer = await place.seen_by("bob")
    assert "1 app" in answer.words
    assert ENDS.findall(answer.text) == [own.id]


async def test_without_apps_the_page_says_so_to_everybody_in_their_words() -> None:
    place = Place()
    assert "Nobody has let an app in." in (await place.seen_by("alice")).words
    assert "You have let no app in." in (await place.seen_by("bob")).words


@pytest.mark.parametrize("target", [PATH, f"{PATH}?person=x", f"{PATH}/end"])
async def test_somebody_who_may_not_sign_in_any_more_sees_nothing(target: str) -> None:
    place = Place()
    place.let_in(CAROL)
    answer = await place.seen_by("carol", target)
    assert answer.status in {303, 403}
    assert "Claude" not in answer.text
    assert "Your apps" not in answer.text


async def test_whoever_may_sign_in_and_open_nothing_else_is_led_to_their_apps() -> None:
    place = Place()
    answer = await place.seen_by("bob", "/dashboard")
    assert (answer.status, answer.one(b"Location")) == (303, PATH.encode())
    answer = await place.seen_by("bob", "/dashboard/tokens")
    assert answer.status == 403
    assert '<a class="button main" href="/dashboard/apps">Your apps</a>' in answer.text
    for target in ("/dashboard", "/dashboard/tokens"):
        answer = await place.seen_by("carol", target)
        assert answer.status == 403
        assert "Your apps" not in answer.text


async def test_the_button_of_another_page_is_for_admins_alone() -> None:
    place = Place()
    for name, status, made in (("bob", 403, 0), ("carol", 403, 0), ("alice", 303, 1)):
        place.browser.people.who_comes = person(name)
        assert (await place.browser.post("/dashboard/tokens/make")).status == status
        assert place.made == made


async def test_the_sign_in_before_the_page_says_whom_it_is_for_and_leads_back() -> None:
    place = Place()
    place.browser.people.who_comes = None
    answer = await place.browser.get(PATH)
    assert answer.status == 401
    assert 'href="/dashboard/sign-in?to=/dashboard/apps"' in answer.text
    assert "and for those who have let an app in" in answer.words


async def test_what_an_app_says_of_itself_is_text() -> None:
    place = Place()
    place.let_in(BOB, ODD, ODD)
    answer = await place.seen_by("alice")
    assert "<img" not in answer.text
    assert "<bdi>&lt;img src=x" in answer.text
    assert not any(each in answer.text for each in "\u202e\x1b")
    place.let_in(BOB, "", "claude.ai")
    assert "Revoke the app without a name of bob" in (await place.seen_by("alice")).text


async def test_an_app_that_has_not_come_yet_is_no_app_of_now() -> None:
    place = Place()
    client = Client("https://x.example/", "Waiting", ("https://x.example/cb",))
    place.grants.new(BOB.subject, client, to="x.example", scopes=(), resource="https://g/mcp")
    assert "Waiting x.example bob 0 seconds ago not yet" in (await place.seen_by("alice")).words


async def test_a_page_has_a_bound_and_all_others_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_ROWS", 2)
    place = Place()
    for app in ("One", "Two", "Three"):
        place.let_in(BOB, app)
    place.let_in(ALICE, "Four")
    answer = await place.seen_by("alice")
    assert "These are the 2 used last." in answer.words
    assert len(ENDS.findall(answer.text)) == 2
    found = await place.seen_by("alice", f"{PATH}?find=oNe")
    assert "Found: 1 of 4" in found.words
    assert 'value="oNe"' in found.text
    of_bob = re.findall(r'href="(/dashboard/apps\?person=[0-9a-f]+)">bob<', found.text)
    theirs = await place.seen_by("alice", f"{of_bob[0]}&find=t")
    assert "Found: 2 of 3 of bob" in theirs.words
    nobody = await place.seen_by("alice", f"{PATH}?find=%22%3E%3Cscript%3E{'x' * 500}%00%ff")
    assert "No app of that name is let in." in nobody.words
    assert "<script>x" not in nobody.text


async def test_no_call_waits_for_the_list_of_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    place, meanwhile = Place(), Meanwhile()

    def all_grants() -> list[KnownGrant]:
        meanwhile.wait()
        return []

    monkeypatch.setattr(place.grants, "all", all_grants)
    await meanwhile.beside(partial(place.browser.get, PATH))


# The end


async def test_one_app_is_revoked_and_no_other_and_the_log_says_by_whom(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    place = Place(tmp_path / "state")
    one, other, foreign = place.let_in(BOB, "One"), place.let_in(BOB, "Two"), place.let_in(ALICE)
    await place.seen_by("bob")
    answer = await place.end(one)
    assert (answer.status, answer.one(b"Location")) == (303, PATH.encode())
    assert [place.grants.has_ended(each) for each in (one, other, foreign)] == [True, False, False]
    words = (await place.browser.get(PATH)).words
    assert "«One» of bob is revoked." in words
    assert "would forget" not in words
    assert lines_of(caplog) == ["person:bob revoked an app of oauth:bob, which calls itself 'One'"]
    assert one.id not in caplog.text
    assert "is revoked." not in (await place.browser.get(PATH)).words


async def test_an_end_that_a_restart_would_forget_is_told() -> None:
    place = Place()
    grant = place.let_in(BOB)
    await place.end(grant)
    assert "A restart of the gate would forget that." in (await place.seen_by("alice")).words
    place.let_in(BOB)
    await place.end_all(BOB)
    assert "A restart of the gate would forget that." in (await place.seen_by("alice")).words


async def test_all_apps_of_one_person_are_revoked_and_nobody_elses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    place = Place()
    theirs, other = [place.let_in(BOB, app) for app in ("One", "Two")], place.let_in(ALICE)
    listed = await place.seen_by("alice")
    assert "Revoke all" not in listed.words
    link = re.findall(r'href="(/dashboard/apps\?person=[0-9a-f]+)">bob<', listed.text)[0]
    assert "Revoke all of bob" in (await place.seen_by("alice", link)).words
    await place.end_all(BOB)
    assert all(map(place.grants.has_ended, theirs))
    assert not place.grants.has_ended(other)
    assert "All apps of bob are revoked." in (await place.browser.get(PATH)).words
    assert lines_of(caplog) == ["person:alice revoked all apps of oauth:bob: 2"]


async def test_whoever_lost_the_list_with_the_disk_can_still_end_all_of_their_own() -> None:
    before, now = Place(), Place()
    forgotten = before.let_in(BOB)
    assert "Revoke all Really" in (await now.seen_by("bob")).words
    await now.end_all(BOB)
    assert now.grants.has_ended(forgotten)
    now.grants.used(forgotten, "203.0.113.7")
    assert now.grants.all() == []


async def test_nobody_but_an_admin_ends_an_app_of_somebody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Place()
    grant = place.let_in(ALICE)
    for name in ("bob", "carol"):
        place.browser.people.who_comes = person(name)
        await place.end(grant)
        await place.end_all(ALICE)
        assert not place.grants.has_ended(grant)
    assert "Nothing was done." in (await place.seen_by("bob")).words
    assert "revoked" not in caplog.text
    place.browser.people.who_comes = ALICE
    await place.end(grant)
    assert place.grants.has_ended(grant)


@pytest.mark.parametrize("key", ["", "x", "0" * 32, "0" * 33, "%00", "oauth:" + "0" * 32])
async def test_a_made_up_key_ends_nothing(key: str) -> None:
    place = Place()
    grant = place.let_in(BOB)
    for action, name in (("end", "grant"), ("end-all", "person")):
        await place.browser.post(f"{PATH}/{action}", {name: key})
        shown = await place.browser.get(PATH)
        assert "Nothing was done." in shown.words
        assert '<p class="notice warn"' in shown.text
    assert not place.grants.has_ended(grant)


async def test_a_form_of_another_session_or_another_site_revokes_nothing() -> None:
    place = Place()
    grant = place.let_in(BOB)
    place.browser.people.who_comes = BOB
    old = {"grant": grant.id, "form_token": "of another session"}
    foreign = (b"Sec-Fetch-Site", b"cross-site")
    answers = [
        await place.browser.post(f"{PATH}/end", old),
        await place.browser.send("POST", f"{PATH}/end", [(b"Host", b"gate.example"), foreign]),
        await place.browser.get(f"{PATH}/end?grant={grant.id}"),
    ]
    assert [each.status for each in answers] == [403, 403, 303]
    assert not place.grants.has_ended(grant)


# The browser that remembers


async def test_whoever_was_asked_in_this_browser_sees_it_and_can_be_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    place = Place()
    assert "Without a question" not in (await place.seen_by("bob")).words
    claude, inspector = place.remember(BOB, "Claude"), place.remember(BOB, "Inspector")
    of_alice = place.remember(ALICE, "Agent")
    words = (await place.seen_by("bob")).words.partition("Without a question in this browser")[2]
    assert "Claude claude.ai 0 seconds ago Ask again" in words
    assert "Inspector" in words
    assert "Agent" not in words
    answer = await place.send("forget", grant=claude.id)
    assert (answer.status, answer.one(b"Location")) == (303, PATH.encode())
    assert place.remembered(BOB) == [inspector.id]
    assert not place.grants.has_ended(claude)
    assert "you will be asked before it comes in again" in (await place.seen_by("bob")).words
    assert lines_of(caplog) == ["person:bob had a browser forget that apps may come in again"]
    again = place.remember(BOB, "Claude")
    await place.send("forget", grant=[inspector.id, again.id, of_alice.id])
    assert place.remembered(BOB) == []
    assert place.remembered(ALICE) == [of_alice.id]  # another person's yes is not theirs


async def test_whoever_is_not_remembered_is_told_that_nothing_was_done() -> None:
    place = Place()
    of_alice = place.remember(ALICE, "Agent")
    place.browser.people.who_comes = BOB
    for grant in (of_alice.id, "", "x"):
        assert (await place.send("forget", grant=grant)).all(b"Set-Cookie") == []
        assert "Nothing was done." in (await place.seen_by("bob")).words
    assert place.remembered(ALICE) == [of_alice.id]


async def test_a_browser_forgets_an_app_that_is_revoked_in_it() -> None:
    place = Place()
    claude, inspector = place.remember(BOB, "Claude"), place.remember(BOB, "Inspector")
    of_alice = place.remember(ALICE, "Agent")
    await place.seen_by("bob")
    await place.end(claude)
    forgetful = Approvals(place.sealer, Jar(secure=True), Place().grants)
    request = request_of(place.cookies, method="GET")
    assert [each.grant for each in forgetful.listed(request, BOB.subject)] == [inspector.id]
    await place.end_all(BOB)
    request = request_of(place.cookies, method="GET")
    assert forgetful.listed(request, BOB.subject) == []
    assert place.remembered(ALICE) == [of_alice.id]


async def test_a_gate_that_has_lost_its_disk_still_shows_that_a_browser_remembers() -> None:
    before, now = Place(), Place()
    grant = before.remember(BOB, "Claude")
    now.cookie = before.cookie
    answer = await now.seen_by("bob")
    assert "not known any more not known any more 0 seconds ago Ask again" in answer.words
    await now.send("forget", grant=grant.id)
    assert now.cookie == b""


async def test_the_page_tells_of_other_gates_where_there_are_some() -> None:
    assert "reaches all gates" in (await Place(several_gates=True).seen_by("bob")).words
    assert "gates" not in (await Place().seen_by("bob")).words
