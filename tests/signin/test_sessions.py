"""Sessions: what the cookie holds, for how long, and that nothing but the gate's own cookie opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.identity.matches import Key, keys_of
from gatehouse.identity.subject import Subject, subject_of
from gatehouse.signin.cookies import Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import MAX_SECONDS, Sealer
from gatehouse.signin.sessions import PURPOSE, BrowserSessions, UnfitSubjectError
from gatehouse.signin.visitor import Visitor
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from pathlib import Path

HUB, CLIENT, SECRET = "https://huggingface.co", "client", b"a secret of the tests, long enough"
START = 1_764_000_000.0
ALICE = {
    "sub": "5f3c0a9b1e4d2c7a8b9c0d1e",
    "preferred_username": "alice",
    "email": "alice@example.com",
    "email_verified": True,
    "orgs": [{"sub": "1234", "preferred_username": "cooks"}],
}


class Browser:
    """A gate's sessions, and a browser that keeps what it is told to keep."""

    def __init__(
        self,
        *,
        issuer: str = HUB,
        client: str = CLIENT,
        secret: bytes = SECRET,
        file: Path | None = None,
        secure: bool = True,
        orgs: frozenset[str] = frozenset(),
    ) -> None:
        self.now = START
        self.sealer = Sealer(secret, PURPOSE, bound_to=[issuer, client], clock=lambda: self.now)
        self.sessions = BrowserSessions(
            self.sealer,
            Jar(secure=secure),
            Ended(file, clock=lambda: self.now),
            issuer=issuer,
            orgs=lambda: orgs,
            clock=lambda: self.now,
        )
        self.field = b""

    def sign_in(self, **changes: Any) -> bytes:
        """Begin a session; the cookie as the browser sends it back."""
        _, self.field = self.sessions.begin(person(**changes))
        return self.field.partition(b";")[0]

    def find(self, *cookies: bytes) -> Visitor | None:
        fields = [(b"Cookie", each) for each in cookies]
        return self.sessions.find(request_of(fields, method="GET", target=b"/dashboard"))

    def visitor(self, *cookies: bytes) -> Visitor:
        found = self.find(*cookies)
        assert found is not None
        return found


def person(issuer: str = HUB, **changes: Any) -> Subject:
    return subject_of("person", {**ALICE, **changes}, issuer=issuer, expires=START + 600)


def test_who_has_signed_in_is_found_with_all_facts_by_which_lists_know_them() -> None:
    browser = Browser()
    cookie = browser.sign_in()
    found, signed_in = browser.visitor(cookie), person()
    assert found.id == signed_in.id
    assert found.name == "person:alice@example.com"
    assert found.until == found.subject.expires == START + MAX_SECONDS
    assert set(keys_of(found.subject)) == set(keys_of(signed_in))
    assert browser.visitor(b"theme=dark; " + cookie) == found


def test_the_cookie_is_small_and_for_this_host_alone() -> None:
    browser = Browser()
    cookie = browser.sign_in()
    assert cookie.startswith(b"__Host-gate-session=")
    assert browser.field.endswith(b"; Max-Age=28800; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert len(cookie) < 420
    bare = browser.sign_in(preferred_username="", email="", orgs=[])
    assert len(bare) < 300


def test_a_session_is_over_after_8_hours_however_often_it_is_used() -> None:
    browser = Browser()
    cookie = browser.sign_in()
    for hour in range(8):
        browser.now = START + 3600 * hour
        assert browser.find(cookie)
    browser.now = START + MAX_SECONDS
    assert browser.find(cookie) is None


@pytest.mark.parametrize(
    "other",
    [
        {"issuer": "https://accounts.example"},
        {"client": "another"},
        {"secret": b"another secret, just as long as it"},
    ],
)
def test_a_session_counts_for_the_configuration_that_began_it_only(other: dict[str, Any]) -> None:
    cookie = Browser().sign_in()
    assert Browser().find(cookie), "the same one, after a restart"
    assert Browser(**other).find(cookie) is None


def test_a_sealed_sign_in_is_no_session() -> None:
    browser = Browser()
    login = Sealer(SECRET, "login", bound_to=[HUB, CLIENT], clock=lambda: START)
    text = login.seal({"i": "1-" + "x" * 22, "s": "alice", "n": "person:alice"}, START + 60)
    assert browser.find(b"__Host-gate-session=" + text.encode()) is None
    cookie = browser.sign_in()
    assert browser.find(cookie.replace(b"session=", b"login=")) is None
    assert browser.find(cookie, cookie) is None


GOOD = {"i": "1764000000000-" + "x" * 22, "s": "alice", "n": "person:alice"}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**GOOD, "i": "x"},
        {**GOOD, "i": 5},
        {**GOOD, "s": None},
        {**GOOD, "s": 7},
        {**GOOD, "n": []},
        {**GOOD, "o": 5},
        {**GOOD, "o": [["cooks"]]},
        {**GOOD, "e": {"a": 1}},
    ],
)
def test_content_of_another_release_opens_nothing(content: dict[str, Any]) -> None:
    browser = Browser()
    whole = browser.sealer.seal(GOOD, START + 60).encode()
    assert browser.visitor(b"__Host-gate-session=" + whole).subject.sub == "alice"
    text = browser.sealer.seal(content, START + 60).encode()
    assert browser.find(b"__Host-gate-session=" + text) is None


