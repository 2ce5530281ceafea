"""The lock's lines of log: no name that a client invents passes for the rest of one."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError

from gatehouse.hosting.caller import Told, told_in
from gatehouse.hosting.tool_lock import Caller, current_scope
from gatehouse.identity.callers import Callers
from gatehouse.identity.grants import Grants
from gatehouse.identity.principal import Principal


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


def test_a_background_task_is_of_the_caller_whose_request_began_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FastMCP keeps nothing of that request but its fields."""
    known = Callers(dict, lambda _: None, names=True, kinds=True, ids=True)
    ann = Principal("oauth:" + "0a" * 16, "oauth:ann", grants=Grants(("list",)), kind="oauth")
    kept = {name.decode().lower(): value.decode() for name, value in known.fields(ann)}
    monkeypatch.setattr("gatehouse.hosting.tool_lock.get_http_headers", lambda: kept)
    scope = current_scope()
    assert scope is not None
    told = told_in(scope)
    assert told == Told("oauth:ann", "oauth", kept["x-gate-caller"])
    assert known.grants_of(told.reference) == ann.grants
    kept.clear()
    assert current_scope() is None


def test_a_refusal_of_a_person_names_the_person(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ann = Caller("oauth:" + "0a" * 16, "oauth:ann", Grants(tools=("list",)), "a1b2")
    with pytest.raises(MCPError, match="Forbidden: oauth:ann may not call the tool 'add'"):
        ann.check("tools/call", {"name": "add"})
    assert caplog.messages == ["oauth:ann was refused tools/call add, id a1b2"]
