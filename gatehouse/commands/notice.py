"""The start-up notice: where the gate listens, and snippets to paste into clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gatehouse.pages import snippets
from gatehouse.pages.snippets import PLACEHOLDER, slug
from gatehouse.records.log import now
from gatehouse.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

URL_KEY = """\
A client that cannot send headers uses this URL. Prefer a header: the gate logs no URL key, but it still
shows in the logs of bridges (supergateway, mcp-remote), of fronts and proxies on the way (in a Space:
Hugging Face's), and wherever the URL is pasted. ALLOW_QUERY_KEY=false switches URL keys off.
{url}

"""


STOP = "Stop with Ctrl+C."


def where(endpoint: str, upstream: str) -> str:
    """A sentence: `endpoint` is the URL of `/mcp` as clients reach it, `upstream` says where requests go."""
    return f"gate {VERSION} listens at {endpoint} and forwards to {upstream}"


def about_token(one_off_token: str | None, names: Sequence[str]) -> str:
    """The lines about tokens.

    `one_off_token` is a token made for this run, so that it may and must be shown; None means that the user has set
    the token and knows it, so it is not repeated. `names` are those of the named tokens.
    """
    lines = [
        f"Token for this run only (set MCP_AUTH_TOKEN to keep one): {one_off_token}"
        if one_off_token
        else f"Put your {'token' if names else 'MCP_AUTH_TOKEN'} where it says {PLACEHOLDER}."
    ]
    if names:
        lines.append(f"Named tokens in force: {', '.join(names)}")
    return "\n".join(lines)


def sign_in_snippets(endpoint: str, server: str) -> str:
    """The snippets for clients that sign in, with the name of the `server`."""
    name = slug(server)
    return f"""
Clients that sign in (Claude, ChatGPT and others with connectors), by this URL alone:
{endpoint}

Claude Code, which then signs in by /mcp:
{snippets.claude_code(endpoint, "", name)}

mcp-remote, for any client that starts commands:
{snippets.mcp_remote(endpoint, "", name)}
"""


def snippets_for(endpoint: str, token: str, server: str, *, url_keys: bool) -> str:
    """The snippets, with the name of the `server`; with `url_keys`, some token may come in a URL."""
    name = slug(server)
    about_url = URL_KEY.format(url=snippets.url_key(endpoint, token)) if url_keys else ""
    return f"""
Claude Desktop, in claude_desktop_config.json:
{snippets.supergateway(endpoint, token, name)}

Claude Code:
{snippets.claude_code(endpoint, token, name)}

MCP Inspector:
{snippets.inspector(endpoint, token)}

{about_url}{STOP}"""


def as_json(endpoint: str, upstream: str, one_off_token: str) -> str:
    """The notice for machines: a line like those of the log, with the token that is shown nowhere else."""
    return json.dumps(
        {
            "time": now(),
            "level": "INFO",
            "logger": "gate",
            "message": f"{where(endpoint, upstream)}; the token is for this run only",
            "version": VERSION,
            "endpoint": endpoint,
            "upstream": upstream,
            "token": one_off_token,
        }
    )