@pytest.mark.parametrize(
    "subject",
    [
        person("https://accounts.example"),
        subject_of("oauth", ALICE, issuer=HUB, expires=START),
        subject_of("person", {"client_id": "cron"}, issuer=HUB, expires=START),
        person(sub="x" * 256),
        person(sub=""),
    ],
)
def test_no_session_begins_for_anybody_but_a_person_of_this_provider(subject: Subject) -> None:
    with pytest.raises(UnfitSubjectError):
        Browser().sessions.begin(subject)


LONG = ["\x00" * 255, "🍋" * 255, "\ud800" * 255, "x" * 255, "x" * 9999]


@given(
    sub=st.text(min_size=1, max_size=20) | st.sampled_from(LONG[:4]),
    name=st.text(max_size=20) | st.sampled_from(LONG),
    email=st.text(max_size=20) | st.sampled_from(LONG),
    orgs=st.lists(st.sampled_from(LONG) | st.text(max_size=5), max_size=20),
)
def test_the_cookie_fits_whatever_the_provider_says(
    sub: str, name: str, email: str, orgs: list[str]
) -> None:
    browser = Browser()
    cookie = browser.sign_in(sub=sub, preferred_username=name, email=email, orgs=orgs)
    assert len(browser.field) <= 4096
    found = browser.visitor(cookie)
    whole = person(sub=sub, preferred_username=name, email=email, orgs=orgs)
    assert found.id == whole.id
    assert found.subject.username in {"", name}
    assert found.subject.email in {"", email}
    assert found.subject.orgs <= whole.orgs
    nobody = Key("username")  # no match asks for it
    assert {*keys_of(found.subject)} - {nobody} <= {*keys_of(whole)}


def test_organisations_that_a_list_names_have_a_place_before_all_others() -> None:
    many = [f"organisation-with-a-long-name-{number:04}" for number in range(99)]
    browser = Browser(orgs=frozenset({many[70], "z" * 200}))
    found = browser.visitor(browser.sign_in(orgs=[*many, "z" * 200]))
    assert {many[70], "z" * 200} < found.subject.orgs
    assert 20 < len(found.subject.orgs) < 100
    assert len(browser.field) <= 4096


async def test_sign_out_ends_this_session_and_everywhere_ends_all(tmp_path: Path) -> None:
    file = tmp_path / "state"
    browser = Browser(file=file)
    phone, laptop, of_bob = browser.sign_in(), browser.sign_in(), browser.sign_in(sub="bob")
    assert await browser.sessions.end(browser.visitor(phone)) is True
    assert browser.find(phone) is None
    assert browser.find(laptop)
    assert await browser.sessions.end_all(browser.visitor(laptop).id) is True
    again = browser.sign_in()
    for each in (browser, Browser(file=file)):
        assert each.find(phone) is None
        assert each.find(laptop) is None
        assert each.find(of_bob)
        assert each.find(again)


async def test_without_a_file_the_end_holds_and_is_not_said_to_last() -> None:
    browser = Browser()
    cookie = browser.sign_in()
    assert await browser.sessions.end(browser.visitor(cookie)) is False
    assert browser.find(cookie) is None
    assert browser.sessions.forget()[1].startswith(b"__Host-gate-session=; Max-Age=0;")


async def test_one_whom_the_front_vouches_for_has_no_session_to_end() -> None:
    assert await Browser().sessions.end(Visitor(person())) is True


def test_over_http_on_loopback_it_works_without_the_prefix() -> None:
    browser = Browser(secure=False)
    cookie = browser.sign_in()
    assert cookie.startswith(b"gate-session=")
    assert browser.find(cookie)
    assert Browser().find(cookie) is None
