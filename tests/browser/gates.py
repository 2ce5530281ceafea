"""Gates with a dashboard, and people who come to it in a window."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from playwright.sync_api import expect

from tests.browser.window import window
from tests.harness.identity.hugging_face import CLIENT_ID, CLIENT_SECRET, CREATOR
from tests.harness.program import Program, running

VALUE = re.compile(r"mcpgate_[A-Za-z0-9_-]+")
"""A value of a token."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.browser.window import Window
    from tests.harness.identity.openid_provider import OpenIDProvider


def of_a_space(provider: OpenIDProvider) -> dict[str, str]:
    """The environment of a Space with `hf_oauth: true`, but at an address of this machine."""
    return {
        "HOST": "127.0.0.1",
        "SIGN_IN": "huggingface",
        "SPACE_ID": "alice/kitchen",
        "SPACE_CREATOR_USER_ID": CREATOR,
        "OAUTH_CLIENT_ID": CLIENT_ID,
        "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": provider.url,
        "PUBLIC_URL": "http://127.0.0.1:{port}",
    }


@contextmanager
def in_a_space(folder: Path, provider: OpenIDProvider, **settings: str) -> Iterator[Program]:
    """The program in such a Space, with a server of the tests', until the block ends."""
    given = {"MCP_APP": "probe_server:mcp", **of_a_space(provider), **settings}
    with running(folder, **given) as program:
        program.wait_for()
        yield program


@contextmanager
def visiting(
    browser: Browser, program: Program, provider: OpenIDProvider, **options: Any
) -> Iterator[Window]:
    """A window for the gate and for the provider where people sign in."""
    with window(browser, program.url, provider.url, **options) as opened:
        yield opened
        opened.overlook(f"{provider.url}/favicon.ico")  # the provider has no sign


def press(page: Page, name: str) -> None:
    """Press the button of that name, or follow the link."""
    found = page.get_by_role("button", name=name, exact=True)
    found.or_(page.get_by_role("link", name=name, exact=True)).click()


def sign_in(page: Page, program: Program, person: str = "alice", path: str = "/dashboard") -> None:
    """Go to a page of the dashboard and through the sign-in before it, as that person at Hugging Face's stand-in."""
    page.goto(program.url + path)
    press(page, "Sign in with Hugging Face")
    page.get_by_label("Signed in as").select_option(person)
    press(page, "Authorize")
    page.wait_for_url(f"{program.url}/**")


def headed(page: Page, words: str) -> None:
    """Wait until the page has these words as its headline."""
    expect(page.get_by_role("heading", level=1)).to_have_text(words)


def rested(page: Page) -> None:
    """Wait until a click on the page that asks about an app counts: it has been in front for a moment."""
    page.wait_for_timeout(700)


def leave(page: Page, words: str) -> None:
    """Sign out by the menu with the person's name."""
    page.locator("details.who > summary").click()
    press(page, words)


def make_token(page: Page, program: Program, name: str) -> str:
    """Make a token on the page of tokens; its value."""
    page.goto(f"{program.url}/dashboard/tokens")
    ask_for(page, name)
    return value_on(page)


def ask_for(page: Page, name: str) -> None:
    """Send the form on the page of tokens that makes one."""
    if not page.locator("#name").is_visible():
        page.locator("summary", has_text="Make a token").click()
    page.locator("#name").fill(name)
    press(page, "Make the token")


def value_on(page: Page) -> str:
    """The new value that a page shows."""
    page.wait_for_selector("#value")
    found = VALUE.search(page.content())
    assert found
    return found[0]


def refused(endpoint: str, value: str) -> bool:
    """True if a client with this value is turned away."""
    headers = {"Authorization": f"Bearer {value}"}
    return httpx.post(endpoint, headers=headers, trust_env=False).status_code == 401
