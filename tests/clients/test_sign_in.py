"""Real clients sign in at real authorization servers, without a human; static tokens keep working beside it.

The clients of a test run at once, for each of them is mostly a program that starts.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.clients.authorization_servers import (
    GATE,
    GATE_SECRET,
    MACHINE,
    MACHINE_SECRET,
    SCOPES,
    RealServer,
    nanoidp,
    oidc_provider,
)
from tests.clients.programs import discreet
from tests.clients.signing_in import (
    AS_A_MACHINE,
    MACHINE_VARIABLES,
    Browser,
    by_fastmcp,
    by_inspector,
    by_mcp_remote,
    by_sdk,
    by_typescript,
    programs,
    run,
    together,
)
from tests.harness.leaks import pieces_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.harness.program import Program

RIGHT = "mcpgate_" + "h7KdP2sWqX9vLmR4tYbN6cZfG8jE3aUo" + "R" * 11
WRONG = "mcpgate_" + "Qz8vR2mLx5WnB7jYc4HdK1uGp6TeSa9f" + "Q" * 11
"""In the form of our own tokens."""

MODERN = "2026-07-28"

STEPS = """
[scopes."mcp:read"]
tools = ["add"]

[scopes."mcp:write"]
tools = ["add", "links"]
"""
"""`links` needs a scope that no client asks for at first."""


pytestmark = pytest.mark.filterwarnings("ignore:Using in-memory token storage")  # by FastMCP


@dataclass
class Place:
    """A gate, and the authorization server that it believes."""

    program: Program
    server: RealServer
    folder: Path

    @property
    def url(self) -> str:
        return self.program.endpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, node_folder: Path) -> Iterator[Place]:
    """A gate before the probe server that believes oidc-provider."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "tokens.toml").write_text(STEPS)
    with ExitStack() as stack:
        server = stack.enter_context(oidc_provider(folder, WIDE="1"))
        given = {
            "MCP_AUTH_TOKEN": RIGHT,
            "TOKENS_FILE": "tokens.toml",
            "AUTH_INTROSPECTION_URL": server.metadata["introspection_endpoint"],
            "AUTH_CLIENT_ID": GATE,
            "AUTH_CLIENT_SECRET": GATE_SECRET,
        }
        program = stack.enter_context(gate(folder, server, **given))
        program.wait_for("/ready")
        yield Place(program, server, folder)
    assert "eyJ" not in program.output  # the beginning of every signed token
    for secret in (RIGHT[8:], WRONG[8:], MACHINE_SECRET, GATE_SECRET):
        assert pieces_in(program.output, secret) == set()


def gate(folder: Path, server: RealServer, **settings: str) -> Any:
    given = {
        "MCP_APP": "probe_server:mcp",
        "PUBLIC_URL": "http://127.0.0.1:{port}",
        "AUTH_ISSUER": server.issuer,
        "AUTH_SCOPES": SCOPES[0],
        "AUTH_NAME_CLAIM": "sub",
    }
    return discreet(folder, **given, **settings)


async def test_clients_sign_in_at_oidc_provider(
    place: Place, node_folder: Path, tmp_path: Path
) -> None:
    url = place.url
    node = {name: programs(node_folder, tmp_path / name) for name in ("remote", "machine", "cli")}
    with Browser():
        results = await together(
            {
                "fastmcp": lambda: run(by_fastmcp(url)),
                "Python SDK": lambda: run(by_sdk(url)),
                "TypeScript SDK": lambda: by_typescript(url, tmp_path, era="legacy"),
                "TypeScript SDK, modern": lambda: by_typescript(url, tmp_path, era=MODERN),
                "mcp-remote": lambda: by_mcp_remote(node["remote"], url),
                "mcp-remote, a machine": lambda: by_mcp_remote(
                    node["machine"], url, *AS_A_MACHINE, **MACHINE_VARIABLES
                ),
                "Inspector": lambda: by_inspector(node["cli"], url, opens=True),
            }
        )
    told = results["TypeScript SDK"]
    assert len(told["scopes"]) == 1, told
    told = {"text": "5", "scopes": told["scopes"]}
    assert results == {
        "fastmcp": 5,
        "Python SDK": 5,
        "TypeScript SDK": told,
        "TypeScript SDK, modern": told,
        "mcp-remote": 5,
        "mcp-remote, a machine": 5,
        "Inspector": 5,
    }
    place.program.wait_for_log(r"oauth:alice .*tools/call add")
    place.program.wait_for_log(f"oauth:{MACHINE} .*tools/call add")
    assert "POST /token/introspection" in place.server.asked  # the machine's tokens are opaque


