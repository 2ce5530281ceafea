"""Requests of apps: it is judged first who asks and where the answer goes, and nothing is sent anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.authorization import (
    MAX_QUERY_BYTES,
    MAX_SCOPE_LENGTH,
    MAX_STATE_LENGTH,
    AuthorizationRequest,
    AuthorizationRequests,
    Refusal,
    answer_url,
    asked_in,
    content_of,
)
from gatehouse.apps.client import Client
from gatehouse.apps.clients import ClientError
from gatehouse.apps.redirects import MAX_URI_LENGTH
from gatehouse.signin.sealing import MAX_CONTENT_BYTES, length_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gatehouse.apps.authorization import Asked
    from gatehouse.apps.clients import Clients

RESOURCE = "https://gate.example/mcp"
CALLBACK = "https://app.example/callback?kept=1"
APP = Client("https://app.example/client.json", "The app", (CALLBACK,), "app.example")
CLI = Client("cli", "A tool", ("http://127.0.0.1/cb", "com.example.tool:/cb"))
LONG = "https://app.example/" + "a" * MAX_URI_LENGTH
GOOD = {
    "response_type": "code",
    "client_id": APP.id,
    "redirect_uri": CALLBACK,
    "state": "the state",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "resource": RESOURCE,
}


class PaperClients:
    """Knows a few clients, and from where they were asked for."""

    def __init__(self, *clients: Client) -> None:
        self._known = {client.id: client for client in clients}
        self.addresses: list[str] = []

    async def find(self, client_id: str, address: str, person: str = "") -> Client:  # noqa: ARG002
        self.addresses.append(address)
        if client_id not in self._known:
            raise ClientError("Nobody knows this app.")
        return self._known[client_id]


def read_raw(
    query: bytes, scopes: Sequence[str] = (), clients: Sequence[Client] = (APP, CLI)
) -> Asked:
    known = PaperClients(*clients)
    reader = AuthorizationRequests(
        cast("Clients", known), (RESOURCE, f"{RESOURCE}/"), lambda: scopes
    )

    async def main() -> Asked:
        return await reader.read(query, "192.0.2.7")

    return trio.run(main)


def read(*more: tuple[str, str], scopes: Sequence[str] = (), **changes: Any) -> Asked:
    """Read the good request with these changes; None leaves a parameter out."""
    pairs = [(name, text) for name, text in {**GOOD, **changes}.items() if text is not None]
    return read_raw(urlencode([*pairs, *more]).encode(), scopes)


def refused(asked: Asked) -> str:
    assert isinstance(asked, Refusal)
    return asked.error


def granted(asked: Asked) -> AuthorizationRequest:
    assert isinstance(asked, AuthorizationRequest), asked
    return asked


# The client, and the place of the answer


def test_a_good_request_holds_what_its_answer_needs() -> None:
    one, other = granted(read()), granted(read())
    assert one[1:] == (
        APP.key,
        "The app",
        "app.example",
        CALLBACK,
        "the state",
        GOOD["code_challenge"],
        RESOURCE,
        "",
    )
    assert one.id != other.id
    assert "the state" not in repr(one)
    assert "the state" not in repr(one.refused("access_denied", "no"))


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": "https://evil.example/client.json"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK + "&more=1"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": CALLBACK + "#here"},
        {"redirect_uri": "https://app.example"},
        {"redirect_uri": "//app.example/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"client_id": CLI.id, "redirect_uri": "http://127.0.0.1.evil.example/cb"},
        {"client_id": CLI.id, "redirect_uri": "http://127.0.0.1@evil.example/cb"},
        {"client_id": CLI.id, "redirect_uri": "http://192.0.2.7/cb"},
        {"client_id": CLI.id, "redirect_uri": None},
    ],
)
def test_a_request_that_may_be_anybodys_is_for_the_person_alone(
    changes: dict[str, Any],
) -> None:
    others: dict[str, Any]
    for others in ({}, {"response_type": "token"}, {"state": None}):
        with pytest.raises(ClientError) as caught:
            read(**{**changes, **others})
        assert "evil" not in caught.value.words
        assert caught.value.status == 400


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_client_or_place_that_is_named_twice_is_none(name: str) -> None:
    for value in (GOOD[name], "https://evil.example/"):
        with pytest.raises(ClientError):
            read((name, value))


def test_dangerous_places_are_none_even_if_somebody_has_registered_them() -> None:
    for uri in ("javascript:alert(1)", "data:text/html,x", "http://app.example/", LONG):
        careless = Client("careless", "", (uri,))
        with pytest.raises(ClientError):
            read_raw(
                urlencode({**GOOD, "client_id": "careless", "redirect_uri": uri}).encode(),
                clients=[careless],
            )


def test_a_client_with_one_place_need_not_name_it_and_a_port_on_this_computer_may_be_any() -> None:
    assert granted(read(redirect_uri=None)).redirect_uri == CALLBACK
    port = "http://127.0.0.1:33418/cb"
    assert granted(read(client_id=CLI.id, redirect_uri=port)).redirect_uri == port
    scheme = "com.example.tool:/cb"
    assert granted(read(client_id=CLI.id, redirect_uri=scheme)).redirect_uri == scheme


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"\xff=1",
        b"client_id=%ff",
        b"&".join([b"a=1"] * 65),
        b"client_id=" + b"a" * MAX_QUERY_BYTES,
    ],
)
def test_a_query_that_cannot_be_read_is_for_the_person_alone(query: bytes) -> None:
    with pytest.raises(ClientError):
        read_raw(query)


# Faults that the app hears


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        ("invalid_request", {"response_type": None}),
        ("invalid_request", {"response_type": ""}),
        ("unsupported_response_type", {"response_type": "token"}),
        ("unsupported_response_type", {"response_type": "code id_token"}),
        ("invalid_request", {"code_challenge": None}),
        ("invalid_request", {"code_challenge_method": None}),
        ("invalid_request", {"code_challenge_method": "plain"}),
        ("invalid_request", {"code_challenge_method": "s256"}),
        ("invalid_request", {"code_challenge": "short"}),
        ("invalid_request", {"code_challenge": GOOD["code_challenge"] + "="}),
        ("invalid_target", {"resource": None}),
        ("invalid_target", {"resource": "https://gate.example"}),
        ("invalid_target", {"resource": "https://other.example/mcp"}),
        ("invalid_target", {"resource": RESOURCE + "//"}),
    ],
)
def test_each_fault_goes_back_to_the_app_with_its_state(
    error: str, changes: dict[str, Any]
) -> None:
    answer = read(**changes)
    assert answer == Refusal(CALLBACK, "the state", error, getattr(answer, "words", ""))
    assert all(char.isascii() and char.isprintable() and char not in '"\\' for char in answer[3])


@pytest.mark.parametrize(
    "state", [None, "", "é", "a\nb", "a\x7f", "a" * (MAX_STATE_LENGTH + 1), '"' * 600]
)
def test_a_state_that_cannot_go_back_does_not(state: str | None) -> None:
    assert read(state=state) == Refusal(
        CALLBACK, "", "invalid_request", getattr(read(state=state), "words", "")
    )


def test_no_parameter_may_come_twice_but_the_resource() -> None:
    for name in ("state", "scope", "response_type", "code_challenge", "unknown"):
        assert refused(read((name, "a"), (name, "b"))) == "invalid_request"
    assert granted(read(("resource", f"{RESOURCE}/"))).resource == RESOURCE
    assert refused(read(("resource", "https://other.example/mcp"))) == "invalid_target"


def test_unknown_parameters_change_nothing() -> None:
    assert granted(read(("nonce", "n"), ("prompt", "consent"), ("at", "public")))


# Scopes


@pytest.mark.parametrize(
    ("asked", "known", "scope"),
    [
        (None, (), ""),
        ("anything at all", (), ""),
        (None, ("read", "write"), "read write"),
        ("", ("read", "write"), "read write"),
        ("write", ("read", "write"), "write"),
        ("offline_access write write other", ("read", "write"), "write"),
    ],
)
def test_an_app_gets_the_scopes_in_force_that_it_asks_for(
    asked: str | None, known: tuple[str, ...], scope: str
) -> None:
    request = granted(read(scope=asked, scopes=known))
    assert request.scope == scope
    assert request.scopes == tuple(scope.split())


def test_an_app_that_asks_for_no_known_scope_gets_none() -> None:
    for asked in ("other", "READ", " ", "read,write", " ".join(f"s{n}" for n in range(200))):
        assert refused(read(scope=asked, scopes=("read", "write"))) == "invalid_scope"


def test_scopes_take_a_bounded_place() -> None:
    many = tuple(f"scope-{number:03}-{'x' * 40}" for number in range(50))
    scope = granted(read(scopes=many)).scope
    assert len(scope) <= MAX_SCOPE_LENGTH
    assert set(scope.split()) < set(many)


# The answer, and the seal


def test_the_answer_keeps_the_query_of_its_place() -> None:
    told = {"code": "a b", "state": "&=", "none": ""}
    assert (
        answer_url("https://app.example/cb", told)
        == "https://app.example/cb?code=a%20b&state=%26%3D"
    )
    assert (
        answer_url("https://app.example/cb?a=1", {"code": "x"})
        == "https://app.example/cb?a=1&code=x"
    )
    for end in ("?", "?a=1&"):
        assert answer_url(f"https://app.example/{end}", {"code": "x"}).endswith(f"{end}code=x")
    assert answer_url("com.example:/cb", {"code": "x"}) == "com.example:/cb?code=x"


def test_the_largest_request_fits_into_a_cookie_and_a_larger_one_is_told_to_the_app() -> None:
    state = "s" * MAX_STATE_LENGTH
    uri = LONG[:MAX_URI_LENGTH]
    for name in ("n" * 100, "\N{GRINNING FACE}" * 400):
        client = Client("c", name, (uri,), "h" * 253)
        known = tuple(f"scope-{number:03}" for number in range(50))
        query = urlencode({**GOOD, "client_id": "c", "redirect_uri": uri, "state": state})
        answer = read_raw(query.encode(), known, [client])
        assert length_of({**content_of(answer), "by": "s" * 36}) <= MAX_CONTENT_BYTES
    assert refused(answer) == "invalid_request"


texts = st.text(max_size=20) | st.sampled_from([*GOOD, *GOOD.values()])


@given(st.lists(st.tuples(st.sampled_from([*GOOD, "scope"]) | texts, texts), max_size=12))
def test_whatever_is_asked_the_answer_goes_to_a_registered_place_or_nowhere(
    pairs: list[tuple[str, str]],
) -> None:
    for query in (urlencode(pairs), urlencode([*GOOD.items(), *pairs])):
        try:
            asked = read_raw(query.encode(), ("read",))
        except ClientError:
            continue
        assert asked.redirect_uri == CALLBACK
        assert asked_in(content_of(asked)) == asked
        url = answer_url(asked.redirect_uri, {"code": "c", "state": asked.state})
        assert url.startswith(CALLBACK)
        assert dict(parse_qsl(urlsplit(url).query)).get("state", "") == asked.state
        assert url.isascii()
        assert url.isprintable()


@given(st.binary(max_size=200))
def test_no_query_makes_the_reader_fail(query: bytes) -> None:
    with pytest.raises(ClientError):
        read_raw(query)


@given(
    st.dictionaries(
        st.just("a"),
        st.lists(st.text(max_size=3) | st.integers(), max_size=10) | st.text() | st.none(),
    )
)
def test_a_seal_of_another_release_holds_no_request(content: Mapping[str, Any]) -> None:
    asked = asked_in(content)
    assert asked is None or [*asked] == content["a"]
