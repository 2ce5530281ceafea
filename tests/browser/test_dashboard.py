"""The dashboard in a real browser: the one who owns it, and others who come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.callers import Listener, add
from tests.browser.gates import (
    headed,
    leave,
    make_token,
    press,
    refused,
    sign_in,
    value_on,
    visiting,
)
from tests.harness.only_ci import only_in_ci
from tests.harness.program import Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.window import Window
    from tests.harness.identity.hugging_face import HuggingFace

pytestmark = only_in_ci

PAGES = {
    "/dashboard": "Now",
    "/dashboard/tokens": "Tokens",
    "/dashboard/people": "People",
    "/dashboard/apps": "Apps",
    "/dashboard/connect": "Connect",
    "/dashboard/check": "Check",
    "/dashboard/settings": "Settings",
}


def test_the_owner_makes_a_token_watches_it_at_work_and_takes_it_away(
    owner: Window, program: Program
) -> None:
    page, endpoint = owner.page, program.endpoint
    value = make_token(page, program, "laptop")
    headed(page, "A new value for laptop")
    owner.judge()
    copy = page.get_by_role("button", name="Copy the new value", exact=True)
    copy.click()
    expect(page.get_by_role("button", name="Copied the new value", exact=True)).to_be_visible()
    expect(page.get_by_role("status").last).to_have_text("Copied the new value")
    page.get_by_role("button", name="Copy the configuration for Claude Desktop").click()
    words = "Copied the configuration for Claude Desktop"
    expect(page.get_by_role("status").last).to_have_text(words)
    expect(copy).to_be_visible()
    now = owner.context.new_page()
    now.goto(f"{program.url}/dashboard")
    assert add(endpoint, value, 19, 23) == 42
    row = now.get_by_role("row").filter(has_text="tools/call add").first
    expect(row).to_contain_text("laptop")
    expect(row).to_contain_text("200")
    with Listener(endpoint, value) as listener:
        page.goto(f"{program.url}/dashboard/tokens")
        page.get_by_text("Rotate laptop", exact=True).click()
        press(page, "Make a new value for laptop")
        second = value_on(page)
        assert second != value
        assert not refused(endpoint, value)  # for a while both are good
        assert not listener.cut.is_set()
        press(page, "Back to the tokens")
        page.get_by_text("Revoke laptop", exact=True).click()
        press(page, "Revoke the token laptop")
        expect(page.get_by_role("status").first).to_contain_text("is revoked")
        assert listener.cut.wait(5), "the stream of a revoked token goes on"
    assert refused(endpoint, value)
    assert refused(endpoint, second)
    expect(now.get_by_text("token", exact=True).first).to_be_visible()  # the reason of the refusals
    for said in ("made the token laptop", "rotated the token laptop", "revoked the token laptop"):
        program.wait_for_log(rf"gate.dashboard: person:alice {said}\n")


def test_each_page_is_sound_and_loads_nothing_from_elsewhere(
    owner: Window, program: Program
) -> None:
    page = owner.page
    make_token(page, program, "each-page")
    for path, words in PAGES.items():
        answer = page.goto(program.url + path)
        headed(page, words)
        assert answer is not None
        assert answer.headers["x-frame-options"] == "DENY"
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        owner.judge()


def test_signing_out_ends_this_session_and_signing_out_everywhere_all_of_them(
    owner: Window, browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with visiting(browser, program, provider) as phone:
        sign_in(phone.page, program, path="/dashboard/people")
        headed(phone.page, "People")
        kept = [
            cookie["value"] for cookie in phone.context.cookies() if "session" in cookie["name"]
        ]
        leave(owner.page, "Sign out")
        expect(owner.page.get_by_text("You are signed out.")).to_be_visible()
        owner.judge()
        phone.page.reload()
        headed(phone.page, "People")
        sign_in(owner.page, program)
        leave(owner.page, "Sign out everywhere")
        expect(owner.page.get_by_text("in this browser and in all others")).to_be_visible()
        phone.page.reload()
        headed(phone.page, "Dashboard")
        assert kept
        for opened in (owner, phone):
            opened.forgive("status of 401")
        phone.context.add_cookies(
            [{"name": "gate-session", "value": kept[0], "url": program.url}]
        )  # somebody had kept it
        phone.page.reload()
        headed(phone.page, "Dashboard")
        phone.forgive("status of 401")


def test_by_keyboard_alone_a_token_is_made_and_revoked(owner: Window, program: Program) -> None:
    page = owner.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, "Tokens")
    page.keyboard.press("Enter")
    headed(page, "Tokens")
    if not page.locator("#name").is_visible():
        tab_to(page, "Make a token")
        page.keyboard.press("Enter")
    tab_to(page, "", field="name")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    headed(page, "A new value for keys")
    tab_to(page, "Back to the tokens")
    page.keyboard.press("Enter")
    headed(page, "Tokens")
    tab_to(page, "Revoke keys")
    page.keyboard.press("Enter")
    tab_to(page, "Revoke the token keys")
    page.keyboard.press("Space")
    expect(page.get_by_role("status").first).to_contain_text("keys: the token is revoked")
    tab_to(page, "Signed in as alice")
    page.keyboard.press("Enter")
    tab_to(page, "Sign out")
    page.keyboard.press("Escape")
    expect(page.locator("details.who > summary")).to_be_focused()


FOCUSED = """() => {
  const on = document.activeElement;
  return [on.getAttribute("aria-label") || on.textContent.trim().replace(/\\s+/g, " "), on.id];
}"""


def tab_to(page: Page, words: str, *, field: str = "") -> None:
    """Press the tab key until the focus is on what has these words, or on the field of that id; it must be seen there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        text, id_ = page.evaluate(FOCUSED)
        if (field and id_ == field) or (words and text == words):
            style = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(style) != "none", f"nobody sees the focus on {words or field}"
            return
    raise AssertionError(f"the tab key never comes to {words or field}")


