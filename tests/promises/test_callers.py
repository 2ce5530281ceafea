"""Tokens and people that the gate keeps apart are different callers to the hosted server, by its own libraries' means."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gatehouse.identity.subject import Subject
from gatehouse.tokens.value import digest_of
from tests.harness.identity.authorization_server import (
    AUDIENCE,
    AuthorizationServer,
    authorization_server,
)
from tests.harness.program import Program, running
from tests.harness.tools import call_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES = {
    "port": {"UPSTREAM_MODE": "network"},
    "inprocess-asyncio": {"UPSTREAM_MODE": "inprocess"},
    "inprocess-trio": {"UPSTREAM_MODE": "inprocess", "UPSTREAM_RUNTIME": "trio"},
    "stateless": {"UPSTREAM_MODE": "inprocess", "FASTMCP_STATELESS_HTTP": "true"},
}
ERAS = ["2026-07-28", "2025-11-25"]
VALUES = {
    "default": "sh4red/for+tests.only~5b7e0d9a41c68f23",
    "alice": "mcpgate_" + "a" * 43,
    "bob": "mcpgate_" + "b" * 43,
}
COOK = "mcpgate_" + "c" * 43
"""The value of a token that may use `slow` alone."""
PEOPLE = {"ann": "1", "namesake": "2"}
"""People by their `sub`, who have the same name, and scopes that allow everything."""


class Caller:
    """A client with a token, of one era; in the older one with a session of its own."""

    def __init__(self, program: Program, value: str, era: str) -> None:
        self.era = era
        self.http = httpx.Client(
            base_url=program.url,
            headers={
                "Authorization": f"Bearer {value}",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": era,
            },
            trust_env=False,
        )
        self.session = ""
        if not self.modern:
            client = {"name": "test", "version": "1"}
            self.ask("initialize", protocolVersion=era, capabilities={}, clientInfo=client)

    @property
    def modern(self) -> bool:
        return self.era == ERAS[0]

    def post(self, method: str, **params: Any) -> httpx.Response:
        fields = {"Mcp-Session-Id": self.session} if self.session else {}
        if self.modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self.era,
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
            }
            name = params.get("uri") or params.get("name") or params.get("taskId", "")
            fields |= {"Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.http.post("/mcp", headers=fields, json=message)

    def ask(self, method: str, **params: Any) -> Any:
        """The result, or the error."""
        answer = self.post(method, **params)
        self.session = answer.headers.get("mcp-session-id", self.session)
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = re.findall("^data: ({.+)$", text, re.MULTILINE)[-1]
        reply = json.loads(text)
        return reply.get("result", reply.get("error"))

    def call(self, tool: str, *, round_two: dict[str, Any] | None = None, **arguments: Any) -> str:
        """The text of a tool's answer."""
        result = self.ask("tools/call", name=tool, arguments=arguments, **(round_two or {}))
        return str(result["content"][0]["text"] if "content" in result else result)


@pytest.fixture(scope="module")
def issuer() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


@pytest.fixture(scope="module")
def values(issuer: AuthorizationServer) -> dict[str, str]:
    """The credential of each caller."""
    tokens = {name: issuer.token(sub=sub, scope="all") for name, sub in PEOPLE.items()}
    return VALUES | tokens


@pytest.fixture(scope="module")
def ids(issuer: AuthorizationServer) -> dict[str, str]:
    """The id of each caller."""
    people = {name: Subject("oauth", issuer.issuer, sub).id for name, sub in PEOPLE.items()}
    return {name: name for name in VALUES} | people


@pytest.fixture(scope="module", params=MODES)
def program(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    issuer: AuthorizationServer,
) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("callers")
    values = {"alice": VALUES["alice"], "bob": VALUES["bob"], "cook": COOK}
    lines = [
        '[tokens.cook]\ntools = ["slow"]\n[scopes.all]\n[scopes.some]\ntools = ["slow", "slwo"]\n'
    ] + [
        f'[[tokens.{name}.values]]\ndigest = "sha256:{digest_of(value).hex()}"\ncreated = 2026-01-01T00:00:00Z\n'
        for name, value in values.items()
    ]
    (folder / "tokens.toml").write_text("\n".join(lines))
    settings = {
        "MCP_AUTH_TOKEN": VALUES["default"],
        "MCP_APP": "callers_server:mcp",
        "TOKENS_FILE": "tokens.toml",
        "EXPOSE_PATHS": "/status, /webhook without token",
        "AUTH_ISSUER": issuer.issuer,
        "AUTH_AUDIENCE": AUDIENCE,
        "PUBLIC_URL": "http://127.0.0.1:{port}",
        **MODES[request.param],
    }
    with running(folder, **settings) as program:
        program.wait_for()
        yield program


