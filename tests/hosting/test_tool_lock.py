"""The lock's lines of log: no name that a client invents passes for the rest of one."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError

from gatehouse.hosting.tool_lock import Caller
from gatehouse.identity.grants import Grants


@pytest.mark.parametrize(
    ("method", "params", "told"),
    [
        ("tools/call", {"name": "add"}, "tools/call add"),
        ("tools/call", {"name": "x, id forged"}, 'tools/call "x, id forged"'),
        ("forged, id forged\n", {}, r'"forged, id forged\\n"'),
    ],
)
def test_a_refused_name_is_one_word_of_its_line(
    method: str, params: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(MCPError):
        Caller("alice", "alice", Grants(tools=("list",)), "a1b2").check(method, params)
    assert caplog.messages == [f"the token alice was refused {told}, id a1b2"]
