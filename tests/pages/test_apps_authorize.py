"""The way of an app's request: what a person sees, what the app hears, and that nobody else can answer for them."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gatehouse.apps.approvals import APPROVAL_SECONDS, Approvals
from gatehouse.apps.authorization import AuthorizationRequests
from gatehouse.apps.client import Client
from gatehouse.apps.clients import ClientError
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.downstream.exchange import Exchange
from gatehouse.http.reply import Reply
from gatehouse.http.request import read_request
from gatehouse.identity.rate import Rate
from gatehouse.pages.apps.authorize import RATE, AuthorizePage
from gatehouse.pages.apps.consent import PURPOSE, Consent
from gatehouse.policy.failures import Failures
from gatehouse.signin.cookies import Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.provider import Provider
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sessions import BrowserSessions
from gatehouse.signin.sign_in import SignIn
from tests.harness.dashboard import HOST, ORIGIN, Answer, Browser
from tests.harness.identity.paper_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    TOKEN,
    PaperProvider,
    unix_time,
)
from tests.harness.identity.questions import down
from tests.harness.request_of import LIMITS, scope_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatehouse.apps.clients import Clients
    from gatehouse.apps.grant import Grant
    from gatehouse.apps.tokens import Tokens
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Unknown
    from gatehouse.signin.visitor import Visitor

RESOURCE = f"{ORIGIN}/mcp"
WEB = "https://app.example/callback"
LOCAL = "http://127.0.0.1:33418/callback"
SECRET = b"a secret of the tests, long enough"
JAR = Jar(secure=True)
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
EVIL = "</q><b>\N{RIGHT-TO-LEFT OVERRIDE}Claude (verified by Example)"
APPS = {
    client.id: client
    for client in (
        Client("web", "The app", (WEB,)),
        Client("https://app.example/client.json", "The app", (WEB, LOCAL), "app.example"),
        Client("evil", EVIL, ("https://evil.example/cb",)),
        Client("nameless", "", (LOCAL, "cursor://callback")),
    )
}


class PaperClients:
    def __init__(self) -> None:
        self.people: list[str] = []
        """For whom each client was looked for; empty for strangers."""

    async def find(self, client_id: str, address: str, person: str = "") -> Client:
        assert address
        self.people.append(person)
        if client_id not in APPS:
            raise ClientError("Nobody knows this app.")
        return APPS[client_id]


class PaperCodes:
    """Codes that only say that there is one, and what for."""

    def __init__(self) -> None:
        self.made: list[tuple[Grant, str, str]] = []

    def code(self, grant: Grant, *, redirect_uri: str, challenge: str) -> str:
        self.made.append((grant, redirect_uri, challenge))
        return f"code-{len(self.made)}"


class SessionsOnly:
    """Visitors by their sessions: who knows them is the dashboard's own part, with people that a test chooses."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def who(self, request: Request) -> Visitor | Unknown | None:
        return self._place.sessions.find(request)