def test_without_javascript_all_works_but_live_updates_and_copying(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with visiting(browser, program, provider, java_script_enabled=False) as opened:
        page = opened.page
        sign_in(page, program, path="/dashboard/tokens")
        headed(page, "Tokens")
        value = make_token(page, program, "plain")
        assert page.get_by_role("button", name="Copy").count() == 0
        assert add(program.endpoint, value, 1, 2) == 3
        page.goto(f"{program.url}/dashboard?name=plain")
        row = page.get_by_role("row").filter(has_text="tools/call add").first
        expect(row).to_contain_text("plain")
        page.goto(f"{program.url}/dashboard/tokens")
        page.get_by_text("Revoke plain", exact=True).click()
        press(page, "Revoke the token plain")
        expect(page.get_by_role("status").first).to_contain_text("is revoked")
        assert refused(program.endpoint, value)
        leave(page, "Sign out")
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        opened.forgive("status of 401")


def test_a_phone_finds_the_dashboard_by_the_start_page_and_gets_a_token(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    size = {"width": 320, "height": 640}
    with visiting(
        browser, program, provider, viewport=size, has_touch=True, is_mobile=True
    ) as opened:
        start = opened.page
        start.goto(program.url)
        with opened.context.expect_page() as tab:
            start.get_by_role("link", name="sign in and make one").tap()
        page = tab.value
        headed(page, "Dashboard")
        page.get_by_role("link", name="Sign in with Hugging Face").tap()
        page.get_by_role("button", name="Authorize").tap()
        headed(page, "Now")
        page.get_by_role("link", name="Tokens", exact=True).tap()
        if not page.locator("#name").is_visible():
            page.locator("summary", has_text="Make a token").tap()
        page.locator("#name").fill("phone")
        page.get_by_role("button", name="Make the token").tap()
        value = value_on(page)
        page.locator("summary", has_text="QR code").tap()
        code = page.get_by_role("img", name="The new value as a QR code")
        box = code.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
        assert add(program.endpoint, value, 2, 3) == 5
        opened.forgive("status of 401")