async def test_clients_ask_for_the_scope_that_a_tool_needs(place: Place, tmp_path: Path) -> None:
    with Browser():
        results = await together(
            {
                "fastmcp": lambda: run(by_fastmcp(place.url, mode=MODERN, tool="links")),
                "TypeScript SDK": lambda: by_typescript(
                    place.url, tmp_path, era=MODERN, tool="links"
                ),
            }
        )
    assert "base_url" in str(results["fastmcp"])
    first, second = results["TypeScript SDK"]["scopes"]
    assert SCOPES[1] not in first.split()
    assert set(second.split()) >= {*SCOPES}
    assert "base_url" in results["TypeScript SDK"]["text"]


async def test_static_tokens_lead_no_client_to_the_authorization_server(
    place: Place, node_folder: Path, tmp_path: Path
) -> None:
    asked = len(place.server.asked)
    url = place.url

    def clients(token: str) -> dict[str, Callable[[], Awaitable[Any]]]:
        homes = tmp_path / token[-1]
        homes.mkdir()
        header = f"Authorization: Bearer {token}"
        node = {name: programs(node_folder, homes / name) for name in ("remote", "cli")}
        return {
            "fastmcp": lambda: run(by_fastmcp(url, bearer=token)),
            "Python SDK": lambda: run(by_sdk(url, bearer=token)),
            "TypeScript SDK": lambda: by_typescript(url, tmp_path, era="legacy", bearer=token),
            "TypeScript SDK, modern": lambda: by_typescript(
                url, tmp_path, era=MODERN, bearer=token
            ),
            "mcp-remote": lambda: by_mcp_remote(node["remote"], url, "--header", header),
            "Inspector": lambda: by_inspector(node["cli"], url, "--header", header),
        }

    with Browser():
        good = await together(clients(RIGHT))
        bad = await together(clients(WRONG))
    told = {"text": "5", "scopes": []}
    assert good == {
        "fastmcp": 5,
        "Python SDK": 5,
        "TypeScript SDK": told,
        "TypeScript SDK, modern": told,
        "mcp-remote": 5,
        "Inspector": 5,
    }
    for name, result in bad.items():
        assert result != good[name]
        if isinstance(result, dict):
            assert result["scopes"] == []
    questions = place.server.asked[asked:]
    metadata = {"GET /.well-known/oauth-authorization-server"}
    assert set(questions) <= metadata  # mcp-remote's, with each token
    assert len(questions) <= 2
    assert WRONG not in place.server.log
    assert RIGHT not in place.server.log
    assert opened_in(tmp_path) == []


def opened_in(folder: Path) -> list[Path]:
    """The files in which browsers of clients below the folder tell that they were opened."""
    return list(folder.rglob("opened-in-browser.txt"))


async def test_clients_sign_in_at_nanoidp(
    tmp_path_factory: pytest.TempPathFactory, node_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("nanoidp")
    with nanoidp(folder) as server, gate(folder, server, MCP_AUTH_TOKEN="") as program:
        program.wait_for("/ready")
        url = program.endpoint
        clients: dict[str, Callable[[], Awaitable[Any]]] = {
            "fastmcp": lambda: run(by_fastmcp(url)),
            "Python SDK": lambda: run(by_sdk(url)),
        }
        expected: dict[str, Any] = {"fastmcp": 5, "Python SDK": 5}
        if os.environ.get("CI"):
            node = {name: programs(node_folder, tmp_path / name) for name in ("remote", "cli")}
            clients |= {
                "TypeScript SDK": lambda: by_typescript(url, tmp_path, era=MODERN),
                "mcp-remote": lambda: by_mcp_remote(node["remote"], url),
                "Inspector": lambda: by_inspector(node["cli"], url, opens=True),
            }
            expected |= {"mcp-remote": 5, "Inspector": 5}
        with Browser():
            results = await together(clients)
        told = results.pop("TypeScript SDK", {"text": "5"})
        assert results == expected
        assert told["text"] == "5", told
        rotated = await trio.to_thread.run_sync(server.rotate)
        assert rotated == 200
        assert await run(by_sdk(url)) == 5  # by a key that the gate has not seen before
        assert "eyJ" not in program.output
