"""The start page in a real browser."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.pages import FRAME, serving
from tests.browser.window import window
from tests.harness.only_ci import only_in_ci
from tests.harness.program import Program, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = only_in_ci


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A gate in front of a server that is not there yet."""
    folder: Path = tmp_path_factory.mktemp("gate")
    with running(folder, MCP_APP="") as program:
        program.wait_for("/health")
        yield program


def pasted(page: Page) -> str:
    """The text on the clipboard."""
    return str(page.evaluate("navigator.clipboard.readText()"))


def shows(page: Page, words: str) -> None:
    """Let time pass until the state of the page has these words: the gate, too, remembers its looks for a moment."""
    state = page.get_by_role("status").first
    deadline = time.monotonic() + 10
    while not re.search(words, state.inner_text()):
        assert time.monotonic() < deadline, state.inner_text()
        page.clock.run_for(5_000)
        time.sleep(0.1)


def test_it_shows_how_the_state_changes_and_asks_nobody_while_nobody_looks(
    browser: Browser, program: Program
) -> None:
    with window(browser, program.url) as opened:
        page, asked = opened.page, []
        page.clock.install()
        page.goto(program.url)
        shows(page, "^Starting: ")
        opened.judge()
        with serving(program.upstream_port):
            shows(page, "^Ready$")
        shows(page, "has not been reachable since")
        assert page.locator("time").get_attribute("datetime")
        opened.judge()
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
        )
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.on("request", lambda request: asked.append(request.url))
        page.clock.run_for(60_000)
        assert asked == []
        with serving(program.upstream_port):
            page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            shows(page, "^Ready$")
        opened.forgive("status of 503")


def test_a_gate_that_does_not_answer_is_told_from_its_server(
    browser: Browser, program: Program
) -> None:
    with window(browser, program.url) as opened:
        opened.page.clock.install()
        opened.page.goto(program.url)
        opened.context.set_offline(True)
        shows(opened.page, "^The gate does not answer$")
        opened.judge()
        opened.context.set_offline(False)
        shows(opened.page, "^Starting: |^The server behind the gate has not been reachable")
        opened.forgive("ERR_INTERNET_DISCONNECTED")
        opened.forgive("status of 503")


def test_each_snippet_is_copied_as_it_is_shown_by_mouse_and_by_keyboard(
    browser: Browser, program: Program
) -> None:
    may = ["clipboard-read", "clipboard-write"]
    with window(browser, program.url, permissions=may) as opened:
        page = opened.page
        page.goto(program.url)
        page.get_by_role("button", name="Copy the address", exact=True).click()
        assert pasted(page) == program.endpoint
        expect(page.get_by_role("status").last).to_have_text("Copied the address")
        page.locator("summary", has_text="Gemini CLI").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").last).to_have_text("Copied the command for Gemini CLI")
        assert pasted(page) == (
            f"gemini mcp add --scope user --transport http mcp-server {program.endpoint} "
            '--header "Authorization: Bearer YOUR_TOKEN"'
        )
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        for button in page.get_by_role("button").all():
            button.click()
            shown = button.locator("xpath=..").locator("code").text_content()
            assert pasted(page) == shown
        opened.judge()
        opened.overlook(
            "status of 503"
        )  # the server is not there, and the page may have asked by now


def test_without_javascript_the_page_is_whole(browser: Browser, program: Program) -> None:
    with window(browser, program.url, java_script_enabled=False) as opened:
        page = opened.page
        page.goto(program.url)
        expect(page.get_by_role("heading", level=1)).to_have_text("MCP server")
        expect(page.get_by_role("button")).to_have_count(0)
        page.get_by_text("Cursor", exact=True).click()
        expect(page.get_by_role("group", name="Cursor configuration")).to_be_visible()


def test_hugging_face_may_frame_it_where_it_works_and_nobody_else_may(
    browser: Browser, program: Program
) -> None:
    page_of = FRAME.format(url=program.url)
    owner = "https://huggingface.co"
    with window(browser, program.url, owner, permissions=["clipboard-read"]) as opened:
        page = opened.page
        page.route(
            f"{owner}/**", lambda route: route.fulfill(body=page_of, content_type="text/html")
        )
        page.goto(f"{owner}/spaces/a/b")
        frame = page.frame_locator("iframe")
        frame.get_by_role("button", name="Copy the address", exact=True).click()
        expect(frame.get_by_role("status").last).to_have_text("Copied the address")
        page.bring_to_front()
        assert pasted(page) == program.endpoint
        opened.forgive("clipboard|permissions policy")
    port = free_port()
    with serving(port, page_of.encode()):
        for host in ("127.0.0.1", "localhost"):
            stranger = f"http://{host}:{port}"
            with window(browser, program.url, stranger) as opened:
                opened.page.goto(stranger)
                expect(opened.page.frame_locator("iframe").get_by_text("MCP gate")).to_have_count(0)
                opened.forgive("frame-ancestors")
