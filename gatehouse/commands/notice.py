"""The start-up notice: where the gate listens, and snippets to paste into clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.pages import snippets
from gatehouse.pages.snippets import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "mcp-gate"
"""The name of the gate among a client's servers, in the snippets."""

URL_KEY = """\
A client that cannot send headers uses this URL. Prefer a header: the gate logs no URL key, but it still
shows in the logs of bridges (supergateway, mcp-remote), of fronts and proxies on the way (in a Space:
Hugging Face's), and wherever the URL is pasted. ALLOW_QUERY_KEY=false switches URL keys off.
{url}

"""


def startup_notice(
    endpoint: str,
    *,
    one_off_token: str | None,
    upstream: str,
    names: Sequence[str] = (),
    url_keys: bool = True,
) -> str:
    """The text for the screen.

    `endpoint` is the URL of `/mcp` as clients reach it, `upstream` says where requests go.
    `one_off_token` is a token made for this run, so that it may and must be shown; None means that
    the user has set the token and knows it, so it is not repeated. `names` are those of the named
    tokens; with `url_keys`, some token may come in a URL.
    """
    token = one_off_token or PLACEHOLDER
    about_token = (
        f"Token for this run only (set MCP_AUTH_TOKEN to keep one): {token}"
        if one_off_token
        else f"Put your {'token' if names else 'MCP_AUTH_TOKEN'} where it says {PLACEHOLDER}."
    )
    if names:
        about_token += f"\nNamed tokens in force: {', '.join(names)}"
    about_url = URL_KEY.format(url=snippets.url_key(endpoint, token)) if url_keys else ""
    return f"""\
The gate listens at {endpoint}
and forwards to {upstream}
{about_token}

Claude Desktop, in claude_desktop_config.json:
{snippets.supergateway(endpoint, token, NAME)}

Claude Code:
{snippets.claude_code(endpoint, token, NAME)}

MCP Inspector:
{snippets.inspector(endpoint, token)}

{about_url}Stop with Ctrl+C.
"""
