"""A window of a browser that notes all that no page of the gate's may do, and judges how a page looks to everybody."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.harness.npm import packages_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

WIDE, PHONE = (1100, 800), (320, 640)
"""Widths and heights. The phone is the narrowest at which a page must not scroll sideways (WCAG 2.2, 1.4.10)."""

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


class Window:
    """A window with cookies of its own. `homes` are the origins from which its pages may load anything."""

    def __init__(self, context: BrowserContext, homes: Sequence[str]) -> None:
        self.context = context
        self.homes = list(homes)
        self.complaints: list[str] = []
        context.on("console", self._heard)
        context.on("request", self._asked)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        self.page: Page = context.new_page()
        self.page.set_default_timeout(10_000)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            at = message.location["url"]
            self.complaints.append(f"{message.type}: {message.text} ({at})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((*(f"{home}/" for home in self.homes), "data:", "about:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def forgive(self, pattern: str) -> None:
        """Take back the complaints that are meant to be; there must be one."""
        before = self.complaints
        self.overlook(pattern)
        assert self.complaints != before, f"{pattern} is none of {before}"

    def overlook(self, pattern: str) -> None:
        """The same for those that there may be."""
        self.complaints = [words for words in self.complaints if not re.search(pattern, words)]

    def judge(self) -> None:
        """The page that is shown must be sound in light and dark, wide and on a phone."""
        for scheme in SCHEMES:
            for width, height in (WIDE, PHONE):
                # At rest: in the middle of a change, colours are no one's.
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                self.page.set_viewport_size({"width": width, "height": height})
                wide = self.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{self.page.url} is {wide} px wide at {width} px"
                found = violations(self.page)
                assert not found, f"{self.page.url}, {scheme}, {width} px: {found}"


@contextmanager
def window(browser: Browser, *homes: str, **options: Any) -> Iterator[Window]:
    """A window until the block ends; then there must be no complaint that was not forgiven."""
    options.setdefault("viewport", {"width": WIDE[0], "height": WIDE[1]})
    context = browser.new_context(**options)
    try:
        opened = Window(context, homes)
        yield opened
        assert not opened.complaints, opened.complaints
    finally:
        context.close()


def violations(page: Page) -> list[str]:
    """The rules of accessibility that the page breaks, each with a place where it does."""
    page.evaluate(_axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {rule['help']}: {node['html']} {node['any'][:1]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@cache
def _axe() -> str:
    packages = packages_of(Path(__file__).resolve().parent)
    return (packages / "axe-core/axe.min.js").read_text()
