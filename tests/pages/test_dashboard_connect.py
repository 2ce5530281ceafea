"""The page that says how clients connect: each way that there is, no other, and no text that somebody else has chosen."""

from __future__ import annotations

import re
from html import unescape

import pytest

from gatehouse.pages import snippets
from gatehouse.pages.dashboard.connect import Connect
from gatehouse.pages.dashboard.ways import with_sign_in, with_token
from gatehouse.pages.snippets import PLACEHOLDER
from gatehouse.pages.ways_in import WaysIn
from tests.harness.dashboard import Browser

ENDPOINT = "https://gate.example/mcp"
VALUE = "mcpgate_0123456789abcdefghijklmnopqrstuvwxyz"


async def shown(ways: WaysIn, *, name: str = "FoodWise", url_keys: bool = True) -> str:
    page = Connect(ENDPOINT, lambda: name, ways, lambda: url_keys)
    answer = await Browser({b"/dashboard/connect": page}, name=name).get("/dashboard/connect")
    assert answer.status == 200
    return answer.text


def to_copy(text: str) -> list[str]:
    return [unescape(each) for each in re.findall(r'data-copy="([^"]*)"', text)]


async def test_each_text_to_copy_is_the_one_that_is_seen_with_the_public_address() -> None:
    text = await shown(WaysIn(issuer="https://sso.example"))
    seen = [
        unescape(re.sub(r"</?var>", "", each))
        for each in re.findall(r"(?s)<pre[^>]*><code>(.*?)</code>", text)
    ]
    assert seen == to_copy(text)
    assert len(seen) > 12
    assert all(ENDPOINT in each for each in seen)
    assert snippets.claude_code(ENDPOINT, PLACEHOLDER, "foodwise") in seen
    assert snippets.claude_code(ENDPOINT, "", "foodwise") in seen


@pytest.mark.parametrize(
    ("ways", "signs_in", "brings"),
    [
        (WaysIn(), False, True),
        (WaysIn(issuer="https://sso.example"), True, True),
        (WaysIn(tokens=False, issuer="https://sso.example"), True, False),
        (WaysIn(tokens=False, front="cloudflare"), True, False),
    ],
)
async def test_only_the_ways_that_are_open_are_shown(
    ways: WaysIn, signs_in: bool, brings: bool
) -> None:
    text = await shown(ways)
    assert ('id="sign-in"' in text) == signs_in
    assert (PLACEHOLDER in text) == brings
    assert ('href="/dashboard/tokens"' in text) == brings
    assert ("?key=" in text) == brings
    assert "?key=" not in await shown(ways, url_keys=False)


async def test_the_name_of_a_server_is_text_and_in_commands_a_plain_word() -> None:
    text = await shown(WaysIn(), name='<script>"$(rm)"`;\n\u202e')
    assert "<script>&#34;" not in text
    assert "&lt;script&gt;" in text
    assert all("$(" not in each and "`" not in each for each in to_copy(text))


def test_a_real_token_stands_in_each_text_and_only_where_it_may_come() -> None:
    for header, query in ((True, True), (True, False), (False, True)):
        ways = with_token(ENDPOINT, VALUE, "foodwise", header=header, query=query)
        texts = [text.text for way in ways for text in way.texts]
        assert texts
        assert all(VALUE in text for text in texts)
        assert any(f"?key={VALUE}" in text for text in texts) == query
        assert any("Bearer" in text for text in texts) == header
    assert not any("Bearer" in t.text for way in with_sign_in(ENDPOINT, "x") for t in way.texts)
