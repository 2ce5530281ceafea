"""The gate's early lock: what a restricted token may ask for, as far as header fields tell."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.challenges import Challenges
from gatehouse.http.mcp import printable
from gatehouse.http.reply import BAD_REQUEST, FORBIDDEN
from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.identity.principal import Principal
from gatehouse.identity.scopes import Scope, Scopes
from gatehouse.identity.subject import Subject
from gatehouse.policy.tools import Tools, granted
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers
    from gatehouse.http.mcp import Kind
    from gatehouse.http.reply import Reply

COOK = Grants(tools=("list_*", "add_item"), resources=("kitchen://items/*",))
NOTHING = Grants(tools=())
POINTER = "https://gate.example/.well-known/oauth-protected-resource/mcp"


def modern(method: str | None, name: str | None = None, *more: tuple[bytes, bytes]) -> Headers:
    headers: Headers = [(b"Host", b"gate.example"), (b"MCP-Protocol-Version", b"2026-07-28")]
    if method is not None:
        headers.append((b"Mcp-Method", method.encode()))
    if name is not None:
        plain = name.isascii() and name.isprintable() and name == name.strip()
        encoded = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
        headers.append((b"mcp-name", (name if plain else encoded).encode()))
    return [*headers, *more]


COOKS = Principal("cook", "cook")


def refusal(
    headers: Headers,
    grants: Grants = COOK,
    *,
    hosted: bool = False,
    who: Principal = COOKS,
    scopes: tuple[Scope, ...] = (),
    target: bytes = b"/mcp",
) -> Reply | None:
    tools = Tools(hosted=hosted, scopes=Scopes(scopes), challenges=Challenges(POINTER))
    return trio.run(tools.refusal, request_of(headers, target=target), replace(who, grants=grants))


def named_call(headers: Headers) -> tuple[str, str]:
    call = request_of(headers).call
    return call.for_log if call else ("", "")


def words(reply: Reply | None) -> str:
    assert reply is not None
    error = json.loads(reply.body)
    assert error["id"] is None
    assert error["error"]["code"] == (FORBIDDEN if reply.status == 403 else BAD_REQUEST)
    assert reply.reason
    return str(error["error"]["message"])


both = pytest.mark.parametrize("hosted", [True, False])


@both
def test_a_token_without_lists_may_send_anything(hosted: bool) -> None:
    twice = modern("tools/call", "x", (b"Mcp-Name", b"y"))
    for headers in ([], twice, modern("tools/call", "x"), modern("anything/else")):
        assert refusal(headers, EVERYTHING, hosted=hosted) is None


@both
@pytest.mark.parametrize(
    ("method", "name", "passes"),
    [
        ("tools/call", "list_items", True),
        ("tools/call", "add_item", True),
        ("tools/call", "add_items", False),
        ("tools/call", "ADD_ITEM", False),
        ("tools/call", " add_item", False),
        ("tools/call", "add_item\n", False),
        ("tools/call", "\u0430dd_item", False),  # begins with a Cyrillic letter
        ("tools/call", "", False),
        ("tools/call", None, False),
        ("prompts/get", "list_prompt", False),  # no list of prompts, so none of them
        ("resources/read", "kitchen://items/7", True),
        ("resources/read", "kitchen://items/../secret", False),
        ("tools/list", None, True),
        ("server/discover", None, True),
        ("notifications/cancelled", None, True),
        ("Tools/call", "add_item", False),
        ("tools/call ", "add_item", False),
    ],
)
def test_what_the_lists_do_not_name_is_a_403(
    hosted: bool, method: str, name: str | None, passes: bool
) -> None:
    reply = refusal(modern(method, name), hosted=hosted)
    assert (reply is None) == passes
    if reply is not None:
        assert reply.status == 403
        assert "'cook'" in words(reply)


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update", "tasks/list"])
def test_whose_a_task_is_only_the_lock_in_a_hosted_server_knows(method: str) -> None:
    assert refusal(modern(method, "an id"), hosted=True) is None
    reply = refusal(modern(method, "an id"), hosted=False)
    assert reply is not None
    assert reply.status == 403


def test_a_refusal_names_the_tool_and_what_to_do() -> None:
    said = words(refusal(modern("tools/call", "delete_item")))
    assert "may not call the tool 'delete_item'" in said
    assert "Ask the operator" in said
    assert "add it to the tools of the token" in said


def test_a_refusal_shows_any_name_in_one_short_line() -> None:
    said = words(refusal(modern("tools/call", "a\r\nb\u202e" + "c" * 500)))
    assert "a\\r\\nb\\u202e" in said
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize(
    "version", [None, b"2025-11-25", b"2026-07-28,2026-07-28", b"2099-01-01", b""]
)
def test_of_another_version_the_fields_tell_nothing(version: bytes | None) -> None:
    headers = [(b"Mcp-Method", b"tools/call"), (b"Mcp-Name", b"add_item")]
    if version is not None:
        headers.append((b"MCP-Protocol-Version", version))
    assert refusal(headers, hosted=True) is None  # tool_lock has the body in hand
    reply = refusal(headers, hosted=False)
    assert reply is not None
    assert reply.status == 403
    assert "2026-07-28" in words(reply)
    assert named_call(headers) == ("", "")


@both
@pytest.mark.parametrize(
    "field", [b"MCP-Protocol-Version", b"mcp-method", b"MCP-NAME", b"Mcp-Method"]
)
def test_a_field_that_comes_twice_is_a_400(hosted: bool, field: bytes) -> None:
    value = {b"mcp-method": b"tools/call", b"mcp-name": b"add_item"}.get(
        field.lower(), b"2026-07-28"
    )
    reply = refusal(modern("tools/call", "add_item", (field, value)), hosted=hosted)
    assert reply is not None
    assert reply.status == 400
    assert "once" in words(reply)


@both
@pytest.mark.parametrize("named", [b"Mcp-Protocol-Version", b"close , MCP-METHOD", b"mcp-name"])
def test_a_field_that_connection_would_take_off_is_a_400(hosted: bool, named: bytes) -> None:
    reply = refusal(modern("tools/call", "add_item", (b"Connection", named)), hosted=hosted)
    assert reply is not None
    assert reply.status == 400


@both
@pytest.mark.parametrize(
    "value",
    [
        b"=?base64?YWRkX2l0ZW0?=",  # no padding
        b"=?base64?YWRk X2l0ZW0=?=",
        b"=?base64?YWRkX2l0ZW1=?=",  # bits to spare
        b"=?base64?/w==?=",  # no UTF-8
        b"=?base64?",
        b"=?BASE64?YWRkX2l0ZW0=?=",
        b"=?utf-8?q?add_item?=",
        b"add_item\xe9",
        b"add\titem",
    ],
)
def test_a_name_that_cannot_be_read_in_one_way_is_a_400(hosted: bool, value: bytes) -> None:
    reply = refusal(modern("tools/call", None, (b"Mcp-Name", value)), hosted=hosted)
    assert reply is not None
    assert reply.status == 400


def test_a_name_in_base64_is_judged_by_what_it_means() -> None:
    def encoded(text: str) -> tuple[bytes, bytes]:
        return b"Mcp-Name", b"=?base64?" + base64.b64encode(text.encode()) + b"?="

    assert refusal(modern("tools/call", None, encoded("add_item"))) is None
    reply = refusal(modern("tools/call", None, encoded("löschen")))
    assert "'löschen'" in words(reply)


def test_without_a_method_a_hosted_server_answers_itself_and_another_is_not_asked() -> None:
    assert refusal(modern(None), hosted=True) is None
    reply = refusal(modern(None), hosted=False)
    assert reply is not None
    assert reply.status == 400
    assert "Mcp-Method" in words(reply)


@pytest.mark.parametrize(
    "method", ["completion/complete", "resources/subscribe", "subscriptions/listen"]
)
def test_what_only_the_body_tells_is_left_to_a_hosted_server_and_else_refused(method: str) -> None:
    assert refusal(modern(method), hosted=True) is None
    reply = refusal(modern(method), hosted=False)
    assert reply is not None
    assert reply.status == 403


@pytest.mark.parametrize(
    ("grants", "kind", "name", "allowed"),
    [
        (NOTHING, "tools", "x", False),
        (NOTHING, "prompts", "x", False),
        (Grants(prompts=("*",)), "tools", "x", False),
        (Grants(tools=("*",)), "tools", "0123456789ab_delete", True),
        (Grants(tools=("0*", "*_delete", "?*")), "tools", "0123456789ab_delete", False),
        (Grants(tools=("0123456789ab_delete",)), "tools", "0123456789ab_delete", True),
        (Grants(tools=("0*",)), "tools", "0123456789ab", True),
        (Grants(resources=("x://*/public",)), "resources", "x://a/public", True),
        (Grants(resources=("x://*/public",)), "resources", "x://secret#/public", False),
        (Grants(resources=("x://*/public",)), "resources", "x://secret?/public", False),
        (Grants(resources=("x://*/public",)), "resources", "x://secret%23/public", True),
        (Grants(resources=("x://[!s]*",)), "resources", "x://%73ecret", False),
        (Grants(resources=("x://public/*",)), "resources", "x://public/%2e%2e/secret", False),
        (Grants(resources=("x://public/*",)), "resources", "x://public/..\\secret", False),
        (Grants(resources=("x://public/*",)), "resources", "x://public/..%2fsecret", False),
        (Grants(resources=("x://public/*",)), "resources", "x://public/v1..v2", True),
        (Grants(resources=("x://search*",)), "resources", "x://search?q=a%20b", True),
        (Grants(resources=("x://a%20b#c",)), "resources", "x://a%20b#c", True),
    ],
)
def test_a_glob_means_what_the_server_will_look_up(
    grants: Grants, kind: Kind, name: str, allowed: bool
) -> None:
    assert granted(grants, kind, name) == allowed


# Scopes of an access token.

SCOPES = (
    Scope("mcp:read", Grants(tools=("list_*",), resources=("kitchen://items/*",))),
    Scope("mcp:write", Grants(tools=("add_item",))),
    Scope("mcp:all"),
)
ID = "oauth:" + "0a" * 16
FRONTED = Subject("front", "https://front.example", "7")
SUBJECT = Subject("oauth", "https://as.example", "7", scopes=("openid", "mcp:read"))
ALICE = Principal(ID, "oauth:alice", kind="oauth", subject=SUBJECT)


def stepping_up(headers: Headers, grants: Grants = SCOPES[0].grants, **options: Any) -> str:
    """The challenge of the refusal, or its words without one."""
    given: dict[str, Any] = {"who": ALICE, "scopes": SCOPES}
    reply = refusal(headers, grants, **given | options)
    assert reply is not None
    assert reply.status == 403
    challenge = dict(reply.headers).get(b"WWW-Authenticate", b"").decode()
    assert reply.reason == ("scope" if challenge else "grants")
    return challenge or words(reply)


@both
@pytest.mark.parametrize(
    ("headers", "needed"),
    [
        (modern("tools/call", "add_item"), "mcp:write"),
        (modern("tools/call", "delete_item"), "mcp:all"),
        (modern("prompts/get", "plan"), "mcp:all"),
        (modern("resources/read", "kitchen://items/../secret"), "mcp:all"),
    ],
)
def test_a_thing_that_another_scope_opens_is_challenged_for_that_and_those_held(
    hosted: bool, headers: Headers, needed: str
) -> None:
    assert stepping_up(headers, hosted=hosted) == (
        'Bearer realm="mcp", error="insufficient_scope", '
        f'scope="openid mcp:read {needed}", resource_metadata="{POINTER}"'
    )
    assert refusal(modern("tools/call", "list_x"), SCOPES[0].grants, who=ALICE) is None


@both
def test_no_challenge_asks_for_a_scope_that_would_open_nothing(hosted: bool) -> None:
    listed = Grants(tools=("list_*", "add_item"))
    by_scope = replace(SCOPES[0].grants, within=listed)
    assert 'mcp:write"' in stepping_up(modern("tools/call", "add_item"), by_scope, hosted=hosted)
    for headers, options in (
        (modern("tools/call", "delete_item"), {"grants": by_scope}),  # not on the person's own list
        (modern("tools/call", "delete_item"), {"scopes": SCOPES[:2]}),
        (modern("tools/call", "add_item"), {"who": replace(ALICE, kind="front", subject=FRONTED)}),
    ):
        said = stepping_up(headers, hosted=hosted, **options)
        assert said.startswith("Forbidden: oauth:alice may not call the tool")
        assert "token" not in said


def test_an_older_protocol_gets_no_challenge_since_nobody_can_tell_what_it_calls() -> None:
    call = [(b"Mcp-Method", b"tools/call"), (b"Mcp-Name", b"add_item")]
    assert refusal(call, SCOPES[0].grants, who=ALICE, scopes=SCOPES, hosted=True) is None
    reply = refusal(call, SCOPES[0].grants, who=ALICE, scopes=SCOPES)
    assert "2026-07-28" in words(reply)
    assert reply is not None
    assert b"WWW-Authenticate" not in dict(reply.headers)


def test_words_for_people_name_them_and_speak_of_no_token_of_theirs() -> None:
    cases = (
        ({"headers": modern("anything/else")}, "oauth:alice is limited to what its lists name"),
        ({"headers": [], "target": b"/mcp/custom"}, "you may use some tools only"),
    )
    for options, said in cases:
        told = words(refusal(**options, grants=COOK, who=ALICE))
        assert said in told
        assert "token" not in told


FIELDS = st.tuples(
    st.sampled_from([b"Mcp-Method", b"MCP-Protocol-Version", b"mcp-name", b"Connection"]),
    st.sampled_from([b"2026-07-28", b"tools/call", b"add_item", b"mcp-name", b"delete"])
    | st.binary(),
)


@given(st.lists(FIELDS), st.booleans())
def test_whatever_comes_is_refused_or_told_to_be_allowed(headers: Headers, hosted: bool) -> None:
    reply = refusal(headers, hosted=hosted)
    method, name = named_call(headers)
    assert method.isprintable()
    assert name.isprintable()
    if reply is not None:
        assert reply.status in {400, 403}
    elif not hosted:
        call = request_of(headers).call
        assert call is not None
        assert call.method != "tools/call" or granted(COOK, "tools", call.name)


@given(st.text(st.characters(exclude_categories=[])))
def test_what_is_shown_is_printable_and_short(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 128
    assert shown == text or len(text) > 128 or not text.isprintable()


@pytest.mark.parametrize(
    ("method", "name", "told"),
    [
        ("tools/call", "add_item", ("tools/call", "add_item")),
        ("prompts/get", "plan", ("prompts/get", "plan")),
        ("resources/read", "kitchen://secret", ("resources/read", "")),
        ("tools/list", "stray", ("tools/list", "")),
        (None, "stray", ("", "")),
    ],
)
def test_the_log_gets_the_names_of_tools_and_prompts_but_no_uri(
    method: str | None, name: str, told: tuple[str, str]
) -> None:
    assert named_call(modern(method, name)) == told


def test_the_log_gets_nothing_of_a_call_that_is_unclear() -> None:
    assert named_call(modern("tools/call", "add_item", (b"Mcp-Name", b"other"))) == ("", "")
