"""Debian's Chromium, driven by Playwright, with a network that ends at this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.harness.npm import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It asks nobody but the pages that it is shown.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    # A page of another host may frame one of this machine without asking the person; the gate's own word on frames is tried.
    "--disable-features=LocalNetworkAccessChecks",
)


def chromium_path() -> str:
    """The program; skips the test if there is none, and in CI fails it."""
    found = shutil.which("chromium")
    return found or unavailable("chromium is not on this machine")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a screen, until the block ends."""
    path = chromium_path()
    sandbox = [] if os.getuid() else ["--no-sandbox"]  # which root cannot have
    # Playwright brings an event loop of asyncio's, and trio-asyncio makes others unless a policy has been set.
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *sandbox])
            try:
                yield browser
            finally:
                browser.close()
    finally:
        asyncio.set_event_loop_policy(None)
