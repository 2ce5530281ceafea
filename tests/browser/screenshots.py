"""Makes pictures of the gate's pages, with believable data: `python -m tests.browser.screenshots DIR [NAME ...]`.

Each page is shown in light and dark, and on a phone. The gate, its server and the stand-in for Hugging Face run in this
process, which ends when the last picture is there.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx

import run
from gatehouse.apps.grants import Grants
from gatehouse.assembly import apps, dashboard
from gatehouse.assembly.start import open_house
from gatehouse.records.recent import Recent
from gatehouse.settings.environment import load_settings
from gatehouse.signin.ended import Ended
from tests.browser.believable import Past, with_a_past, with_apps, write_tokens
from tests.browser.callers import called
from tests.browser.chromium import chromium
from tests.browser.gates import ask_for, headed, of_a_space, press, value_on
from tests.harness.identity.app import App
from tests.harness.identity.hugging_face import hugging_face

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.harness.identity.hugging_face import HuggingFace

PORT = 7860
URL = f"http://127.0.0.1:{PORT}"

SIZE = {"width": 1000, "height": 720}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": SIZE},
    "dark": {"color_scheme": "dark", "viewport": SIZE},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}

PAGES = {
    "now": "/dashboard",
    "tokens": "/dashboard/tokens",
    "people": "/dashboard/people",
    "apps": "/dashboard/apps",
    "connect": "/dashboard/connect",
    "check": "/dashboard/check",
    "settings": "/dashboard/settings",
}


class Studio:
    """Draws the pages of the gate at URL into a folder; `names` are the pages that are wanted, all if there are none."""

    def __init__(
        self, folder: Path, names: list[str], provider: HuggingFace, values: list[str]
    ) -> None:
        self._folder, self._names = folder, names
        self._provider = provider
        self._values = values

    def work(self) -> None:
        """Draw all pages, then end the program."""
        try:
            while httpx.get(f"{URL}/ready", trust_env=False).status_code != 200:
                time.sleep(0.1)
            with chromium() as browser:
                for value in self._values[:2]:
                    called(f"{URL}/mcp", value, "list_inventory")
                for look in LOOKS:
                    self._draw(browser, look)
        except Exception:  # noqa: BLE001 - the program must end, whatever it is
            traceback.print_exc()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _sign_in(self, page: Page) -> None:
        page.goto(f"{URL}/dashboard")
        press(page, "Sign in with Hugging Face")

    def _draw_for_bob(self, browser: Browser, look: str) -> None:
        """He may sign in, and is no admin."""
        context = browser.new_context(**LOOKS[look])
        page = context.new_page()
        self._provider.person = "bob"
        self._sign_in(page)
        headed(page, "Apps")
        self._take(page, "own-apps", look)
        context.close()

    def _draw_question(self, page: Page, look: str) -> None:
        """An app asks, and is let in."""
        with App(f"{URL}/mcp", name="Claude", redirect_uri="https://claude.ai/callback") as app:
            app.discover()
            app.register()
            page.goto(app.authorization_url())
            headed(page, "Let an app in?")
            self._take(page, "consent", look)
            page.wait_for_timeout(700)
            page.route("https://claude.ai/**", lambda there: there.fulfill(body="Done."))
            press(page, "Allow")
            page.wait_for_url("https://claude.ai/**")
            app.redeem(page.url)
            app.ask()

    def _draw(self, browser: Browser, look: str) -> None:
        self._draw_for_bob(browser, look)
        context = browser.new_context(**LOOKS[look])
        page = context.new_page()
        page.goto(URL)
        self._take(page, "start", look)
        page.goto(f"{URL}/dashboard")
        self._take(page, "sign-in", look)
        self._provider.denies = True
        press(page, "Sign in with Hugging Face")
        self._take(page, "failed", look)
        self._provider.denies = False
        self._provider.person = "mallory"
        self._sign_in(page)
        self._take(page, "not-listed", look)
        self._provider.person = "alice"
        self._sign_in(page)
        headed(page, "Now")
        if look == "light":
            page.goto(f"{URL}/dashboard/check")
            press(page, "Look")
            page.get_by_text("Look again").wait_for(timeout=100_000)
        self._draw_question(page, look)
        for name, path in PAGES.items():
            page.goto(URL + path)
            self._take(page, name, look)
        page.goto(f"{URL}/dashboard/tokens")
        ask_for(page, f"tablet-{look}")
        value_on(page)
        self._take(page, "new-value", look)
        context.close()

    def _take(self, page: Page, name: str, look: str) -> None:
        if self._names and name not in self._names:
            return
        page.wait_for_timeout(300)  # colours and pictures are at rest
        page.screenshot(path=self._folder / f"{name}-{look}.png", full_page=True)
        page.screenshot(path=self._folder / f"{name}-{look}-top.png")


def main() -> int:
    """Draw what was asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("names", nargs="*", help="pages; all by default")
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with hugging_face() as provider, tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        settings = {**of_a_space(provider), "PEOPLE": "bob", "STATE_DB": "state.sqlite3"}
        os.environ.update({name: text.format(port=PORT) for name, text in settings.items()})
        values = write_tokens(Path("tokens.toml"))
        clock = Past()
        setattr(dashboard, "Recent", lambda: Recent(clock))  # noqa: B010 - not for mypy to know
        setattr(apps, "Ended", partial(Ended, clock=clock))  # noqa: B010
        setattr(apps, "Grants", partial(Grants, clock=clock))  # noqa: B010
        program = run.Program(*open_house(load_settings()))
        side = program.house.dashboard
        assert side is not None
        with_a_past(side.recent, clock)
        assert program.house.identity.apps is not None
        with_apps(program.house.identity.apps.grants, clock, f"{URL}/mcp", provider.issuer)
        studio = Studio(folder, given.names, provider, values)
        Thread(target=studio.work).start()
        return run.run(program)


if __name__ == "__main__":
    raise SystemExit(main())
