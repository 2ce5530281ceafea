"""Apps and the browser of a person: nobody is let in by a name, by a link, by another page, or by another's browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.harness.identity.app import aside
from tests.harness.identity.app_person import forms_of, is_question
from tests.harness.identity.app_stage import SESSION, Stage, stage
from tests.harness.identity.house import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

EVIL = "https://evil.example"


@pytest.fixture
def cast() -> Iterator[Stage]:
    with stage() as cast:
        yield cast


async def known(cast: Stage, **given: str) -> str:
    """The app, or another one, is registered: its authorization URL."""
    app = cast.another_app(**given) if given else cast.app
    await aside(app.discover)
    answer = await aside(app.register)
    assert answer.status_code == 201, answer.text
    cast.app = app
    return app.authorization_url()


async def asked(cast: Stage, **given: str) -> httpx.Response:
    """The page that asks about the app, or another one."""
    question = await aside(cast.person.open, await known(cast, **given))
    assert is_question(question), question.text
    return question


def assert_ends_here(answer: httpx.Response, status: int, words: str = "") -> None:
    """A page of the gate's own, which leads nowhere."""
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    assert not {"location", "refresh"} & {*answer.headers}
    assert "evil" not in answer.text


async def test_an_app_that_takes_a_name_is_shown_by_its_place_and_the_name_is_not_verified(
    cast: Stage,
) -> None:
    name = "Claude</dd></dl>\u202e <a href=//evil.example>by Anthropic"
    async with cast.gate():
        page = (await asked(cast, name=name, redirect_uri=f"{EVIL}/cb")).text
    kept = name.replace("\u202e", "")
    assert escape(kept) in page
    assert "Claude</dd>" not in page
    assert "\u202e" not in page
    assert page.index("evil.example") < page.index("not verified") < page.index("Claude")


async def test_a_live_session_answers_for_no_app_that_nobody_was_asked_about(cast: Stage) -> None:
    async with cast.gate():
        await aside(cast.app.sign_in, cast.person)
        assert len(cast.person.questions) == 1
        # Another registration with the same name and place is another app; the provider asks nothing any more.
        await asked(cast, name=cast.app.name)
        await asked(cast, redirect_uri=f"{EVIL}/cb")
        # With a live session at the provider only, too.
        browser = cast.another_browser()
        page = await aside(browser.open, cast.app.authorization_url())
        assert is_question(page)
        assert page.url.path == "/authorize/resume"


async def test_a_sign_in_that_one_browser_began_is_finished_in_no_other(cast: Stage) -> None:
    async with cast.gate():
        url = await known(cast)
        attacker, victim = cast.another_browser(), cast.person
        to_provider = await aside(attacker.get, url)
        assert to_provider.is_redirect
        link = to_provider.headers["Location"]
        assert link.startswith(cast.provider.issuer)
        back = await aside(victim.get, link)
        there = back.headers["Location"]
        assert there.startswith(f"{PUBLIC}/dashboard/callback")
        assert_ends_here(await aside(victim.get, there), 400, "You are not signed in")
        assert SESSION not in victim.http.cookies
        # The attacker waits in vain: nobody has signed in there.
        waits = await aside(attacker.get, f"{PUBLIC}/authorize/resume")
        assert_ends_here(waits, 401, "You are signed out")


async def test_a_question_that_one_browser_was_asked_is_answered_in_no_other(cast: Stage) -> None:
    async with cast.gate():
        url = await known(cast)
        mine, other = await aside(cast.person.open, url), cast.another_browser()
        theirs = await aside(other.open, url)
        (action, hidden) = next(form for form in forms_of(mine) if "decision" in form[1])
        own = next(form[1] for form in forms_of(theirs) if "decision" in form[1])
        assert hidden["form_token"] != own["form_token"]
        for fields in (hidden, {**own, "request": hidden["request"]}):
            refused = await aside(other.post, theirs, action, {**fields, "decision": "allow"})
            assert refused.status_code in {400, 403}
            assert_ends_here(refused, refused.status_code, "too old")
        # In its own it is answered, once.
        done = await aside(cast.person.decide, mine)
        assert (await aside(cast.app.redeem, done.headers["Location"])).status_code == 200
        assert_ends_here(await aside(cast.person.decide, mine), 400, "answered already")