@contextmanager
def calling(program: Program, era: str, values: dict[str, str]) -> Iterator[dict[str, Caller]]:
    """A client for each caller."""
    callers = {name: Caller(program, value, era) for name, value in values.items()}
    try:
        yield callers
    finally:
        for caller in callers.values():
            caller.http.close()


@pytest.fixture(params=ERAS)
def callers(
    program: Program, request: pytest.FixtureRequest, values: dict[str, str]
) -> Iterator[dict[str, Caller]]:
    with calling(program, request.param, values) as callers:
        yield callers


def test_the_server_knows_who_asks_by_every_way_of_asking(
    callers: dict[str, Caller], ids: dict[str, str]
) -> None:
    for name, caller in callers.items():
        known = ids[name]
        shown = {"name": "oauth:alice@example.com", "kind": "oauth"} if name in PEOPLE else {}
        for _ in range(2):
            assert json.loads(caller.call("whoami")) == {
                "client_id": known,
                "subject": known,
                "claims": {"sub": known, **shown},
                "sdk": known,
                "user": known,
                "authenticated": True,
                "scopes": [],
                "token": f"gate-principal:{known}",
            }


def test_a_cache_gives_nobody_the_answer_made_for_another(
    callers: dict[str, Caller], ids: dict[str, str]
) -> None:
    for _ in range(2):
        for name, caller in ((ids[name], caller) for name, caller in callers.items()):
            assert f"made for {name}, " in caller.call("cached")
            assert f"read by {name}, " in json.dumps(
                caller.ask("resources/read", uri="callers://me")
            )
            assert f"greets {name}, " in json.dumps(caller.ask("prompts/get", name="greet"))
    assert callers["bob"].call("cached") == callers["bob"].call("cached")


def test_nobody_reads_or_ends_the_state_of_another(callers: dict[str, Caller]) -> None:
    alice, bob = callers["alice"], callers["bob"]
    session = alice.call("create_session").strip('"')
    assert alice.call("put", session_id=session, note="hers") == "kept"
    for thief in (bob, callers["default"], callers["ann"]):
        assert "hers" not in thief.call("look", session_id=session)
        thief.call("put", session_id=session, note="stolen")
        thief.call("end_session", session_id=session)
    assert alice.call("look", session_id=session) == "hers"
    alice.call("remember", note="hers")
    assert bob.call("recall") != "hers"
    bob.call("remember", note="his")
    assert (alice.call("recall"), bob.call("recall")) == ("hers", "his")
    ann, namesake = callers["ann"], callers["namesake"]
    ann.call("remember", note="ann's")
    assert namesake.call("recall") != "ann's"
    session = ann.call("create_session").strip('"')
    assert ann.call("put", session_id=session, note="ann's") == "kept"
    assert "ann's" not in namesake.call("look", session_id=session)


def test_a_guard_of_the_servers_own_stays_shut_to_tokens_without_scopes(
    callers: dict[str, Caller],
) -> None:
    for caller in callers.values():
        assert "opened" not in caller.call("guarded")
        assert caller.call("for_anybody_known") == "opened"
        names = [tool["name"] for tool in caller.ask("tools/list")["tools"]]
        assert "for_anybody_known" in names
        assert "guarded" not in names


def test_nobody_goes_on_with_the_sealed_state_of_another(
    program: Program, values: dict[str, str], ids: dict[str, str]
) -> None:
    with calling(program, ERAS[0], values) as callers:
        for name, other in (("alice", "bob"), ("ann", "namesake")):
            one, thief = callers[name], callers[other]
            state = one.ask("tools/call", name="in_two_rounds", arguments={})["requestState"]
            answered = {
                "requestState": state,
                "inputResponses": {"sure": {"action": "accept", "content": {"yes": True}}},
            }
            assert "asked by" not in thief.call("in_two_rounds", round_two=answered)
            assert one.call("in_two_rounds", round_two=answered) == f"asked by {ids[name]}"


def test_nobody_follows_the_task_of_another_and_a_list_keeps_nobody_from_its_own(
    program: Program, callers: dict[str, Caller]
) -> None:
    """The server keeps nothing apart. `cook` may use nothing but the tool."""
    cook = Caller(program, COOK, callers["alice"].era)
    with closing(cook.http):
        everybody = {**callers, "cook": cook}
        for owner in ("alice", "cook", "ann"):
            begun = everybody[owner].ask("tools/call", name="slow", arguments={})
            task_id = begun.get("task", begun)["taskId"]
            for name, caller in everybody.items():
                listed = [task["taskId"] for task in caller.ask("tasks/list")["tasks"]]
                assert (task_id in listed) == (name == owner)
                for method in ("tasks/get", "tasks/update", "tasks/cancel", "tasks/result"):
                    answer = caller.ask(method, taskId=task_id)
                    if name == owner:
                        assert answer["status"] == "completed"
                    else:
                        assert answer["code"] == -32602
                        assert answer["message"] == f"Task {task_id} not found"


