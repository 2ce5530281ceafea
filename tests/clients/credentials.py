"""The ways to show a token to the gate, and what it says without a good one."""

from __future__ import annotations

import pytest

WRONG = "Qz8vR2mLx5WnB7jYc4HdK1uGp6TeSa9f"
"""A token of a gate somewhere else: it shares nothing with the one of the tests."""

REFUSAL = "Unauthorized: this MCP server needs its access token, and got none, or one that "
"""The beginning of the gate's message for its clients' users."""

SPELLINGS = ("/mcp", "/mcp/")


def header_fields(token: str) -> dict[str, dict[str, str]]:
    """The ways that take a header field, by their names."""
    return {
        "authorization": {"Authorization": f"Bearer {token}"},
        "x-api-key": {"X-API-Key": token},
    }


def every_way(token: str) -> list[object]:
    """Parameters `query, headers` for a test: the token in each place where the gate looks."""
    return [
        *(pytest.param("", fields, id=name) for name, fields in header_fields(token).items()),
        pytest.param(f"?key={token}", {}, id="url-key"),
    ]
