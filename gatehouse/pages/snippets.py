"""Snippets to paste into clients: the one place that names the clients' versions.

Each takes the URL of the MCP endpoint, a token (or a placeholder for one; empty for a client that signs in), and, for
clients with several servers, a name for this one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLACEHOLDER = "YOUR_TOKEN"

SUPERGATEWAY = "supergateway@4.0.0"
MCP_REMOTE = "mcp-remote@0.15.1"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"


def slug(name: str) -> str:
    """A server's `name` as a key for a client's configuration: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "mcp"


def supergateway(endpoint: str, token: str, name: str) -> str:
    """For `claude_desktop_config.json`."""
    return _configuration(name, SUPERGATEWAY, "--streamableHttp", endpoint, "--oauth2Bearer", token)


def mcp_remote(endpoint: str, token: str, name: str) -> str:
    """For the same file; keeps the token out of the process list."""
    options = ("--transport", "http-only", *_insecure(endpoint))
    if not token:
        return _configuration(name, MCP_REMOTE, endpoint, *options)
    header = ("--header", "Authorization:${AUTH_HEADER}")
    return _configuration(
        name, MCP_REMOTE, endpoint, *options, *header, AUTH_HEADER=f"Bearer {token}"
    )


def mcp_remote_command(endpoint: str, token: str) -> str:
    """The same as a command, for a client that takes one."""
    options = " ".join(("--transport http-only", *_insecure(endpoint)))
    return f"npx -y {MCP_REMOTE} {endpoint} {options}{_header_of(token)}"


def claude_code(endpoint: str, token: str, name: str) -> str:
    """A command."""
    return f"claude mcp add --transport http {name} {endpoint}{_header_of(token)}"


def vs_code(endpoint: str, token: str, name: str) -> str:
    """For `.vscode/mcp.json`, which others may get to read: VS Code asks for the token, whichever it is, and keeps it."""
    server = _remote(endpoint, "", type="http")
    if not token:
        return _json({"servers": {name: server}})
    asked = f"{name}-token"
    asks = {"type": "promptString", "id": asked, "description": f"Token for {name}"}
    headers = {"Authorization": f"Bearer ${{input:{asked}}}"}
    return _json(
        {"inputs": [{**asks, "password": True}], "servers": {name: {**server, "headers": headers}}}
    )


def vs_code_command(endpoint: str, token: str, name: str) -> str:
    """A command that writes the same, with the token in it, where VS Code keeps what is its user's."""
    server = json.dumps({"name": name, **_remote(endpoint, token, type="http")})
    escaped = server.replace('"', '\\"')
    return f'code --add-mcp "{escaped}"'


def cursor(endpoint: str, token: str, name: str) -> str:
    """For `~/.cursor/mcp.json`."""
    return _json({"mcpServers": {name: _remote(endpoint, token)}})


def gemini_cli(endpoint: str, token: str, name: str) -> str:
    """A command."""
    return f"gemini mcp add --scope user --transport http {name} {endpoint}{_header_of(token)}"


def codex(endpoint: str, name: str) -> str:
    """A command for Codex to sign in. A token it takes from its environment alone."""
    return f"codex mcp add {name} --url {endpoint}"


def opencode(endpoint: str, name: str) -> str:
    """For `opencode.json`, to sign in."""
    return _json({"mcp": {name: {"type": "remote", "url": endpoint}}})


def inspector(endpoint: str, token: str) -> str:
    """A command that lists the tools."""
    header = _header_of(token)
    return f"npx -y {INSPECTOR} --cli {endpoint} --transport http{header} --method tools/list"


def url_key(endpoint: str, token: str) -> str:
    """The URL for a client that cannot send headers."""
    return f"{endpoint}?key={token}"


CLIENTS: Mapping[str, Callable[[str, str, str], str]] = {
    "claude-code": claude_code,
    "claude-desktop": supergateway,
    "supergateway": supergateway,
    "vscode": vs_code_command,
    "cursor": cursor,
    "gemini-cli": gemini_cli,
    "mcp-remote": mcp_remote,
    "inspector": lambda endpoint, token, _: inspector(endpoint, token),
    "chatgpt": lambda endpoint, token, _: url_key(endpoint, token),
    "url": lambda endpoint, token, _: url_key(endpoint, token),
}
"""The clients by the names that the command line has for them. Each snippet has the token in it."""

BY_URL = frozenset({"chatgpt", "url"})
"""Those that have nothing but a URL to put a token into."""


def _configuration(name: str, *arguments: str, **environment: str) -> str:
    server: dict[str, object] = {"command": "npx", "args": ["-y", *arguments]}
    if environment:
        server["env"] = environment
    return _json({"mcpServers": {name: server}})


def _remote(endpoint: str, token: str, **more: str) -> dict[str, object]:
    """A server as clients name it that speak HTTP themselves."""
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    return {**more, "url": endpoint, **headers}


def _json(configuration: object) -> str:
    return json.dumps(configuration, indent=2)


def _insecure(endpoint: str) -> tuple[str, ...]:
    """The option with which mcp-remote accepts a URL without TLS."""
    return ("--allow-http",) if endpoint.startswith("http:") else ()


def _header_of(token: str) -> str:
    """The option that brings a token, to come behind other words; empty for a client that signs in."""
    return f' --header "Authorization: Bearer {token}"' if token else ""
