"""Makes pictures of the gate's pages, with believable data: `python -m tests.browser.screenshots DIR [NAME ...]`.

Each page is shown in light and dark, and on a phone. The gate, its server and the stand-in for Hugging Face run in this
process, which ends when the last picture is there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx

import run
from gatehouse.assembly import dashboard
from gatehouse.assembly.start import open_house
from gatehouse.identity.grants import Grants
from gatehouse.records.recent import Recent
from gatehouse.records.record import Record
from gatehouse.settings.environment import load_settings
from gatehouse.tokens import issue
from gatehouse.tokens.token import Token
from tests.browser.callers import called
from tests.browser.chromium import chromium
from tests.browser.gates import ask_for, headed, of_a_space, press, value_on
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
    "connect": "/dashboard/connect",
    "check": "/dashboard/check",
    "settings": "/dashboard/settings",
}

TOKENS = [  # name, note, days since it was made, days it is good for
    ("laptop", "Claude Desktop in the study", 41, 0),
    ("phone", "Claude on the phone", 12, 0),
    ("nightly", "The job that writes the shopping list", 96, 120),
    ("guest", "For the weekend", 9, 7),
]
CALLS = ["list_inventory", "add_item", "get_item", "list_expiring", "consume_item", "list_shopping"]


class Past:
    """A clock that can be put back."""

    ago = 0.0

    def __call__(self) -> float:
        return time.time() - self.ago


def with_a_past(recent: Recent, clock: Past) -> None:
    """Fill the last hour with what a kitchen may have asked."""
    chance = random.Random(7)  # noqa: S311 - of pictures
    for minute in range(59, 0, -1):
        busy = 3 + 9 * chance.random() * (1.6 if 14 < minute < 33 else 0.6)
        for second in sorted(60 * chance.random() for _ in range(int(busy))):
            clock.ago = 60 * minute - second  # never back: later minutes would be dropped
            recent(a_call(chance))
        if chance.random() < 0.2:
            recent(a_refusal(chance))
    clock.ago = 0.0


def a_call(chance: random.Random) -> Record:
    tool = chance.choice(CALLS)
    seconds = 0.004 * 2 ** (4 * chance.random() ** 2) * (6 if tool == "list_expiring" else 1)
    failed = chance.random() < 0.03
    return record(
        chance,
        name=chance.choice(["laptop", "laptop", "phone", "nightly"]),
        lane="header",
        tool=tool,
        result="error" if failed else "ok",
        seconds=seconds,
    )


def a_refusal(chance: random.Random) -> Record:
    return record(
        chance,
        client="198.51.100.7",
        status=401,
        outcome="refused",
        reason=chance.choice(["token", "token", "token-not-in-time", "no-token"]),
        rpc_method="",
    )


def record(chance: random.Random, **members: Any) -> Record:
    usual: dict[str, Any] = {
        "request_id": f"{chance.getrandbits(64):016x}",
        "client": f"203.0.113.{chance.choice([20, 20, 91])}",
        "name": "",
        "lane": "",
        "method": "POST",
        "path": "/mcp",
        "route": "mcp",
        "rpc_method": "tools/call",
        "tool": "",
        "differs": False,
        "result": "",
        "status": 200,
        "bytes_in": 140 + chance.randrange(90),
        "bytes_out": 300 + chance.randrange(2500),
        "first_byte_seconds": 0.003,
        "seconds": 0.0003,
        "outcome": "done",
        "reason": "",
    }
    return Record(**{**usual, **members})


def write_tokens(path: Path) -> list[str]:
    """Make the tokens; their values."""
    values, now = [], datetime.now(UTC)
    for name, note, days, good in TOKENS:
        grants = Grants(tools=("list_*", "get_*")) if name == "guest" else Grants()
        token = Token(name, (), grants, note=note)
        made = now - timedelta(days=days, hours=5)
        expires = timedelta(days=good) if good else None
        values.append(issue.make(path, token, made, expires=expires).value)
    return values


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
                self._let_bob_in(browser)
                for look in LOOKS:
                    self._draw(browser, look)
        except Exception:  # noqa: BLE001 - the program must end, whatever it is
            traceback.print_exc()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _let_bob_in(self, browser: Browser) -> None:
        self._provider.person = "bob"
        page = browser.new_page()
        self._sign_in(page)
        headed(page, "Not on the list")
        self._provider.person = "alice"
        page.close()

    def _sign_in(self, page: Page) -> None:
        page.goto(f"{URL}/dashboard")
        press(page, "Sign in with Hugging Face")

    def _draw(self, browser: Browser, look: str) -> None:
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
        program = run.Program(*open_house(load_settings()))
        side = program.house.dashboard
        assert side is not None
        with_a_past(side.recent, clock)
        studio = Studio(folder, given.names, provider, values)
        Thread(target=studio.work).start()
        return run.run(program)


if __name__ == "__main__":
    raise SystemExit(main())