def test_a_session_and_its_tasks_go_on_with_the_next_token_and_each_request_may_do_what_its_own_may(
    program: Program, issuer: AuthorizationServer, callers: dict[str, Caller]
) -> None:
    ann = callers["ann"]
    begun = ann.ask("tools/call", name="slow", arguments={})
    task_id = begun.get("task", begun)["taskId"]
    for scope, may in (("all mcp:else", True), ("some", False)):
        bearer = f"Bearer {issuer.token(sub=PEOPLE['ann'], scope=scope)}"
        ann.http.headers["Authorization"] = bearer
        assert ann.ask("tasks/get", taskId=task_id)["status"] == "completed"
        assert ("whoami" in str(ann.ask("tools/list")["tools"])) == may
        told = ann.call("cached")
        assert ("made for oauth:" in told) == may
    challenge = ann.post("tools/call", name="cached", arguments={}).headers.get("www-authenticate")
    assert bool(challenge and 'scope="some all"' in challenge) == ann.modern
    forged = callers["namesake"].http.post("/status", headers={"X-Gate-Caller": "oauth:x"}).json()
    assert forged["fields"]["x-gate-caller"] != "oauth:x"
    program.wait_for_log("scope some: its tools name `slwo`, which no tool of Callers is called")
    assert forged["fields"]["x-gate-kind"] == "oauth"


def test_nobody_cancels_the_request_of_another(callers: dict[str, Caller]) -> None:
    alice, bob = callers["alice"], callers["bob"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(alice.call, "wait")
        assert bob.call("until_waiting") == "waits"
        for session in {bob.session, alice.session}:
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
            fields = {"Mcp-Method": cancelled["method"]} if bob.modern else {}
            fields |= {"Mcp-Session-Id": session} if session else {}
            sent = bob.http.post(
                "/mcp", headers=fields, json={**cancelled, "params": {"requestId": 1}}
            )
            assert sent.status_code == (404 if session and session != bob.session else 202)
        assert bob.call("release") == "done"
        assert answer.result(5) == "released"


def test_a_server_with_auth_of_its_own_says_at_the_start_that_nobody_would_get_in(
    tmp_path: Path,
) -> None:
    with running(tmp_path, MCP_APP="callers_server:with_auth") as program:
        assert program.process.wait(30) == 2
        (line,) = [line for line in program.log.splitlines() if "auth=" in line]
        assert "callers_server:with_auth has auth= of its own (StaticTokenVerifier)" in line
        assert "401" in line


def test_a_route_outside_the_endpoint_has_the_caller_of_its_token_or_none_if_it_needs_none(
    program: Program,
) -> None:
    bearer = {"Authorization": f"Bearer {VALUES['alice']}", "X-Gate-Principal": "bob"}
    with httpx.Client(base_url=program.url, trust_env=False) as client:
        seen = client.put("/status?a=1&key=x", headers=bearer, content="body").json()
        assert (seen["client_id"], seen["method"], seen["query"]) == ("alice", "PUT", "a=1")
        assert seen["body"] == "body"
        seen = client.post("/webhook?a=1&key=x", headers=bearer, content="body").json()
        assert (seen["client_id"], seen["method"], seen["query"]) == (None, "POST", "a=1")
        told = {"principal", "secret", "kind", "caller"}
        ours = {"authorization", *(f"x-gate-{name}" for name in told)}
        assert not seen["fields"].keys() & ours
        assert client.get("/status").status_code == 401
        assert client.get("/status", headers={"X-API-Key": COOK}).status_code == 403
        assert client.get("/elsewhere", headers=bearer).status_code == 404
    assert "open to everybody, without a token: /webhook\n" in program.log


def test_a_server_whose_own_auth_lets_nobody_in_says_why_in_its_answer(tmp_path: Path) -> None:
    with running(tmp_path, MCP_APP="callers_server:with_auth_of_another_kind") as program:
        program.wait_for()
        answer = call_tool(program, "any")
        assert answer.status_code == 401
        assert "the server behind it has auth= of its own" in answer.json()["error"]["message"]
        program.wait_for_log("has answered 401: its own auth= has found no credential")
        assert program.stop() == 0
