"""Apps in a real browser: a person signs in, is asked, says yes or no, and takes an app away on the page of apps."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from gatehouse.http.paths import DECIDE, RESUME
from tests.browser.callers import Listener
from tests.browser.gates import headed, in_a_space, leave, press, rested, sign_in, visiting
from tests.browser.pages import serving
from tests.browser.window import PHONE
from tests.harness.identity.app import App
from tests.harness.only_ci import only_in_ci
from tests.harness.program import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.browser.window import Window
    from tests.harness.identity.hugging_face import HuggingFace
    from tests.harness.program import Program

pytestmark = only_in_ci

ASKED = "Let an app in?"
DONE = b"<!doctype html><html lang=en><title>Done</title><h1>You may close this page</h1>"
APPS = "/dashboard/apps"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, provider: HuggingFace) -> Iterator[Program]:
    """A Space of alice's, in which bob may let apps in, too."""
    folder = tmp_path_factory.mktemp("apps")
    with in_a_space(folder, provider, PEOPLE="bob", STATE_DB="state.sqlite3") as program:
        yield program
        assert program.stop() == 0
    assert program.errors == []


@contextmanager
def app_of(program: Program, name: str, host: str = "127.0.0.1") -> Iterator[App]:
    """An app on this computer, which has found the gate and waits for its answer."""
    port = free_port()
    with (
        serving(port, DONE),
        App(program.endpoint, name=name, redirect_uri=f"http://{host}:{port}/callback") as app,
    ):
        app.discover()
        assert app.register().status_code == 201
        yield app


@contextmanager
def window_for(
    app: App, browser: Browser, program: Program, provider: HuggingFace, **options: Any
) -> Iterator[Window]:
    """A window for the gate, the provider and that app."""
    with visiting(browser, program, provider, **options) as opened:
        opened.homes.append(app.redirect_uri.removesuffix("/callback"))
        yield opened
        opened.overlook(f"{app.redirect_uri.removesuffix('/callback')}/favicon.ico")


def asked(page: Page, app: App, person: str = "alice") -> None:
    """Go where the app sends the person, and sign in, up to the question."""
    page.goto(app.authorization_url())
    page.get_by_label("Signed in as").select_option(person)
    press(page, "Authorize")
    headed(page, ASKED)
    rested(page)


def arrived(page: Page, app: App) -> str:
    """Wait until the browser is back at the app; the URL of that."""
    page.wait_for_url(f"{app.redirect_uri}?**")
    headed(page, "You may close this page")
    return page.url


def let_in(page: Page, app: App, person: str = "alice") -> None:
    """All the way: the app has tokens, and works."""
    asked(page, app, person)
    press(page, "Allow")
    assert app.redeem(arrived(page, app)).status_code == 200
    assert app.add(19, 23) == 42


def row_of(page: Page, app: App) -> Any:
    """The line of the app on the page of apps."""
    return page.get_by_role("table", name="Apps").get_by_role("row").filter(has_text=app.name)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_app_is_let_in_works_and_is_taken_away_with_all_that_it_has_open(
    browser: Browser, program: Program, provider: HuggingFace, host: str
) -> None:
    with (
        app_of(program, f"<b>Agent</b> at {host}", host) as app,
        window_for(app, browser, program, provider) as opened,
    ):
        page = opened.page
        asked(page, app)
        assert urlsplit(page.url).path == RESUME.decode()
        expect(page.get_by_text(app.name)).to_be_visible()  # as text
        expect(page.get_by_text("this computer")).to_be_visible()
        opened.judge()
        press(page, "Allow")
        assert app.redeem(arrived(page, app)).status_code == 200
        assert app.add(19, 23) == 42
        page.goto(program.url + APPS)
        headed(page, "Apps")
        row = row_of(page, app)
        expect(row).to_contain_text("this computer")
        expect(row).to_contain_text("alice")
        expect(row).to_contain_text("from 127.0.0.1")
        opened.judge()
        with Listener(program.endpoint, app.tokens["access_token"]) as listener:
            row.get_by_role("button").click()
            expect(page.get_by_role("status").first).to_contain_text("of alice is revoked")
            assert listener.cut.wait(5), "the stream of an app that was revoked goes on"
        expect(row).to_have_count(0)
        opened.judge()
        assert app.ask().status_code == 401
        assert app.refresh().json()["error"] == "invalid_grant"


