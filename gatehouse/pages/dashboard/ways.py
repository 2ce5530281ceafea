"""The ways for clients to connect, each with its steps and with texts to copy, as the pages of the dashboard show them."""

from __future__ import annotations

from typing import NamedTuple

from gatehouse.pages import snippets
from gatehouse.pages.snippets import PLACEHOLDER

OPEN_SETTINGS = (
    "Save as .vscode/mcp.json, or add it with the command “MCP: Open User Configuration”."
)

BROWSER = "It opens a browser to sign in"

AIM = ", to sign in"
"""Stands behind the name of a text that has no token, where the page has one with a token, too."""


class Text(NamedTuple):
    """A text to copy."""

    text: str
    what: str
    """Its name for people who do not see it, to come behind «Copy»."""
    is_line: bool = True
    """True for a command or an address, which is one line however long it is; False for a configuration."""


class Way(NamedTuple):
    """One way for one client."""

    client: str
    steps: str
    texts: tuple[Text, ...] = ()
    warning: str = ""


def with_token(
    endpoint: str, token: str, key: str, *, header: bool = True, query: bool = True
) -> list[Way]:
    """The ways to bring a static token, or PLACEHOLDER for one, in a header, and in the URL where it may stand there.

    `key` is the name of the server in a client's configuration.
    """
    ways = _in_header(endpoint, token, key) if header else []
    if query:
        ways.append(
            Way(
                "ChatGPT and others that cannot send headers",
                "Put the token into the address. In ChatGPT, switch on developer mode, create an app with this address, "
                "and choose no authentication.",
                (Text(snippets.url_key(endpoint, token), "the address with the token"),),
                "A token in an address shows up in the logs of bridges and proxies; prefer the header.",
            )
        )
    return ways


def _in_header(endpoint: str, token: str, key: str) -> list[Way]:
    return [
        _pasted(
            "Claude Desktop",
            "Add to claude_desktop_config.json, then restart Claude. Needs Node.js 20 or newer.",
            snippets.supergateway(endpoint, token, key),
        ),
        _run("Claude Code", "", snippets.claude_code(endpoint, token, key)),
        # VS Code asks for a token that it is not given, and keeps it elsewhere than in the file.
        _pasted(
            "VS Code",
            f"{OPEN_SETTINGS} VS Code asks for the token and keeps it elsewhere.",
            snippets.vs_code(endpoint, token, key),
        )
        if token == PLACEHOLDER
        else _run("VS Code", "", snippets.vs_code_command(endpoint, token, key)),
        _pasted("Cursor", "Add to ~/.cursor/mcp.json.", snippets.cursor(endpoint, token, key)),
        _run("Gemini CLI", "", snippets.gemini_cli(endpoint, token, key)),
        _both(
            "mcp-remote",
            "For any client that starts local commands",
            snippets.mcp_remote(endpoint, token, key),
            snippets.mcp_remote_command(endpoint, token),
        ),
        Way(
            "MCP Inspector",
            "Lists the tools, which makes it a quick check of a token.",
            (Text(snippets.inspector(endpoint, token), "the command for the Inspector"),),
        ),
    ]


def with_sign_in(endpoint: str, key: str) -> list[Way]:
    """The ways for clients that sign in, and need no token."""
    return [
        Way(
            "Claude, ChatGPT and others with connectors",
            "In Claude on the web, on the desktop or on the phone: Settings, Connectors, “Add custom connector”, this address, "
            "then “Connect”. In ChatGPT, create an app with this address in developer mode, and choose OAuth.",
            (Text(endpoint, "the address of the server"),),
        ),
        _run(
            "Claude Code",
            ", then sign in with /mcp in Claude Code",
            snippets.claude_code(endpoint, "", key),
            AIM,
        ),
        _both(
            "VS Code",
            f"{OPEN_SETTINGS} {BROWSER}",
            snippets.vs_code(endpoint, "", key),
            snippets.vs_code_command(endpoint, "", key),
            AIM,
        ),
        _pasted(
            "Cursor",
            "Add to ~/.cursor/mcp.json, then sign in where Cursor lists its servers.",
            snippets.cursor(endpoint, "", key),
            AIM,
        ),
        *_in_a_terminal(endpoint, key),
        _both(
            "mcp-remote",
            f"For any client that starts local commands. {BROWSER}",
            snippets.mcp_remote(endpoint, "", key),
            snippets.mcp_remote_command(endpoint, ""),
            AIM,
        ),
    ]


def _in_a_terminal(endpoint: str, key: str) -> list[Way]:
    return [
        _run("Codex", f". {BROWSER}", snippets.codex(endpoint, key), AIM),
        _pasted(
            "opencode",
            f"Add to opencode.json, then sign in with opencode mcp auth {key} in a terminal.",
            snippets.opencode(endpoint, key),
            AIM,
        ),
        _run(
            "Gemini CLI",
            f", then sign in with /mcp auth {key} in Gemini CLI",
            snippets.gemini_cli(endpoint, "", key),
            AIM,
        ),
    ]


def _run(client: str, then: str, command: str, aim: str = "") -> Way:
    steps = f"Run once in a terminal{then}."
    return Way(client, steps, (Text(command, f"the command for {client}{aim}"),))


def _pasted(client: str, steps: str, configuration: str, aim: str = "") -> Way:
    what = f"the configuration for {client}{aim}"
    return Way(client, steps, (Text(configuration, what, is_line=False),))


def _both(client: str, steps: str, configuration: str, command: str, aim: str = "") -> Way:
    """A configuration, and a command that does the same."""
    told = _pasted(
        client, f"{steps}; the second text is the same as one command line.", configuration, aim
    )
    return told._replace(texts=(*told.texts, Text(command, f"the command for {client}{aim}")))
