"""Redirect URIs: which places may get an answer, and which are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.redirects import MAX_URI_LENGTH, check_redirect_uri, destination_of, matches

GOOD = [
    "https://claude.ai/api/mcp/auth_callback",
    "https://chatgpt.com/connector_platform_oauth_redirect",
    "https://client.example:8443/callback?tenant=1",
    "http://127.0.0.1/callback",
    "http://127.0.0.1:33418/",
    "http://localhost:3118/callback",
    "http://[::1]:8080/cb",
    "cursor://anysphere.cursor-mcp/oauth/user-abc/callback",
    "vscode://dynamicauthprovider/callback",
    "com.example.app:/oauth2redirect",
]
BAD = [
    "",
    "/callback",
    "callback",
    "https:",
    "https:///callback",
    "https://",
    "http://client.example/callback",
    "http://127.0.0.1.example.com/callback",
    "http://127.0.0.2/callback",
    "http://localhost.example/callback",
    "https://client.example/callback#part",
    "https://client.example/callback#",
    "https://me@client.example/callback",
    "https://me:secret@client.example/callback",
    "http://127.0.0.1:80@evil.example/",
    "http://localhost\\@evil.example/",
    "https://client.example/call back",
    "https://client.example/call\nback",
    "https://client.example/\u202ecallback",
    "https://client.example/%zz",
    "https://client.example:0/",
    "https://client.example:99999/",
    "https://-client.example/",
    "https://client..example/",
    "https://[::1/",
    "https://[1.2.3.4]/",
    "HTTPS://client.example/callback",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "data:text/html,hello",
    "file:///etc/passwd",
    "blob:https://client.example/1",
    "about:blank",
    "vbscript:msgbox",
    "view-source:https://client.example",
    "intent://scan/#Intent;end",
    "ms-msdt:/id",
    "ms-word:ofe%7Cu%7Chttps://evil.example/letter.docx",
    "microsoft-edge:https://evil.example/",
    "googlechromes://evil.example/",
    "x-safari-https://evil.example/",
    "firefox://open-url?url=https://evil.example/",
    "shortcuts://run-shortcut?name=one",
    "itms-services://?action=download-manifest&url=https://evil.example/",
    "cursor:",
    "ws://127.0.0.1/",
    "https://client.example/" + "a" * MAX_URI_LENGTH,
]


@pytest.mark.parametrize("uri", GOOD)
def test_answers_may_go_to_the_web_to_this_computer_and_to_apps(uri: str) -> None:
    check_redirect_uri(uri)
    assert matches(uri, uri)
    place = destination_of(uri)
    assert place.is_local is (not uri.startswith("https:"))
    assert place.text


@pytest.mark.parametrize("uri", BAD)
def test_answers_go_nowhere_else_and_no_refusal_repeats_the_place(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^(has|must)") as caught:
        check_redirect_uri(uri)
    assert len(uri) < 8 or uri not in str(caught.value)


def test_on_this_computer_the_port_may_be_another_and_nothing_else() -> None:
    registered = "http://127.0.0.1:1234/callback?a=1"
    assert matches(registered, "http://127.0.0.1:4321/callback?a=1")
    assert matches(registered, "http://127.0.0.1/callback?a=1")
    for other in (
        "http://localhost:1234/callback?a=1",
        "http://127.0.0.1:1234/callback?a=2",
        "http://127.0.0.1:1234/callback",
        "http://127.0.0.1:1234/callback/?a=1",
        "http://127.0.0.1:1234/Callback?a=1",
        "https://127.0.0.1:1234/callback?a=1",
        "http://127.0.0.1:1234/callback?a=1#",
        "http://me@127.0.0.1:1234/callback?a=1",
    ):
        assert not matches(registered, other), other


@pytest.mark.parametrize("uri", [uri for uri in GOOD if not uri.startswith("http:")])
def test_elsewhere_one_other_letter_is_another_place(uri: str) -> None:
    for other in (uri + "/", uri + "?", uri[:-1], uri.upper(), uri.replace(":", ":443", 1)):
        assert not matches(uri, other), other


def test_people_read_where_an_answer_goes() -> None:
    assert destination_of("https://claude.ai/cb").text == "claude.ai"
    assert destination_of("https://claude.ai:8443/cb").text == "claude.ai:8443"
    assert destination_of("http://localhost:1/cb").text == "this computer"
    assert "cursor" in destination_of("cursor://x/cb").text
    assert destination_of("http://127.0.0.1:1/a").key == destination_of("http://127.0.0.1:2/b").key
    assert destination_of("https://a.example/").key != destination_of("https://a.example:8443/").key


@given(st.text() | st.from_regex(r"(https?|[a-z]{1,9})://?[!-~]{0,40}", fullmatch=True))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    try:
        check_redirect_uri(text)
    except ValueError:
        assert not matches(text + "x", text)
        return
    assert text.isascii()
    assert "#" not in text
    assert not text.lower().startswith(("javascript:", "data:", "file:", "vbscript:"))
    destination_of(text)