def test_a_browser_remembers_a_yes_until_it_is_told_to_ask_again(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An app that comes again") as app,
        window_for(app, browser, program, provider) as opened,
    ):
        page = opened.page
        let_in(page, app)
        page.goto(app.authorization_url())
        assert app.redeem(arrived(page, app)).status_code == 200
        page.goto(program.url + APPS)
        press(page, f"Ask again about {app.name}")
        expect(page.get_by_role("status").first).to_contain_text("you will be asked")
        expect(page.get_by_role("heading", name="Without a question")).to_have_count(0)
        assert app.add() == 5  # what it has, it keeps
        page.goto(app.authorization_url())
        headed(page, ASKED)
        rested(page)
        press(page, "Allow")
        assert app.redeem(arrived(page, app)).status_code == 200
        page.goto(f"{program.url}{APPS}")
        page.get_by_role("link", name="Only mine").click()
        page.locator("summary", has_text="Revoke all").click()
        opened.judge()
        press(page, "Really revoke all")
        expect(page.get_by_role("status").first).to_contain_text("All apps of alice are revoked.")
        assert app.ask().status_code == 401
        page.goto(app.authorization_url())
        headed(page, ASKED)


def test_a_person_who_says_no_lets_nothing_in(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An unwanted app") as app,
        window_for(app, browser, program, provider) as opened,
    ):
        asked(opened.page, app)
        press(opened.page, "Deny")
        query = parse_qs(urlsplit(arrived(opened.page, app)).query)
        assert query["error"] == ["access_denied"]
        assert query["state"] == [app.state]
        assert "code" not in query
        opened.page.goto(program.url + APPS)
        expect(row_of(opened.page, app)).to_have_count(0)
        opened.page.goto(app.authorization_url())
        headed(opened.page, ASKED)  # a no is not remembered


def test_somebody_who_may_sign_in_has_their_own_apps_on_a_phone_and_nothing_else(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    width, height = PHONE
    phone = {"viewport": {"width": width, "height": height}, "has_touch": True, "is_mobile": True}
    with (
        app_of(program, "Agent of alice") as hers,
        app_of(program, "Agent of bob") as his,
        window_for(hers, browser, program, provider) as of_alice,
        window_for(his, browser, program, provider, **phone) as of_bob,
    ):
        let_in(of_alice.page, hers)
        page = of_bob.page
        asked(page, his, "bob")
        page.get_by_role("button", name="Allow", exact=True).tap()
        assert his.redeem(arrived(page, his)).status_code == 200
        page.goto(f"{program.url}/dashboard")
        headed(page, "Apps")
        assert urlsplit(page.url).path == APPS
        expect(row_of(page, his)).to_be_visible()
        expect(page.get_by_text(hers.name)).to_have_count(0)
        expect(page.get_by_role("navigation")).to_have_count(0)
        of_bob.judge()
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{program.url}/dashboard/tokens")
        headed(page, "Not on the list")
        of_bob.judge()
        of_bob.forgive("status of 403")
        page.get_by_role("link", name="Your apps").click()
        press(page, f"Revoke {his.name}")
        expect(page.get_by_text("You have let no app in.")).to_be_visible()
        assert his.ask().status_code == 401
        assert hers.add() == 5
        leave(page, "Sign out")
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        of_bob.forgive("status of 401")


def test_the_end_of_a_person_revokes_their_apps(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "Agent") as app,
        window_for(app, browser, program, provider) as of_bob,
        window_for(app, browser, program, provider) as of_alice,
    ):
        let_in(of_bob.page, app, "bob")
        page = of_alice.page
        sign_in(page, program, path="/dashboard/people")
        of_alice.forgive("status of 401")
        row = page.get_by_role("row").filter(has_text="bob").first
        row.get_by_role("link", name="1 app of bob").click()
        expect(page.get_by_role("heading", name="1 app of bob")).to_be_visible()
        page.go_back()
        with Listener(program.endpoint, app.tokens["access_token"]) as listener:
            press(page, "End all that bob has open")
            expect(page.get_by_role("status").first).to_contain_text("and all apps")
            assert listener.cut.wait(5)
        assert app.ask().status_code == 401
        of_bob.page.goto(program.url + APPS)
        headed(of_bob.page, "Dashboard")
        of_bob.forgive("status of 401")


