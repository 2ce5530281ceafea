"""Others at the dashboard, in a real browser: strangers, pages of other origins, people of yesterday, providers in trouble."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from gatehouse.signin.sign_in import CALLBACK
from tests.browser.gates import (
    ask_for,
    headed,
    in_a_space,
    leave,
    make_token,
    press,
    sign_in,
    visiting,
)
from tests.browser.pages import serving
from tests.browser.window import window
from tests.clients.authorization_servers import nanoidp, oidc_provider
from tests.clients.node import node_programs
from tests.harness.identity.hugging_face import hugging_face
from tests.harness.identity.person import ANSWERS
from tests.harness.identity.scripts import hang, status
from tests.harness.only_ci import only_in_ci
from tests.harness.program import Program, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.browser.window import Window
    from tests.harness.identity.hugging_face import HuggingFace
    from tests.harness.identity.scripts import Script

pytestmark = only_in_ci


def test_a_stranger_learns_that_they_are_not_on_the_list_and_nothing_else(
    browser: Browser, program: Program, provider: HuggingFace
) -> None:
    with visiting(browser, program, provider) as opened:
        page = opened.page
        for person in ("bob", "mallory"):
            sign_in(page, program, person, "/dashboard/tokens")
            headed(page, "Not on the list")
            opened.judge()
            assert "Probe" not in page.content()
            names = [cookie["name"] for cookie in opened.context.cookies()]
            assert [name for name in names if "gate" in name] == []
        page.goto(f"{program.url}/dashboard/settings")
        headed(page, "Dashboard")
        opened.forgive("status of 40[13]")


FORM = """<!doctype html><title>Win a prize</title>
<form method="post" action="{action}"><input name="name" value="evil"><input name="form_token" value="{token}">
<button>Claim it</button></form>
<iframe name="frame" src="{url}/dashboard/tokens" width="600" height="400"></iframe>
<script>
async function take() {{
  const told = [];
  for (const path of ["/dashboard/now.json", "/dashboard/tokens.toml", "/dashboard"]) {{
    try {{ told.push(await (await fetch("{url}" + path, {{credentials: "include"}})).text()); }} catch {{}}
  }}
  return told;
}}
</script>"""


def test_a_page_of_another_origin_changes_nothing_reads_nothing_and_shows_nothing(
    owner: Window, program: Program
) -> None:
    page, port = owner.page, free_port()
    page.goto(f"{program.url}/dashboard/tokens")
    token = page.locator("input[name=form_token]").first.input_value()
    forged = FORM.format(
        action=f"{program.url}/dashboard/tokens/make", url=program.url, token=token
    )
    # The same machine by its number is the same site, whose cookies browsers send along with forms.
    for host in ("127.0.0.1", "localhost"):
        stranger = f"http://{host}:{port}"
        owner.homes.append(stranger)
        with serving(port, forged.encode()):
            page.goto(stranger)
            expect(page.frame_locator("iframe").get_by_role("heading")).to_have_count(0)
            assert page.evaluate("take()") == []
            press(page, "Claim it")
            page.wait_for_url(f"{program.url}/**")
            expect(page.get_by_role("heading", level=1)).not_to_contain_text("new value")
        owner.forgive("frame-ancestors|X-Frame-Options|frame")
        owner.overlook("status of 40[13]|CORS|ERR_FAILED|ERR_BLOCKED")
    page.goto(f"{program.url}/dashboard/tokens")
    expect(page.get_by_role("heading", name="evil")).to_have_count(0)
    program.wait_for_log("from another place than the dashboard did nothing")


def test_an_old_page_of_another_session_does_nothing(owner: Window, program: Program) -> None:
    page = owner.page
    page.goto(f"{program.url}/dashboard/tokens")
    old = page.locator("input[name=form_token]").first.input_value()
    leave(page, "Sign out")
    sign_in(page, program, path="/dashboard/tokens")
    headed(page, "Tokens")
    page.locator("input[name=form_token]").evaluate_all(
        "(fields, old) => fields.forEach(field => field.value = old)", old
    )
    ask_for(page, "late")
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("new value")
    owner.judge()
    page.goto(f"{program.url}/dashboard/tokens")
    expect(page.get_by_role("heading", name="late")).to_have_count(0)
    owner.forgive("status of 40[13]")


def test_somebody_who_was_on_the_list_yesterday_is_out_at_once(
    browser: Browser, provider: HuggingFace, tmp_path: Path
) -> None:
    port = str(free_port())
    with window(browser, f"http://127.0.0.1:{port}", provider.url) as opened:
        page = opened.page
        with in_a_space(tmp_path, provider, PORT=port, ADMINS="alice, bob") as yesterday:
            sign_in(page, yesterday, "bob", "/dashboard/tokens")
            ask_for(page, "of-bob")
            headed(page, "A new value for of-bob")
            page.goto(f"{yesterday.url}/dashboard/tokens")
            headed(page, "Tokens")
        with in_a_space(tmp_path, provider, PORT=port) as today:
            page.locator("summary", has_text="Make a token").click()
            ask_for(page, "again")
            headed(page, "Not on the list")
            page.goto(f"{today.url}/dashboard")
            headed(page, "Not on the list")
            assert "of-bob" not in page.content()
            press(page, "Sign out")
            headed(page, "Dashboard")
            sign_in(page, today, "alice", "/dashboard/tokens")
            expect(page.get_by_role("heading", name="of-bob")).to_be_visible()
            expect(page.get_by_role("heading", name="again")).to_have_count(0)
        opened.forgive("status of 40[13]|favicon")


TROUBLE: dict[str, tuple[str, Script | dict[str, Any]]] = {
    "out of order": ("/oauth/token", status(503)),
    "slow": ("/oauth/token", hang),
    "an issuer of its own": ("id_token", {"iss": "https://evil.example"}),
    "for another client": ("id_token", {"aud": "another"}),
    "for another browser": ("id_token", {"nonce": "another"}),
    "two people at once": ("userinfo", {"sub": "another"}),
    "an answer to another question": ("answer", {"state": "another"}),
}
"""The part of the provider that is in trouble, and its answers there, or its lie."""


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_provider_in_trouble_ends_on_one_page_with_one_link(
    browser: Browser, program: Program, provider: HuggingFace, trouble: str
) -> None:
    where, lie = TROUBLE[trouble]
    with visiting(browser, program, provider) as opened:
        page = opened.page
        if isinstance(lie, dict):
            provider.changes[where] = lie
        else:
            provider.says[where] = lie
        try:
            sign_in(page, program)
            expect(page.get_by_role("link")).to_have_count(1)
            opened.judge()
            assert program.url + CALLBACK in page.url
            names = [cookie["name"] for cookie in opened.context.cookies()]
            assert "gate-session" not in names
        finally:
            provider.says.clear()
            provider.changes.clear()
        page.get_by_role("link").click()  # once the provider is well again
        page.get_by_label("Signed in as").select_option("alice")
        press(page, "Authorize")
        headed(page, "Now")
        opened.forgive("status of 40[0-9]|status of 503")


def test_a_provider_that_is_dead_is_told_and_found_again_when_it_is_back(
    browser: Browser, tmp_path: Path
) -> None:
    with hugging_face(asks=True) as provider, in_a_space(tmp_path, provider) as program:
        provider.stop()
        with visiting(browser, program, provider) as opened:
            page = opened.page
            page.goto(f"{program.url}/dashboard")
            press(page, "Sign in with Hugging Face")
            expect(page.get_by_role("link")).to_have_count(1)
            opened.judge()
            provider.start()
            opened.forgive("status of 401")
            opened.forgive("status of 503")


def test_the_owner_of_a_gate_signs_in_at_oidc_provider(browser: Browser, tmp_path: Path) -> None:
    node_programs()
    port = str(free_port())
    with oidc_provider(tmp_path, CLIENT=json.dumps(client_at(port))) as server:
        with signing_in(browser, tmp_path, port, server.issuer) as page:
            page.get_by_placeholder("Enter any login").fill(ANSWERS["login"])
            page.get_by_placeholder("and password").fill(ANSWERS["password"])
            press(page, "Sign-in")
            press(page, "Continue")


def test_the_owner_of_a_gate_signs_in_at_nanoidp(browser: Browser, tmp_path: Path) -> None:
    port = str(free_port())
    with nanoidp(tmp_path, client_at(port)) as server:
        with signing_in(browser, tmp_path, port, server.issuer) as page:
            page.locator("[name=username]").fill(ANSWERS["username"])
            page.locator("[name=password]").fill(ANSWERS["password"])
            page.locator("[type=submit]").first.click()


def client_at(port: str) -> dict[str, Any]:
    """The gate at that port, as a provider has it registered."""
    return {
        "client_id": "dashboard",
        "client_secret": "s3cret-of-the-dashboard_0123456789",
        "redirect_uris": [f"http://127.0.0.1:{port}{CALLBACK}"],
    }


@contextmanager
def signing_in(browser: Browser, folder: Path, port: str, issuer: str) -> Iterator[Page]:
    """The provider's page, where the block signs alice in; she then comes to the dashboard, makes a token, and leaves."""
    client = client_at(port)
    settings = {
        "MCP_APP": "probe_server:mcp",
        "PUBLIC_URL": "http://127.0.0.1:{port}",
        "SIGN_IN": issuer,
        "SIGN_IN_CLIENT_ID": client["client_id"],
        "SIGN_IN_CLIENT_SECRET": client["client_secret"],
        "ADMINS": f"sub:{ANSWERS['login']}",
    }
    with running(folder, PORT=port, **settings) as program:
        program.wait_for()
        with window(browser, program.url, issuer) as opened:
            page = opened.page
            page.goto(f"{program.url}/dashboard/tokens")
            page.get_by_role("link", name="Sign in").click()
            yield page
            headed(page, "Tokens")
            make_token(page, program, "one")
            leave(page, "Sign out")
            expect(page.get_by_text("You are signed out.")).to_be_visible()
            opened.forgive("status of 401")
            # Their pages want fonts and styles from elsewhere, which this browser cannot have.
            opened.overlook(f"asked elsewhere: https://|ERR_NAME_NOT_RESOLVED|{issuer}")