async def test_no_link_leads_to_a_place_that_the_app_has_not_registered(cast: Stage) -> None:
    async with cast.gate():
        await known(cast, redirect_uri="https://app.example/cb")
        for changes in (
            {"redirect_uri": f"{EVIL}/cb"},
            {"redirect_uri": "https://app.example/cb/../x"},
            {"redirect_uri": "https://app.example/cb?to=evil"},
            {"redirect_uri": "https://app.example.evil.example/cb"},
            {"redirect_uri": "https://app.example@evil.example/cb"},
            {"redirect_uri": "javascript:alert(1)"},
            {"client_id": "evil"},
            {"client_id": None},
        ):
            url = cast.app.authorization_url(**changes)
            for browser in (cast.person, cast.another_browser()):
                assert_ends_here(await aside(browser.get, url), 400)
            await aside(cast.person.open, cast.app.authorization_url())  # with a session, too
        # A fault is told to the app, though nobody is led away by a link before they have signed in.
        url = cast.app.authorization_url(response_type="token")
        first = await aside(cast.another_browser().get, url)
        assert first.headers["Location"].startswith(cast.provider.issuer)
        told = await aside(cast.person.get, url)
        assert told.headers["Location"].startswith("https://app.example/cb?error=unsupported")


async def test_no_other_page_presses_the_button(cast: Stage) -> None:
    async with cast.gate():
        question = await asked(cast)
        (action, fields) = next(form for form in forms_of(question) if "decision" in form[1])
        allow = {**fields, "decision": "allow"}
        for headers in (
            {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
            {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
            {"Origin": PUBLIC, "Sec-Fetch-Site": "same-site"},
            {"Origin": f"{PUBLIC}.evil.example"},
        ):
            refused = await aside(cast.person.post, question, action, allow, **headers)
            assert_ends_here(refused, 403, "did not come from")
        for wrong in ({"form_token": ""}, {"form_token": "0" * 43}):
            refused = await aside(cast.person.post, question, action, {**allow, **wrong})
            assert refused.status_code == 403
        assert (await aside(cast.person.get, f"{PUBLIC}{action}")).status_code == 405
        # All that did nothing: the question is still there.
        done = await aside(cast.person.decide, question)
        assert (await aside(cast.app.redeem, done.headers["Location"])).status_code == 200


async def test_no_page_of_the_way_stands_in_a_frame_or_is_kept(cast: Stage) -> None:
    async with cast.gate():
        pages = [await asked(cast)]
        pages.append(await aside(cast.person.get, f"{PUBLIC}/authorize?client_id=x"))
        pages.append(await aside(cast.person.get, f"{PUBLIC}/authorize/resume"))
        pages.append(await aside(cast.person.get, f"{PUBLIC}/authorize/decide"))
        pages.append(await aside(cast.person.decide, pages[0]))
    for page in pages:
        fields = page.headers
        assert "frame-ancestors 'none'" in fields["Content-Security-Policy"]
        assert fields["X-Frame-Options"] == "DENY"
        assert fields["Cache-Control"] == "no-store"
        assert fields["Referrer-Policy"] in {"no-referrer", "same-origin"}
        assert "Access-Control-Allow-Origin" not in fields


async def test_yes_and_no_tell_which_gate_has_answered(cast: Stage) -> None:
    """RFC 9207: an app that talks to several servers sees that an answer is not the other one's."""
    async with cast.gate():
        no = await aside(cast.person.decide, await asked(cast), "deny")
        yes = await aside(cast.person.decide, await asked(cast))
        assert cast.app.server["authorization_response_iss_parameter_supported"] is True
        issuer = cast.app.server["issuer"]
    for answer, name in ((no, "error"), (yes, "code")):
        assert answer.status_code == 303
        brought = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert brought["iss"] == [issuer] == [PUBLIC]
        assert name in brought
    assert brought["state"] == [cast.app.state]