def test_without_scripts_all_of_it_works(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An app for an old browser") as app,
        window_for(app, browser, program, provider, java_script_enabled=False) as opened,
    ):
        page = opened.page
        let_in(page, app)
        page.goto(program.url + APPS)
        row_of(page, app).get_by_role("button").click()
        expect(page.get_by_role("status").first).to_contain_text("is revoked")
        assert app.ask().status_code == 401


def test_by_keyboard_alone_a_person_says_yes(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An app by keyboard") as app,
        window_for(app, browser, program, provider) as opened,
    ):
        page = opened.page
        asked(page, app)
        allow = page.get_by_role("button", name="Allow", exact=True)
        for _ in range(6):
            page.keyboard.press("Tab")
            if allow.evaluate("each => each === document.activeElement"):
                break
        expect(allow).to_be_focused()
        page.keyboard.press("Enter")
        assert app.redeem(arrived(page, app)).status_code == 200


def test_a_stranger_lets_nothing_in_and_is_sent_nowhere(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An app of mallory") as app,
        window_for(app, browser, program, provider) as opened,
    ):
        page = opened.page
        page.goto(app.authorization_url())
        page.get_by_label("Signed in as").select_option("mallory")
        press(page, "Authorize")
        headed(page, "Not on the list")
        assert page.url.startswith(program.url)
        opened.judge()
        opened.forgive("status of 403")


FORM = """<!doctype html><title>Win a prize</title>
<form method="post" action="{action}"><input name="request" value="{request}"><input name="form_token" value="{token}">
<button name="decision" value="allow">Claim it</button></form>
<iframe src="{url}" width="600" height="400"></iframe>"""


def test_a_page_of_another_origin_neither_frames_the_question_nor_answers_it(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        app_of(program, "An app behind a prize") as app,
        window_for(app, browser, program, provider) as opened,
    ):
        page, port = opened.page, free_port()
        asked(page, app)
        fields = {
            name: page.locator(f".decide [name={name}]").input_value()
            for name in ("request", "form_token")
        }
        forged = FORM.format(
            action=program.url + DECIDE.decode(),
            request=fields["request"],
            token=fields["form_token"],
            url=app.authorization_url(),
        )
        for host in ("127.0.0.1", "localhost"):
            stranger = f"http://{host}:{port}"
            opened.homes.append(stranger)
            with serving(port, forged.replace("&", "&amp;").encode()):
                page.goto(stranger)
                page.wait_for_load_state("networkidle")
                inside = page.frame_locator("iframe").get_by_role("heading", name=ASKED)
                expect(inside).to_have_count(0)
                press(page, "Claim it")
                page.wait_for_url(f"{program.url}/**")
                headed(page, "This did not come from the dashboard")
            opened.overlook("frame-ancestors|X-Frame-Options|frame|status of 40[13]|ERR_BLOCKED")
        page.goto(program.url + APPS)
        expect(row_of(page, app)).to_have_count(0)
        opened.overlook("status of 401")


def test_an_app_of_this_device_gets_its_answer_by_its_own_scheme(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with (
        App(program.endpoint, name="An editor", redirect_uri="com.example.editor:/back") as app,
        visiting(browser, program, provider) as opened,
    ):
        app.discover()
        assert app.register().status_code == 201
        page = opened.page
        asked(page, app)
        opened.judge()
        with page.expect_response(f"{program.url}{DECIDE.decode()}") as answer:
            press(page, "Allow")
        there = answer.value.headers["location"]
        assert there.startswith("com.example.editor:/back?code=")
        assert app.redeem(there).status_code == 200
        opened.overlook("Failed to launch|asked elsewhere: com.example.editor:")
