"""The snippets for clients, as the clients read them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from gatehouse.pages import snippets
from gatehouse.pages.snippets import BY_URL, CLIENTS

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://gate.example/mcp"
TOKEN = "t0Ken/for+tests.only~3f9c1b7ad25e48c0"


def test_vs_code_asks_for_the_token_and_the_file_has_none() -> None:
    text = snippets.vs_code(URL, TOKEN, "foodwise")
    assert TOKEN not in text
    read = json.loads(text)
    (asked,) = read["inputs"]
    assert asked["type"] == "promptString"
    assert asked["password"] is True
    server = read["servers"]["foodwise"]
    assert (server["type"], server["url"]) == ("http", URL)
    assert server["headers"]["Authorization"] == f"Bearer ${{input:{asked['id']}}}"


def test_the_command_of_vs_code_reaches_it_as_the_same_server() -> None:
    program, option, server = shlex.split(snippets.vs_code_command(URL, TOKEN, "foodwise"))
    assert (program, option) == ("code", "--add-mcp")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert json.loads(server) == {
        "name": "foodwise",
        "type": "http",
        "url": URL,
        "headers": headers,
    }


def test_cursor_has_the_token_in_a_header() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    read = json.loads(snippets.cursor(URL, TOKEN, "foodwise"))
    assert read == {"mcpServers": {"foodwise": {"url": URL, "headers": headers}}}


def test_gemini_cli_gets_its_header_last_since_all_words_behind_it_are_headers() -> None:
    words = shlex.split(snippets.gemini_cli(URL, TOKEN, "foodwise"))
    assert words[-4:] == ["foodwise", URL, "--header", f"Authorization: Bearer {TOKEN}"]
    assert words[:-4] == ["gemini", "mcp", "add", "--scope", "user", "--transport", "http"]


@pytest.mark.parametrize(
    "make", [snippets.vs_code, snippets.vs_code_command, snippets.cursor, snippets.gemini_cli]
)
def test_a_client_that_signs_in_gets_the_address_alone(
    make: Callable[[str, str, str], str],
) -> None:
    text = make(URL, "", "foodwise")
    assert URL in text
    assert not [word for word in ("Bearer", "Authorization", "input", "header") if word in text]


def test_clients_in_a_terminal_sign_in_by_the_address_alone() -> None:
    assert shlex.split(snippets.codex(URL, "foodwise")) == [
        *("codex", "mcp", "add", "foodwise"),
        *("--url", URL),
    ]
    read = json.loads(snippets.opencode(URL, "foodwise"))
    assert read == {"mcp": {"foodwise": {"type": "remote", "url": URL}}}
    words = shlex.split(snippets.mcp_remote_command(URL, ""))
    assert words == ["npx", "-y", snippets.MCP_REMOTE, URL, "--transport", "http-only"]


@pytest.mark.parametrize("client", CLIENTS)
def test_each_snippet_of_the_command_line_has_the_token_in_a_url_only_where_there_is_no_header(
    client: str,
) -> None:
    text = CLIENTS[client](URL, TOKEN, "foodwise")
    assert TOKEN in text
    assert (f"?key={TOKEN}" in text) == (client in BY_URL)
