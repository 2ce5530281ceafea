"""The start-up notice: where the gate listens, and snippets to paste into clients."""

from __future__ import annotations

import json

PLACEHOLDER = "YOUR_TOKEN"


def startup_notice(endpoint: str, *, one_off_token: str | None, upstream: str) -> str:
    """The text for the screen.

    `endpoint` is the URL of `/mcp` as clients reach it, `upstream` says where requests go.
    `one_off_token` is a token that was made up for this run, so that it may and must be shown; None
    means that the token is set by the user, who knows it, and it is not repeated.
    """
    token = one_off_token or PLACEHOLDER
    bridge = {
        "command": "npx",
        "args": [
            "-y",
            "supergateway@4.0.0",
            "--streamableHttp",
            endpoint,
            "--oauth2Bearer",
            token,
        ],
    }
    about_token = (
        f"Token for this run only (set MCP_AUTH_TOKEN to keep one): {token}"
        if one_off_token
        else f"Put your MCP_AUTH_TOKEN where it says {PLACEHOLDER}."
    )
    desktop = json.dumps({"mcpServers": {"mcp-gate": bridge}}, indent=2)
    return f"""\
The gate listens at {endpoint}
and forwards to {upstream}
{about_token}

Claude Desktop, in claude_desktop_config.json:
{desktop}

Claude Code:
claude mcp add --transport http mcp-gate {endpoint} --header "Authorization: Bearer {token}"

MCP Inspector:
npx -y @modelcontextprotocol/inspector@2.12.0 --cli {endpoint} --transport http \
--header "Authorization: Bearer {token}" --method tools/list

A client that can send no header (bridges and fronts may log this URL, so prefer a header):
{endpoint}?key={token}

Stop with Ctrl+C.
"""