class Place:
    """A gate where people let apps in, a provider without sockets, and a browser that keeps cookies before both."""

    def __init__(self, scopes: Sequence[str] = (), rate: Rate | None = None) -> None:
        self.paper = PaperProvider()
        self.codes = PaperCodes()
        self.clients = PaperClients()
        self.cookies: dict[str, str] = {}
        self.browser = Browser({b"/dashboard": self.no_page})
        self.people = self.browser.people
        self.people.admins = {"alice-0001"}
        ended = Ended(None, clock=unix_time)
        self.sessions = BrowserSessions(
            self.sealer("session"), JAR, ended, issuer=ISSUER, clock=unix_time
        )
        self.people.who = SessionsOnly(self).who  # type: ignore[method-assign]
        provider = Provider(self.paper.ask, ISSUER, CLIENT_ID, CLIENT_SECRET, clock=unix_time)
        sign_in = SignIn(provider, self.sealer("login"), JAR, origin=ORIGIN, clock=unix_time)
        entry = self.browser.signs_in(sign_in, self.sessions, Failures(rate))
        ends = Ended(None, ENDED_GRANTS, clock=unix_time)
        self.grants = Grants(ends, None, lambda: None, clock=unix_time)
        self.page = AuthorizePage(
            requests=AuthorizationRequests(
                cast("Clients", self.clients), (RESOURCE, f"{RESOURCE}/"), lambda: scopes
            ),
            approvals=Approvals(
                self.sealer("apps", APPROVAL_SECONDS), JAR, self.grants, clock=unix_time
            ),
            grants=self.grants,
            codes=cast("Tokens", self.codes),
            sessions=self.sessions,
            people=self.people,
            door=self.browser.door,
            notices=self.browser.shell.notices,
            consent=Consent(
                self.browser.shell.templates,
                self.sealer(PURPOSE),
                provider="Example",
                clock=unix_time,
            ),
            to_provider=entry.to_provider,
            jar=JAR,
            issuer=ORIGIN,
        )

    @staticmethod
    def sealer(purpose: str, seconds: float = 8 * 3600.0) -> Sealer:
        return Sealer(SECRET, purpose, max_seconds=seconds, clock=unix_time)

    async def no_page(self, _: object) -> Reply:
        raise AssertionError

    async def send(
        self,
        target: str,
        *fields: tuple[bytes, bytes],
        method: str = "GET",
        body: bytes = b"",
        host: tuple[bytes, bytes] = HOST,
    ) -> Answer:
        """Send a request with the cookies that the browser has, and keep those that come."""
        cookies = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        sent = [host, *fields, *([(b"Cookie", cookies.encode())] if cookies else [])]
        length = [(b"Content-Length", b"%d" % len(body))] if body else []
        scope = scope_of([*sent, *length], method=method, target=target.encode())

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            raise AssertionError(message)

        request = read_request(cast("Any", scope), LIMITS)
        exchange = Exchange(request, receive, send, LIMITS, {})
        page = self.page.paths.get(request.path, self.browser.dashboard)
        answer = Answer(await page(exchange), exchange)
        for value in answer.all(b"Set-Cookie"):
            pair, _, attributes = value.decode().partition(";")
            name, _, text = pair.partition("=")
            self.cookies.pop(name, None)
            if "Max-Age=0;" not in attributes:
                self.cookies[name] = text
        return answer

    async def asks(self, **changes: str | None) -> Answer:
        """An app sends the browser here."""
        return await self.send(f"/authorize?{query(**changes)}")

    async def signs_in(self, answer: Answer, *, who: str = "alice-0001") -> Answer:
        """Go on from an answer that leads to the provider, sign in there, and come back."""
        self.paper.person = {**self.paper.person, "sub": who}
        self.paper.changes["id_token"] = {"sub": who}
        back = self.paper.sends_back(answer.one(b"Location").decode())
        return await self.send(f"/dashboard/callback?{back.decode()}")

    async def signed_in(self, who: str = "alice-0001") -> Place:
        """Somebody has signed in before, for the dashboard."""
        await self.signs_in(await self.send("/dashboard/sign-in?to=/authorize/resume"), who=who)
        return self

    async def decides(
        self, page: Answer, decision: str, *fields: tuple[bytes, bytes], **changes: str
    ) -> Answer:
        """Press a button of the page."""
        form = {**hidden(page), "decision": decision, **changes}
        own = [
            (b"Origin", ORIGIN.encode()),
            (b"Sec-Fetch-Site", b"same-origin"),
            (b"Content-Type", b"application/x-www-form-urlencoded"),
        ]
        names = {name for name, _ in fields}
        return await self.send(
            "/authorize/decide",
            *[pair for pair in own if pair[0] not in names],
            *fields,
            method="POST",
            body=urlencode(form).encode(),
        )


def query(**changes: str | None) -> str:
    proper = {
        "response_type": "code",
        "client_id": "web",
        "redirect_uri": WEB,
        "state": "the state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": RESOURCE,
    }
    return urlencode({name: text for name, text in {**proper, **changes}.items() if text})


def hidden(page: Answer) -> dict[str, str]:
    """The hidden fields of the form that decides."""
    form = re.search(r'(?s)<form method="post" action="/authorize/decide".*?</form>', page.text)
    assert form is not None, page.words
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0]))


def heard(answer: Answer, place: str = WEB) -> dict[str, str]:
    """The parameters that the app at that place hears."""
    assert answer.status == 303
    location = answer.one(b"Location").decode()
    assert location.startswith(place + "?")
    assert answer.one(b"Referrer-Policy") == b"no-referrer"
    assert answer.one(b"Cache-Control") == b"no-store"
    told = dict(parse_qsl(urlsplit(location).query))
    assert told.pop("iss") == ORIGIN
    return told


def assert_ends_here(answer: Answer, status: int, reason: str) -> None:
    """A page that leads to no app, and is in no frame."""
    assert (answer.status, answer.reply.reason) == (status, reason)
    assert answer.all(b"Location") == answer.all(b"Refresh") == []
    assert "<script" not in answer.text
    assert "<h1>" in answer.text
    assert answer.one(b"X-Frame-Options") == b"DENY"
    assert b"form-action 'self';" in answer.one(b"Content-Security-Policy")


