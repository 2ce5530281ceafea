"""The shell of the dashboard: who sees a page, which form changes something, and what every answer says to browsers."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.http import refusals
from gatehouse.http.reply import json_reply
from gatehouse.identity.principal import Unknown
from gatehouse.pages import dashboard as package
from gatehouse.pages.dashboard.forms import MAX_FIELDS, MAX_FORM_BYTES, BadFormError, parse_form
from gatehouse.pages.dashboard.visit import Said, Sayings
from tests.harness.dashboard import HOST, ORIGIN, Browser, person

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Visit
    from tests.harness.dashboard import Answer

TEMPLATES = sorted((Path(package.__path__[0]) / "templates").glob("*.html"))
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
OURS = (b"Origin", ORIGIN.encode())


class Done(Counter[str]):
    """Counts what was done, and by whom."""

    async def view(self, visit: Visit) -> Reply:
        self[f"seen by {visit.visitor.name}"] += 1
        return await visit.page("notice.html", title="A <b>", words="x", link=("y", "/dashboard"))

    async def news(self, _: Visit) -> Reply:
        return json_reply(200, {"news": 1})

    async def fail(self, _: Visit) -> Reply:
        raise RuntimeError("secret of the page")

    async def make(self, visit: Visit, form: Form) -> Reply:
        self[f"{visit.visitor.name} made {form.text('name')}"] += 1
        return visit.see("/dashboard/tokens", f"Made {form.text('name')}.")

    def browser(self, **given: Any) -> Browser:
        views = {
            b"/dashboard": self.view,
            b"/dashboard/now.json": self.news,
            b"/dashboard/tokens": self.view,
            b"/dashboard/settings": self.fail,
        }
        return Browser(views, {b"/dashboard/tokens/make": self.make}, **given)


def assert_safe(answer: Answer) -> None:
    """Every answer has the header fields by which browsers keep others out, each once."""
    policy = answer.one(b"Content-Security-Policy").decode()
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "base-uri 'none'" in policy
    assert answer.one(b"X-Frame-Options") == b"DENY"
    assert answer.one(b"Cache-Control") == b"no-store"
    assert answer.one(b"Referrer-Policy") == b"same-origin"
    assert answer.one(b"Cross-Origin-Opener-Policy") == b"same-origin"
    assert answer.one(b"X-Content-Type-Options") == b"nosniff"
    assert answer.all(b"Access-Control-Allow-Origin") == []


# Those who see a page


async def test_an_admin_sees_a_page_and_it_is_noted_who_it_was() -> None:
    done = Done()
    answer = await done.browser().get("/dashboard/tokens")
    assert answer.status == 200
    assert "<h1>A &lt;b&gt;</h1>" in answer.text
    assert (answer.exchange.name, answer.exchange.lane) == ("person:alice", "cookie")
    assert done == {"seen by person:alice": 1}
    browser = done.browser(front="cloudflare", provider="")
    browser.people.who_comes = person("alice", kind="front")
    assert (await browser.get("/dashboard")).exchange.lane == "header"
    assert browser.came == ["alice"]
    browser.people.who_comes = person("bob", kind="front")
    assert (await browser.get("/dashboard")).status == 403
    browser.people.who_comes = person("alice")
    await browser.get("/dashboard")
    assert browser.came == ["alice"]  # a session is noted once, when it begins


async def test_nobody_is_told_more_than_the_name_of_the_provider() -> None:
    done = Done()
    browser = done.browser(provider="Hugging Face")
    browser.people.who_comes = None
    for target in ("/dashboard", "/dashboard/tokens", "/dashboard/settings"):
        answer = await browser.get(target)
        assert answer.status == 401
        assert answer.one(b"WWW-Authenticate") == b'Cookie realm="dashboard"'
        assert "Sign in with Hugging Face" in answer.text
        assert f'href="/dashboard/sign-in?to={target}"' in answer.text
        assert answer.text.count("<a ") == 1
        assert "FoodWise" not in answer.text
        assert "alice" not in answer.text
    assert done == {}


async def test_who_is_not_on_the_list_learns_nothing_but_that_even_with_a_good_session() -> None:
    done = Done()
    browser = done.browser()
    for name in ("bob", "carol"):
        browser.people.who_comes = person(name)
        answer = await browser.get("/dashboard/tokens")
        assert answer.status == 403
        assert "not on their list" in answer.text
        assert 'action="/dashboard/sign-out"' in answer.text
        assert "FoodWise" not in answer.text
        assert answer.exchange.name == f"person:{name}"
        assert answer.exchange.id == ""  # no place that others must leave to them
    assert (await browser.post("/dashboard/tokens/make", {"name": "x"})).status == 403
    assert done == {}


async def test_the_list_is_asked_at_every_request() -> None:
    browser = Done().browser()
    assert (await browser.get("/dashboard")).status == 200
    browser.people.admins.clear()
    assert (await browser.get("/dashboard")).status == 403
    assert browser.people.asked == 2


async def test_data_is_refused_as_data_and_never_by_a_page() -> None:
    browser = Done().browser()
    for who, status in ((None, 401), (person("carol"), 403)):
        browser.people.who_comes = who
        answer = await browser.get("/dashboard/now.json")
        assert answer.status == status
        assert answer.one(b"Content-Type") == b"application/json"
        assert set(json.loads(answer.text)) == {"error", "error_description"}
        assert_safe(answer)


async def test_without_the_word_of_the_front_there_is_no_page_and_no_sign_in_of_ours() -> None:
    browser = Done().browser(front="cloudflare", provider="")
    for reply, status in ((refusals.CHALLENGE, 401), (refusals.STARTING, 503), (None, 403)):
        browser.people.who_comes = Unknown("", "front-missing", reply, ends=True)
        answer = await browser.get("/dashboard")
        assert answer.status == status
        assert answer.text.count("<a ") == 1
        assert "/dashboard/sign-in" not in answer.text
        assert answer.exchange.record().reason == ""  # it is the reply that has one
        assert answer.reply.reason == "front-missing"
        assert answer.all(b"Retry-After") == ([b"5"] if status == 503 else [])
    browser.people.who_comes = None
    assert "/dashboard/sign-in" not in (await browser.get("/dashboard")).text
    machine = Unknown("front:ci", "people", refusals.CHALLENGE, ends=True)
    browser.people.who_comes = machine
    answer = await browser.get("/dashboard")
    assert (answer.status, answer.reply.reason) == (403, "not-admin")
    assert "not on their list" in answer.words
    both = Done().browser(front="cloudflare")
    both.people.who_comes = Unknown("", "signature", refusals.CHALLENGE)
    assert "/dashboard/sign-in?to=" in (await both.get("/dashboard")).text


async def test_people_of_a_front_sign_out_there_by_a_link_where_it_is_known() -> None:
    for front, link in (
        ("cloudflare", 'href="/cdn-cgi/access/logout"'),
        ("iap", 'href="/dashboard?gcp-iap-mode=CLEAR_LOGIN_COOKIE"'),
        ("pomerium", 'href="/.pomerium/sign_out"'),
        ("jwt", ""),
    ):
        browser = Done().browser(front=front, provider="")
        browser.people.who_comes = person("alice", kind="front")
        whole = browser.shell.templates.text(
            "settings.html",
            {
                "at": "/dashboard/settings",
                "is_admin": True,
                "form_token": "x",
                "said": None,
                "visitor": browser.people.who_comes,
                "groups": [],
                "differing": 0,
                "total": 0,
                "nonce": "n",
            },
        )
        assert link in whole
        assert ("Sign out at the front" in whole) == bool(link)
        assert "/dashboard/sign-out" not in whole


# By which name, method and path


async def test_another_name_of_the_gate_leads_to_the_public_one_and_a_foreign_one_nowhere() -> None:
    browser = Done().browser()
    target = "/dashboard/tokens?a=b"
    answer = await browser.send("GET", target, [(b"Host", b"other.example:7860")])
    assert answer.status == 303
    assert answer.one(b"Location") == b"https://gate.example/dashboard/tokens?at=public"
    assert_safe(answer)
    for host in (b"evil.example", b"gate.example.evil.example"):
        assert (await browser.send("GET", target, [(b"Host", host)])).status == 421
    assert browser.people.asked == 0
    for host in (b"GATE.example", b"gate.example:443"):
        assert (await browser.send("GET", target, [(b"Host", host)])).status == 200


async def test_a_proxy_that_writes_its_own_name_into_host_makes_no_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    browser = Done().browser()
    host = (b"Host", b"other.example")
    moved = await browser.send("GET", "/dashboard", [host])
    again = moved.one(b"Location").decode().removeprefix(ORIGIN)
    for _ in range(2):
        assert (await browser.send("GET", again, [host])).status == 200
    assert [entry.getMessage() for entry in caplog.records] == [
        "a request for https://gate.example came under another name, which is no fault of the browser's: let the proxy "
        "in front pass Host on as it is"
    ]
    forwarded = [host, (b"X-Forwarded-Host", b"gate.example")]
    assert (await browser.send("GET", "/dashboard", forwarded)).status == 200


async def test_a_path_answers_its_methods_and_a_link_to_a_form_leads_to_its_page() -> None:
    done = Done()
    browser = done.browser()
    for target, page in (
        ("/dashboard/tokens/make", b"/dashboard/tokens"),
        ("/dashboard/", b"/dashboard"),
    ):
        answer = await browser.get(target)
        assert (answer.status, answer.one(b"Location")) == (303, page)
    for method, target, allowed in (
        ("POST", "/dashboard/tokens", b"GET, HEAD"),
        ("DELETE", "/dashboard/tokens/make", b"GET, HEAD, POST"),
        ("OPTIONS", "/dashboard", b"GET, HEAD"),
        ("POST", "/dashboard/assets/dashboard.css", b"GET, HEAD"),
    ):
        answer = await browser.send(method, target, [HOST, OURS, FORM])
        assert (answer.status, answer.one(b"Allow")) == (405, allowed)
        assert_safe(answer)
    head = await browser.get("/dashboard/tokens", method="HEAD")
    assert head.status == 200
    assert done == {"seen by person:alice": 1}


# Forms


async def test_a_form_of_the_page_changes_something_and_the_next_page_says_so_once() -> None:
    done = Done()
    browser = done.browser()
    answer = await browser.post("/dashboard/tokens/make", {"name": "  laptop "})
    assert (answer.status, answer.one(b"Location")) == (303, b"/dashboard/tokens")
    assert_safe(answer)
    assert done == {"person:alice made laptop": 1}


def wrong_forms() -> list[tuple[str, list[tuple[bytes, bytes]], int]]:
    """Header fields of forms that may change nothing, and the status of the answer."""
    good = [HOST, OURS, (b"Sec-Fetch-Site", b"same-origin"), FORM]
    origins = [
        b"null",
        b"",
        b"https://evil.example",
        b"http://gate.example",
        b"https://gate.example.evil.example",
        b"https://gate.example:8443",
        b"https://gate.example/",
        b"https://other.example",
        b"https://sub.gate.example",
        b"https://gate.example, https://gate.example",
        b"https://gate.example\x00",
    ]
    cases = [("no origin", [HOST, FORM], 403)]
    cases += [(repr(each), [HOST, (b"Origin", each), FORM], 403) for each in origins]
    cases += [
        (f"site {each!r}", [HOST, OURS, (b"Sec-Fetch-Site", each), FORM], 403)
        for each in (b"cross-site", b"same-site", b"none", b"", b"same-origin, cross-site")
    ]
    cases += [
        (f"type {each}", [*good[:3], *each], 415)
        for each in (
            [],
            [(b"Content-Type", b"text/plain")],
            [(b"Content-Type", b"application/json")],
            [(b"Content-Type", b"multipart/form-data; boundary=x")],
            [FORM, FORM],
            [FORM, (b"Content-Encoding", b"gzip")],
        )
    ]
    return cases


@pytest.mark.parametrize(
    ("fields", "status"), [pytest.param(f, s, id=name) for name, f, s in wrong_forms()]
)
async def test_a_form_that_is_not_the_pages_own_does_nothing(
    fields: list[tuple[bytes, bytes]], status: int
) -> None:
    done = Done()
    browser = done.browser()
    token = browser.people.form_token(person("alice")).encode()
    body = b"name=laptop&form_token=" + token
    answer = await browser.send("POST", "/dashboard/tokens/make", fields, body)
    assert answer.status == status
    assert answer.text.count("<a ") == 1
    assert_safe(answer)
    assert done == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"name=laptop", 403),
        (b"name=laptop&form_token=", 403),
        (b"name=laptop&form_token=form-token-of-session-of-bob", 403),
        (b"name=laptop&form_token=x&form_token=form-token-of-session-of-alice", 403),
        (b"name=%ff&form_token=form-token-of-session-of-alice", 400),
        (b"name=\xff&form_token=form-token-of-session-of-alice", 400),
        (b"a=b&" * MAX_FIELDS + b"form_token=form-token-of-session-of-alice", 400),
        (b"a=" + b"x" * MAX_FORM_BYTES, 413),
    ],
)
async def test_a_form_without_the_mark_of_its_session_or_out_of_bounds_does_nothing(
    body: bytes, status: int
) -> None:
    done = Done()
    answer = await done.browser().send("POST", "/dashboard/tokens/make", [HOST, OURS, FORM], body)
    assert answer.status == status
    assert 'href="/dashboard/tokens"' in answer.text
    assert_safe(answer)
    assert done == {}


async def test_a_form_after_the_end_of_the_session_says_that_nothing_was_done() -> None:
    done = Done()
    browser = done.browser()
    browser.people.who_comes = None
    answer = await browser.post("/dashboard/tokens/make", {"name": "laptop"})
    assert answer.status == 401
    assert "nothing was done" in answer.words
    assert 'href="/dashboard/sign-in?to=/dashboard/tokens"' in answer.text
    assert done == {}


def test_a_form_is_read_as_browsers_write_it() -> None:
    form = parse_form(b"name=+a+%3Cb%3E%0D%0A&empty=&tool=x&tool=+y&n=caf%C3%A9")
    assert form.text("name") == "a <b>"
    assert form.text("empty") == form.text("missing") == ""
    assert form.all("tool") == ["x", " y"]
    assert form.all("missing") == []
    assert form.text("n") == "caf\u00e9"
    assert parse_form(b"").text("a") == ""
    with pytest.raises(BadFormError):
        parse_form(b"&".join([b"a=b"] * (MAX_FIELDS + 1)))


def test_a_sentence_waits_for_its_own_visitor_and_few_wait_at_all() -> None:
    sayings = Sayings()
    alice, bob = person("alice"), person("bob")
    sayings.say(alice, Said("Made a token."))
    assert sayings.hear(bob) is None
    assert sayings.hear(alice) == Said("Made a token.")
    assert sayings.hear(alice) is None
    for number in range(300):
        sayings.say(person(f"p{number}"), Said("x"))
    assert sum(bool(sayings.hear(person(f"p{number}"))) for number in range(300)) == 256


# Answers


async def test_each_page_has_the_header_fields_of_safety_and_a_nonce_of_its_own() -> None:
    browser = Done().browser()
    nonces = set()
    for target in ("/dashboard", "/dashboard/tokens", "/dashboard/now.json"):
        answer = await browser.get(target)
        assert_safe(answer)
        policy = answer.one(b"Content-Security-Policy").decode()
        nonces |= set(re.findall("'nonce-([^']+)'", policy))
        assert set(re.findall('nonce="([^"]+)"', answer.text)) <= nonces
    assert len(nonces) == 2


async def test_a_fault_of_ours_is_left_to_the_gate_with_a_page_without_its_words() -> None:
    browser = Done().browser()
    with pytest.raises(RuntimeError):
        await browser.get("/dashboard/settings")
    reply = browser.shell.notices.failed()
    assert (reply.status, reply.reason) == (500, "failed")
    assert b"secret of the page" not in reply.body


async def test_the_files_of_pages_are_kept_by_their_version_and_hold_no_secret() -> None:
    browser = Done().browser()
    browser.people.who_comes = None
    page = (await browser.get("/dashboard")).text
    links = re.findall(r'"(/dashboard/assets/[^"]+)"', page)
    assert links
    for link in links:
        answer = await browser.get(link)
        assert answer.status == 200
        assert b"immutable" in answer.one(b"Cache-Control")
        assert answer.one(b"X-Content-Type-Options") == b"nosniff"
        for query in ("", "?v=x"):
            other = await browser.get(link.partition("?")[0] + query)
            assert other.one(b"Cache-Control") == b"no-store"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_markup_that_the_policy_forbids_or_that_lets_text_become_markup(
    template: Path,
) -> None:
    text = re.sub(r"(?s)\{#.*?#\}", "", template.read_text())
    assert re.findall(r"\|\s*safe|autoescape|Markup", text) == []
    assert re.findall(r"<[^>]*\s(?:style|on[a-z]+)=", text) == []
    assert re.findall(r"(?:src|href|action|srcset)=\"(?:https?:|//)", text) == []
    assert re.findall(r"<(?:iframe|object|embed|base|style)\b", text) == []
    assert re.findall(r"=\{\{|=\{%", text) == []  # an attribute stands in quotes
    assert re.findall(r"<script(?![^>]*nonce)|<link[^>]*stylesheet(?![^>]*nonce)", text) == []
