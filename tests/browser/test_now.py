"""The page about now in a real browser: it goes on by itself, stands still when it should, and runs nobody else's script."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.window import window
from tests.harness.only_ci import only_in_ci
from tests.harness.watched import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from playwright.sync_api import Browser

    from tests.browser.window import Window
    from tests.harness.watched import Shown

pytestmark = only_in_ci

MARKUP = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"


@pytest.fixture(scope="module")
def gate() -> Iterator[Shown]:
    with shown() as gate:
        yield gate


@contextmanager
def opened(browser: Browser, gate: Shown, query: str = "", **options: Any) -> Iterator[Window]:
    with window(browser, gate.url, **options) as opened:
        opened.context.add_cookies([{"name": "who", "value": "alice", "url": gate.url}])
        opened.page.goto(f"{gate.url}/dashboard{query}")
        yield opened


def test_a_call_appears_as_text_within_a_moment_and_again_after_a_pause(
    browser: Browser, gate: Shown
) -> None:
    with opened(browser, gate) as seen:
        page = seen.page
        rows = page.locator("#rows tr")
        gate.call(MARKUP)
        expect(rows.first).to_contain_text("tools/call <img src=x")
        assert page.locator("#rows img, #rows script").count() == 0
        assert page.title() == "Now · MCP gate"
        expect(page.locator("#fact-here")).to_have_text("alice")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#live")).to_have_text("Paused")
        gate.call("while_paused")
        page.wait_for_timeout(2500)
        expect(rows.first).not_to_contain_text("while_paused")
        page.get_by_role("button", name="Go on").click()
        expect(rows.first).to_contain_text("while_paused")
        seen.judge()


def test_nobody_is_asked_while_nobody_looks(browser: Browser, gate: Shown) -> None:
    with opened(browser, gate) as seen:
        page = seen.page
        polls: list[str] = []
        page.on("request", lambda request: polls.append(request.url))
        for hidden in ("true", "false"):
            page.evaluate(
                f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            if hidden == "true":
                polls.clear()
                gate.call("unseen")
                page.wait_for_timeout(4500)
                assert polls == []
        expect(page.locator("#rows tr").first).to_contain_text("unseen")


def test_the_end_of_the_session_is_told_with_a_way_back(browser: Browser, gate: Shown) -> None:
    with opened(browser, gate) as seen:
        seen.context.clear_cookies()
        live = seen.page.locator("#live")
        expect(live).to_contain_text("Your session is over")
        expect(live.get_by_role("link")).to_have_attribute("href", "/dashboard")
        expect(seen.page.locator("#pause")).to_be_hidden()
        seen.forgive("401")


def test_a_gate_that_gives_no_news_is_asked_again(browser: Browser, gate: Shown) -> None:
    with opened(browser, gate) as seen:
        page = seen.page
        page.route("**/now.json*", lambda route: route.abort())
        expect(page.locator("#live")).to_contain_text("gives no news now")
        page.unroute("**/now.json*")
        gate.call("after_the_gap")
        expect(page.locator("#rows tr").first).to_contain_text("after_the_gap")
        expect(page.locator("#live")).to_have_text("Live")
        seen.forgive("ERR_FAILED")


def test_filters_work_without_a_script_and_hold_for_what_comes(
    browser: Browser, gate: Shown
) -> None:
    gate.call("wanted_tool")
    gate.call("another_tool")
    with opened(browser, gate, java_script_enabled=False) as seen:
        page = seen.page
        page.get_by_label("Text").fill("wanted_tool")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("#rows tr")).to_have_count(1)
        expect(page.locator("#pause")).to_be_hidden()
    with opened(browser, gate, "?text=wanted_tool") as seen:
        rows = seen.page.locator("#rows tr")
        gate.call("another_tool")
        gate.call("wanted_tool")
        expect(rows).to_have_count(2)
        page = seen.page
        page.get_by_text("The same as a table").click()
        seen.judge()
