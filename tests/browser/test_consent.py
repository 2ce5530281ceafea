"""The page that asks about an app, in a real browser, with the app's own page before it and its own server behind it."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.gates import headed, press, rested, visiting
from tests.harness.identity.app import App
from tests.harness.only_ci import only_in_ci

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from tests.browser.window import Window
    from tests.harness.identity.hugging_face import HuggingFace
    from tests.harness.program import Program

pytestmark = only_in_ci

PAGE = b"""<!doctype html><title>The app</title><link rel="icon" href="data:,">
<p id="heard">nothing</p>
<script>
addEventListener("message", (event) => { document.getElementById("heard").textContent = event.data; });
if (opener && location.search) opener.postMessage(location.search, "*");
</script>"""


@contextmanager
def app_site() -> Iterator[str]:
    """The origin of an app: its callback leads on to another origin, as that of many an app does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/callback":
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{port}/done?{query}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked(
    browser: Browser, program: Program, provider: HuggingFace
) -> Iterator[tuple[Window, App]]:
    """A window at the page of an app, and the app."""
    with app_site() as site, visiting(browser, program, provider) as opened:
        port = site.partition(":")[2]
        opened.homes += [f"http://{site}", f"http://localhost:{port}"]
        with App(f"{program.url}/mcp", redirect_uri=f"http://{site}/callback") as app:
            app.discover()
            app.register()
            opened.page.goto(f"http://localhost:{port}/")
            yield opened, app


def test_a_window_that_an_app_has_opened_comes_back_to_it_through_the_sign_in_and_the_question(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with asked(browser, program, provider) as (opened, app):
        with opened.page.expect_popup() as waiting:
            opened.page.evaluate(
                "url => { window.open(url, 'x', 'width=500,height=700'); }", app.authorization_url()
            )
        popup = waiting.value
        popup.get_by_label("Signed in as").select_option("alice")
        press(popup, "Authorize")
        headed(popup, "Let an app in?")
        rested(popup)
        press(popup, "Allow")
        heard = opened.page.locator("#heard")
        expect(heard).to_contain_text("code=")
        assert f"state={app.state}" in (heard.text_content() or "")


def test_the_question_is_sound_and_no_click_that_was_meant_for_another_window_answers_it(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with asked(browser, program, provider) as (opened, app):
        page = opened.page
        page.goto(app.authorization_url())
        page.get_by_label("Signed in as").select_option("alice")
        press(page, "Authorize")
        headed(page, "Let an app in?")
        opened.judge()
        for event in (
            "window.dispatchEvent(new Event('focus'))",
            "document.dispatchEvent(new Event('visibilitychange'))",
        ):
            page.evaluate(event)
            press(page, "Allow")
            headed(page, "Let an app in?")
        rested(page)
        press(page, "Deny")
        page.wait_for_url("**/done?error=access_denied**")


def test_the_second_click_of_two_on_the_page_before_it_answers_nothing(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with asked(browser, program, provider) as (opened, app):
        page = opened.page
        page.goto(app.authorization_url())
        page.get_by_label("Signed in as").select_option("alice")
        press(page, "Authorize")
        headed(page, "Let an app in?")
        box = page.get_by_role("button", name="Allow", exact=True).bounding_box()
        assert box
        place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.goto(app.redirect_uri.replace("/callback", "/"))
        page.evaluate(
            "url => { onclick = () => { location.href = url; }; }", app.authorization_url()
        )
        page.mouse.click(*place)
        headed(page, "Let an app in?")
        page.mouse.click(*place)
        page.wait_for_timeout(300)
        headed(page, "Let an app in?")
        rested(page)
        page.mouse.click(*place)
        page.wait_for_url("**/done?code=**")