# The whole way


async def test_somebody_without_a_session_signs_in_is_asked_and_lets_the_app_in(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    answer = await place.asks()
    assert answer.one(b"Location").startswith(ISSUER.encode())
    answer = await place.signs_in(answer)
    assert answer.one(b"Location") == b"/authorize/resume"
    page = await place.send("/authorize/resume")
    assert page.status == 200
    answer = await place.decides(page, "allow")
    assert heard(answer) == {"code": "code-1", "state": "the state"}
    ((grant, redirect_uri, challenge),) = place.codes.made
    assert (redirect_uri, challenge) == (WEB, CHALLENGE)
    assert (grant.app, grant.resource, grant.scopes) == ("The app", RESOURCE, ())
    assert (grant.person.sub, grant.person.kind) == ("alice-0001", "oauth")
    assert grant.client == APPS["web"].key
    assert set(place.cookies) == {"__Host-gate-session", "__Host-gate-apps"}
    log = caplog.text
    assert "let in an app that calls itself 'The app' and answers to" in log
    assert not [secret for secret in ("code-1", "the state", CHALLENGE) if secret in log]


async def test_somebody_with_a_session_is_asked_at_once_and_may_say_no(
    autojump_clock: MockClock,
) -> None:
    place = await Place().signed_in()
    page = await place.asks()
    assert page.status == 200
    told = heard(await place.decides(page, "deny"))
    assert (told.pop("error"), told.pop("state")) == ("access_denied", "the state")
    assert told.keys() == {"error_description"}
    assert place.codes.made == []
    assert (await place.asks()).status == 200


async def test_the_page_says_who_asks_where_the_answer_goes_and_whom_it_knows(
    autojump_clock: MockClock,
) -> None:
    place = await Place(scopes=("read", "write")).signed_in()
    page = await place.asks(client_id="https://app.example/client.json", scope="write")
    words = page.words
    for part in (
        "app.example",
        "“The app”" if "“" in words else "The app",
        "not verified",
        "signed in with Example",
        "FoodWise",
        "write",
        "90 days",
    ):
        assert part in words
    assert "read" not in re.findall(r"<code>(\w+)</code>", page.text)
    assert "Sign out" in words
    assert "Any program there" not in words
    page = await place.asks(client_id="https://app.example/client.json", redirect_uri=LOCAL)
    assert "Any program there can pose as this app" in page.words
    page = await place.asks(client_id="nameless", redirect_uri="cursor://callback")
    assert "It does not say" in page.words


async def test_the_name_of_an_app_is_text_in_a_place_of_its_own(autojump_clock: MockClock) -> None:
    place = await Place().signed_in()
    page = await place.asks(client_id="evil", redirect_uri="https://evil.example/cb")
    assert "<b>" not in page.text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
    assert page.text.count("verified by Example") == 1
    (shown,) = re.findall(r"<dd><q><bdi>(.*?)</bdi></q></dd>", page.text)
    assert unescape(shown) == EVIL.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\\u202e")
    assert page.text.index("evil.example") < page.text.index("verified by Example")


@pytest.mark.parametrize(
    ("client", "redirect_uri"),
    [("web", WEB), ("nameless", LOCAL), ("nameless", "cursor://callback")],
)
async def test_the_answer_to_the_form_may_lead_to_the_app_and_the_page_stands_in_no_frame(
    autojump_clock: MockClock, client: str, redirect_uri: str
) -> None:
    place = await Place().signed_in()
    page = await place.asks(client_id=client, redirect_uri=redirect_uri)
    policy = page.one(b"Content-Security-Policy")
    # Chromium would ask it at each step on which the app's own server leads on.
    assert b"form-action" not in policy
    assert policy.startswith(b"default-src 'none'; script-src 'nonce-")
    assert b"frame-ancestors 'none'" in policy
    assert b"base-uri 'none'" in policy
    assert page.one(b"X-Frame-Options") == b"DENY"
    assert page.one(b"Cache-Control") == b"no-store"
    assert page.one(b"Referrer-Policy") == b"same-origin"
    assert page.one(b"Cross-Origin-Opener-Policy") == b"unsafe-none"
    assert heard(await place.decides(page, "allow"), redirect_uri)["code"] == "code-1"


async def test_a_window_that_an_apps_page_has_opened_is_found_again_all_the_way(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    answers = [await place.asks()]
    answers.append(await place.signs_in(answers[0]))
    answers.append(await place.send("/authorize/resume"))
    answers.append(await place.decides(answers[-1], "allow"))
    for answer in answers:
        assert answer.one(b"Cross-Origin-Opener-Policy") == b"unsafe-none"
    place.cookies.clear()
    answer = await place.send("/dashboard/sign-in")
    assert (await place.signs_in(answer)).one(b"Cross-Origin-Opener-Policy") == b"same-origin"


# Requests that cannot be trusted, and faults


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "unknown"},
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
async def test_a_request_that_cannot_be_trusted_gets_a_page_with_a_session_or_without(
    autojump_clock: MockClock, changes: dict[str, str | None]
) -> None:
    for place in (Place(), await Place().signed_in()):
        answer = await place.asks(**changes, response_type="token")
        assert_ends_here(answer, 400, answer.reply.reason)
        assert answer.all(b"Set-Cookie") == []
        assert "evil" not in answer.text


async def test_a_fault_goes_back_to_the_app_but_leads_nobody_away_who_has_not_signed_in(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    answer = await place.asks(response_type="token")
    assert answer.one(b"Location").startswith(ISSUER.encode())
    await place.signs_in(answer)
    told = heard(await place.send("/authorize/resume"))
    assert (told["error"], told["state"]) == ("unsupported_response_type", "the state")
    assert heard(await place.asks(resource=None))["error"] == "invalid_target"
    assert "state" not in heard(await place.asks(state=None))


async def test_a_fault_goes_back_at_once_to_a_place_on_this_computer(
    autojump_clock: MockClock,
) -> None:
    for uri in (LOCAL, "cursor://callback"):
        answer = await Place().asks(client_id="nameless", redirect_uri=uri, code_challenge="x")
        assert heard(answer, uri)["error"] == "invalid_request"


@given(st.text(max_size=60))
def test_no_query_of_anybody_makes_the_page_fail_or_leads_anywhere(text: str) -> None:
    async def main() -> None:
        place = Place()
        for target in (f"/authorize?{urlencode({'x': text})}", f"/authorize?{query(state=text)}"):
            answer = await place.send(target)
            if answer.status == 303:
                assert answer.one(b"Location").startswith(ISSUER.encode())
            else:
                assert answer.status == 400

    trio.run(main, clock=MockClock(autojump_threshold=0))


# The one answer to a question


async def test_only_the_session_that_has_seen_the_page_can_answer_it_and_only_once(
    autojump_clock: MockClock,
) -> None:
    place = await Place().signed_in()
    page = await place.asks()
    other = await Place().signed_in("bob")
    theirs = await other.asks()
    # One's own form token with another's request, and the other way around.
    stolen = hidden(page)["request"]
    assert_ends_here(await other.decides(theirs, "allow", request=stolen), 400, "old-form")
    answer = await other.decides(page, "allow")
    assert_ends_here(answer, 403, "old-form")
    assert other.codes.made == []
    again = await Place().signed_in()
    assert_ends_here(
        await again.decides(await again.asks(), "allow", request=stolen), 400, "old-form"
    )
    assert heard(await place.decides(page, "allow"))["code"] == "code-1"
    for decision in ("allow", "deny"):
        assert_ends_here(await place.decides(page, decision), 400, "app-answered")
    assert len(place.codes.made) == 1


async def test_a_request_that_waited_for_a_sign_in_is_answered_once_too(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    await place.signs_in(await place.asks())
    waits = place.cookies["__Host-gate-asked"]
    assert heard(await place.decides(await place.send("/authorize/resume"), "allow"))
    assert_ends_here(await place.send("/authorize/resume"), 400, "app-none")
    place.cookies["__Host-gate-asked"] = waits
    assert_ends_here(await place.send("/authorize/resume"), 400, "app-answered")
    # The seal of a waiting request is no form, and that of a form no waiting request.
    page = await place.asks(
        redirect_uri=WEB, scope="x", client_id="https://app.example/client.json"
    )
    assert_ends_here(await place.decides(page, "allow", request=waits), 400, "old-form")
    place.cookies["__Host-gate-asked"] = hidden(page)["request"]
    assert_ends_here(await place.send("/authorize/resume"), 400, "app-none")


async def test_a_page_and_a_waiting_request_are_good_for_ten_minutes(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    answer = await place.asks()
    await trio.sleep(590)
    await place.signs_in(answer)
    page = await place.send("/authorize/resume")
    await trio.sleep(15)
    assert_ends_here(await place.send("/authorize/resume"), 400, "app-none")
    await trio.sleep(590)
    assert_ends_here(await place.decides(page, "allow"), 400, "old-form")
    assert place.codes.made == []


@pytest.mark.parametrize(
    "field",
    [
        (b"Origin", b"https://evil.example"),
        (b"Origin", b"null"),
        (b"Sec-Fetch-Site", b"cross-site"),
        (b"Sec-Fetch-Site", b"same-site"),
    ],
)
async def test_no_other_page_answers_for_somebody(
    autojump_clock: MockClock, field: tuple[bytes, bytes]
) -> None:
    place = await Place().signed_in()
    page = await place.asks()
    assert_ends_here(await place.decides(page, "allow", field), 403, "foreign-form")
    for changes in ({"form_token": "guessed"}, {"form_token": ""}):
        assert_ends_here(await place.decides(page, "allow", **changes), 403, "old-form")
    for changes in ({"request": "junk"}, {"request": ""}, {"decision": "yes"}, {"decision": ""}):
        assert_ends_here(
            await place.decides(page, **{"decision": "allow", **changes}), 400, "old-form"
        )
    assert place.codes.made == []
    assert place.grants.all() == []


async def test_whoever_is_signed_out_meanwhile_lets_nobody_in(autojump_clock: MockClock) -> None:
    place = await Place().signed_in()
    page = await place.asks()
    session = place.cookies.pop("__Host-gate-session")
    answer = await place.decides(page, "allow")
    assert_ends_here(answer, 401, "signed-out")
    place.cookies["__Host-gate-session"] = session
    await place.send(
        "/dashboard/sign-out",
        (b"Origin", ORIGIN.encode()),
        (b"Content-Type", b"application/x-www-form-urlencoded"),
        method="POST",
        body=urlencode({"form_token": hidden(page)["form_token"]}).encode(),
    )
    place.cookies["__Host-gate-session"] = session
    assert_ends_here(await place.decides(page, "allow"), 401, "signed-out")
    assert place.codes.made == []


async def test_somebody_who_is_not_among_the_people_gets_a_page_at_every_step(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    answer = await place.signs_in(await place.asks(), who="carol")
    assert answer.status == 403
    assert "The app cannot come in by you" in answer.words
    assert 'href="/dashboard/sign-in?to=/authorize/resume"' in answer.text
    assert place.cookies.keys() == {"__Host-gate-asked"}
    # Taken off the list while a page is open.
    place = await Place().signed_in()
    page = await place.asks()
    place.people.admins = set()
    for answer in (
        await place.decides(page, "allow"),
        await place.asks(),
        await place.asks(response_type="token"),
    ):
        assert_ends_here(answer, 403, "people")
        assert "/dashboard/sign-out" in answer.text
    assert place.codes.made == []
    assert "was turned away with an app: not among the people (sub:alice-0001)" in caplog.text


async def test_somebody_who_signs_in_as_somebody_else_goes_on_with_the_same_request(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    await place.signs_in(await place.asks(), who="carol")
    answer = await place.send("/dashboard/sign-in?to=/authorize/resume")
    assert (await place.signs_in(answer)).one(b"Location") == b"/authorize/resume"
    page = await place.send("/authorize/resume")
    assert heard(await place.decides(page, "allow"))["state"] == "the state"


async def test_a_sign_in_that_fails_leads_back_to_the_request(autojump_clock: MockClock) -> None:
    place = Place(rate=Rate(3, 60, 3))
    await place.asks()
    place.paper.instead[TOKEN] = down
    answer = await place.signs_in(await place.asks())
    assert answer.status == 503
    assert 'href="/dashboard/sign-in?to=/authorize/resume"' in answer.text
    assert (await place.send("/authorize/resume")).status == 401
    del place.paper.instead[TOKEN]
    await place.signs_in(await place.send("/dashboard/sign-in?to=/authorize/resume"))
    assert (await place.send("/authorize/resume")).status == 200


# Apps that were let in before


async def test_an_app_that_was_let_in_comes_again_without_a_question_in_this_browser_only(
    autojump_clock: MockClock,
) -> None:
    place = await Place().signed_in()
    heard(await place.decides(await place.asks(), "allow"))
    assert heard(await place.asks(state="another")) == {"code": "code-2", "state": "another"}
    assert (
        await place.asks(client_id="evil", redirect_uri="https://evil.example/cb")
    ).status == 200
    other = await Place().signed_in()
    assert (await other.asks()).status == 200
    # After a sign-in, too; and its request is answered once.
    del place.cookies["__Host-gate-session"]
    await place.signs_in(await place.asks())
    waits = place.cookies["__Host-gate-asked"]
    assert heard(await place.send("/authorize/resume"))["code"] == "code-3"
    place.cookies["__Host-gate-asked"] = waits
    assert_ends_here(await place.send("/authorize/resume"), 400, "app-answered")
    await place.grants.end(place.codes.made[-1][0])
    assert (await place.asks()).status == 200


@pytest.mark.parametrize(
    "field",
    [
        (b"Sec-Fetch-Dest", b"iframe"),
        (b"Sec-Fetch-Dest", b"empty"),
        (b"Sec-Purpose", b"prefetch;prerender"),
    ],
)
async def test_no_app_comes_again_without_a_question_where_nobody_sees_it(
    autojump_clock: MockClock, field: tuple[bytes, bytes]
) -> None:
    place = await Place().signed_in()
    heard(await place.decides(await place.asks(), "allow"))
    answer = await place.send(f"/authorize?{query()}", field)
    assert (answer.status, answer.one(b"X-Frame-Options")) == (200, b"DENY")
    assert len(place.codes.made) == 1
    seen = await place.send(f"/authorize?{query()}", (b"Sec-Fetch-Dest", b"document"))
    assert heard(seen)["code"] == "code-2"


async def test_a_client_that_many_people_share_is_asked_about_each_time(
    autojump_clock: MockClock,
) -> None:
    place = await Place().signed_in()
    for there in (LOCAL, WEB):
        known = {"client_id": "https://app.example/client.json", "redirect_uri": there}
        for _ in range(2):
            heard(await place.decides(await place.asks(**known), "allow"), there)
    own = {"client_id": "nameless", "redirect_uri": LOCAL}
    heard(await place.decides(await place.asks(**own), "allow"), LOCAL)
    assert heard(await place.asks(**own), LOCAL)


# Methods, names, rates


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        (path, method, allowed)
        for path, allowed in (
            ("/authorize", b"GET"),
            ("/authorize/resume", b"GET"),
            ("/authorize/decide", b"POST"),
        )
        for method in ("HEAD", "POST", "GET", "OPTIONS", "PUT")
        if method.encode() != allowed
    ],
)
async def test_other_methods_do_nothing(
    autojump_clock: MockClock, path: str, method: str, allowed: bytes
) -> None:
    place = await Place().signed_in()
    heard(await place.decides(await place.asks(), "allow"))
    answer = await place.send(f"{path}?{query()}", method=method)
    assert (answer.status, answer.one(b"Allow")) == (405, allowed)
    assert answer.all(b"Set-Cookie") == answer.all(b"Access-Control-Allow-Origin") == []
    assert len(place.codes.made) == 1


async def test_another_name_of_the_gate_leads_to_its_own_with_the_request(
    autojump_clock: MockClock,
) -> None:
    place = Place()
    asked = query(state="a+b %2F&")
    answer = await place.send(f"/authorize?{asked}", host=(b"Host", b"other.example"))
    location = answer.one(b"Location").decode()
    assert location == f"{ORIGIN}/authorize?{asked}&at=public"
    assert answer.all(b"Set-Cookie") == []
    answer = await place.send(location.removeprefix(ORIGIN), host=(b"Host", b"other.example"))
    assert answer.one(b"Location").startswith(ISSUER.encode())
    answer = await place.send(f"/authorize?{asked}", host=(b"Host", b"evil.example"))
    assert answer.status == 421


async def test_one_address_asks_so_often_and_nobody_who_is_signed_in_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    place = await Place().signed_in()
    session = place.cookies.copy()
    place.cookies.clear()
    statuses = [(await place.asks(client_id="unknown")).status for _ in range(RATE.burst + 20)]
    assert statuses.count(429) >= 19
    answer = await place.asks()
    assert_ends_here(answer, 429, "app-rate")
    assert int(answer.one(b"Retry-After")) >= 1
    place.cookies = session
    place.clients.people.clear()
    assert (await place.asks()).status == 200
    (person,) = place.clients.people
    assert person.startswith("person:"), "nor for what strangers have fetched"


async def test_a_fault_of_ours_shows_nothing(autojump_clock: MockClock) -> None:
    place = await Place().signed_in()
    page = await place.asks()
    place.codes.code = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        await place.decides(page, "allow")
