"""With a dashboard, named tokens need no setting: their file is made when the first one is, and found again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gatehouse.assembly.tokens import first_contents
from gatehouse.settings.environment import Settings
from gatehouse.tokens import issue
from gatehouse.tokens.file import TokensError
from gatehouse.tokens.token import Token
from tests.harness.only_ci import only_in_ci
from tests.harness.program import TOKEN, free_port, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.program import Program


def dashboard() -> dict[str, str]:
    """Settings of a gate with a dashboard, whose provider and server are both away."""
    return {
        "SIGN_IN": f"http://127.0.0.1:{free_port()}",
        "SIGN_IN_CLIENT_ID": "gate",
        "SIGN_IN_CLIENT_SECRET": "the secret of the client, which is long",
        "PUBLIC_URL": "http://127.0.0.1:{port}",
        "ADMINS": "sub:1",
        "MCP_APP": "",
    }


def status_with(program: Program, token: str) -> int:
    fields = {"Authorization": f"Bearer {token}"}
    return httpx.post(program.endpoint, headers=fields, trust_env=False).status_code


@only_in_ci
def test_a_gate_without_any_token_starts_and_takes_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    with running(tmp_path, **dashboard(), MCP_AUTH_TOKEN="") as program:
        program.wait_for("/health")
        assert status_with(program, TOKEN) == 401
        program.wait_for_log(f"TOKENS_FILE is not set: the dashboard keeps tokens in {path}")
        assert not path.exists()
        issued = issue.make(path, Token("alice", ()), datetime.now(UTC))
        made = time.monotonic()
        while status_with(program, issued.value) == 401:
            assert time.monotonic() < made + 5.0, "a busy machine takes longer than a second"
            time.sleep(0.05)
        program.wait_for_log("tokens in force: alice")
        assert program.errors == []
    with running(tmp_path, **dashboard(), MCP_AUTH_TOKEN="") as program:
        program.wait_for("/health")
        assert status_with(program, issued.value) != 401


@pytest.mark.parametrize("name", ["no.toml", "folder/no.toml"])
def test_a_file_that_is_named_must_still_be_there(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {key.lower(): text for key, text in dashboard().items()}
    given["public_url"] = "http://127.0.0.1:7860"
    settings = Settings(_env_file=None, **given, tokens_file=tmp_path / name)
    with pytest.raises(TokensError, match="TOKENS_FILE: there is no"):
        first_contents(settings, TOKEN)
