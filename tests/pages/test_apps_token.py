"""The endpoints where apps get tokens and give them back: to the letter of RFC 6749 and RFC 7009."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.client import Client, key_of
from gatehouse.apps.clients import Clients
from gatehouse.apps.documents import Documents
from gatehouse.apps.grant import GRACE_SECONDS, MAX_GRANT_SECONDS
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Advance, Grants
from gatehouse.apps.registrations import REGISTRATION_SECONDS, Registrations
from gatehouse.apps.tokens import ACCESS_SECONDS, CODE_SECONDS, Tokens
from gatehouse.identity.rate import Rate
from gatehouse.identity.subject import Subject
from gatehouse.identity.who_signs_in import PeopleWhoSignIn
from gatehouse.pages.apps.revoke import RevokeEndpoint
from gatehouse.pages.apps.token import TokenEndpoint
from gatehouse.policy.failures import Failures
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer
from tests.harness.pages import FORM, reply_of, reply_to_form

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.apps.grant import Grant
    from gatehouse.http.reply import Reply

SECRET = b"a secret of the tests, long enough"
ISSUER = "https://issuer.example"
RESOURCE = "https://gate.example/mcp"
CALLBACK = "http://127.0.0.1:33418/callback"
VERIFIER = "v" * 43
ALICE = Subject("person", ISSUER, "alice-1", shown="person:alice", username="alice")


def challenge_of(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class Gate:
    """The endpoints, a client that is registered, and a clock that a test moves."""

    def __init__(self, rate: Rate | None = None) -> None:
        self.now = 1_800_000_000.0
        self.people = PeopleWhoSignIn(["alice"])
        self.registrations = Registrations(
            self.sealer("client", REGISTRATION_SECONDS), clock=self.clock
        )
        self.client, _ = self.registrations.register({"redirect_uris": [CALLBACK]})
        clients = Clients(self.registrations, Documents(None))  # type: ignore[arg-type]
        ended = Ended(None, ENDED_GRANTS, clock=self.clock)
        self.grants = Grants(ended, None, lambda: None, clock=self.clock)
        self.tokens = Tokens(self.sealer, ISSUER, clock=self.clock)
        self.token = TokenEndpoint(
            clients,
            self.tokens,
            self.grants,
            self.people,
            Failures(rate),
            (RESOURCE, f"{RESOURCE}/"),
        )
        self.revoke = RevokeEndpoint(self.tokens, self.grants)

    def clock(self) -> float:
        return self.now

    def sealer(self, purpose: str, seconds: float) -> Sealer:
        return Sealer(SECRET, purpose, max_seconds=seconds, clock=self.clock)

    def grant(self, client: Client | None = None, scopes: tuple[str, ...] = ()) -> Grant:
        return self.grants.new(
            ALICE, client or self.client, to="this computer", scopes=scopes, resource=RESOURCE
        )

    def code(self, grant: Grant | None = None) -> str:
        return self.tokens.code(
            grant or self.grant(), redirect_uri=CALLBACK, challenge=challenge_of(VERIFIER)
        )

    def form(self, code: str = "", **changes: str | None) -> dict[str, str]:
        """The form with which the client gets tokens for a code."""
        whole = {
            "grant_type": "authorization_code",
            "client_id": self.client.id,
            "code": code or self.code(),
            "code_verifier": VERIFIER,
            "redirect_uri": CALLBACK,
            "resource": RESOURCE,
        }
        return {name: text for name, text in {**whole, **changes}.items() if text is not None}

    async def redeem(self, code: str = "", **changes: str | None) -> Reply:
        return await reply_to_form(self.token, "/token", self.form(code, **changes))

    async def signed_in(self, **changes: str | None) -> dict[str, Any]:
        """The tokens of an app that a person has just let in."""
        return content_of(await self.redeem("", **changes))

    async def refresh(self, tokens: dict[str, Any], **changes: str | None) -> Reply:
        whole = {
            "grant_type": "refresh_token",
            "client_id": self.client.id,
            "refresh_token": tokens["refresh_token"],
        }
        form = {name: text for name, text in {**whole, **changes}.items() if text is not None}
        return await reply_to_form(self.token, "/token", form)

    def is_good(self, tokens: dict[str, Any]) -> bool:
        """True if the access token would be let in."""
        access = self.tokens.read_access(tokens["access_token"])
        return access is not None and not access.is_over and not self.grants.has_ended(access.grant)


def content_of(reply: Reply, status: int = 200) -> dict[str, Any]:
    assert reply.status == status, reply.body
    content = json.loads(reply.body)
    assert isinstance(content, dict)
    return content


def error_of(reply: Reply, status: int = 400) -> str:
    content = content_of(reply, status)
    assert content.keys() == {"error", "error_description"}
    return str(content["error"])


async def test_a_code_becomes_tokens_that_no_cache_keeps_and_any_page_may_read() -> None:
    gate = Gate()
    reply = await gate.redeem()
    tokens = content_of(reply)
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == ACCESS_SECONDS
    assert "scope" not in tokens
    assert gate.is_good(tokens)
    fields = dict(reply.headers)
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"Pragma"] == b"no-cache"
    assert fields[b"Access-Control-Allow-Origin"] == b"*"
    access = gate.tokens.read_access(tokens["access_token"])
    assert access is not None
    person = access.grant.person
    assert (person.kind, person.issuer, person.sub) == ("oauth", ISSUER, "alice-1")
    assert (person.shown, person.expires) == ("oauth:alice", gate.now + ACCESS_SECONDS)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"client_id": None}, "invalid_request"),
        ({"client_id": "https://other.example/client.json"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"code": "code"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": challenge_of(VERIFIER)}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:33419/callback"}, "invalid_grant"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_grant"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
    ],
)
async def test_with_anything_else_a_code_is_of_no_use_and_is_not_used_up(
    changes: dict[str, str | None], error: str
) -> None:
    gate = Gate()
    code = gate.code()
    form = gate.form(code)
    wrong = {name: text for name, text in {**form, **changes}.items() if text is not None}
    assert error_of(await reply_to_form(gate.token, "/token", wrong)) == error
    assert gate.is_good(content_of(await reply_to_form(gate.token, "/token", form)))


async def test_a_grant_for_another_resource_gives_no_tokens_whatever_the_app_asks_for() -> None:
    gate = Gate()
    grant = gate.grants.new(
        ALICE, gate.client, to="x", scopes=(), resource="https://old.example/mcp"
    )
    for resource in (RESOURCE, None, grant.resource):
        assert error_of(await gate.redeem(gate.code(grant), resource=resource)) == "invalid_grant"
        tokens = {"refresh_token": gate.tokens.refresh(grant, 1)}
        assert error_of(await gate.refresh(tokens, resource=resource)) == "invalid_grant"


async def test_where_the_answer_went_and_for_what_need_not_be_said_again() -> None:
    gate = Gate()
    assert gate.is_good(await gate.signed_in(redirect_uri=None, resource=None))
    assert gate.is_good(await gate.signed_in(resource=f"{RESOURCE}/"))


async def test_a_verifier_is_one_only_in_its_own_letters() -> None:
    gate = Gate()
    for verifier in ("v" * 42, "v" * 129, "v" * 42 + "!", "\u00fc" * 43):
        code = gate.tokens.code(
            gate.grant(), redirect_uri=CALLBACK, challenge=challenge_of(verifier)
        )
        assert error_of(await gate.redeem(code, code_verifier=verifier)) == "invalid_grant"


async def test_a_code_is_good_for_a_minute() -> None:
    gate = Gate()
    code, late = gate.code(), gate.code()
    gate.now += CODE_SECONDS - 1
    assert gate.is_good(content_of(await gate.redeem(code)))
    gate.now += 1
    assert error_of(await gate.redeem(late)) == "invalid_grant"


async def test_a_second_use_of_a_code_ends_what_the_first_one_gave() -> None:
    gate = Gate()
    code = gate.code()
    tokens = content_of(await gate.redeem(code))
    assert error_of(await gate.redeem(code)) == "invalid_grant"
    assert not gate.is_good(tokens)
    assert error_of(await gate.refresh(tokens)) == "invalid_grant"


async def test_refresh_tokens_rotate_and_an_old_one_ends_all() -> None:
    gate = Gate()
    first = await gate.signed_in()
    second = content_of(await gate.refresh(first))
    assert second["refresh_token"] != first["refresh_token"]
    gate.now += GRACE_SECONDS + 1
    third = content_of(await gate.refresh(second))
    assert gate.is_good(third)
    assert error_of(await gate.refresh(first)) == "invalid_grant"
    assert not gate.is_good(third)
    assert error_of(await gate.refresh(third)) == "invalid_grant"


async def test_two_tabs_may_renew_at_the_same_moment() -> None:
    gate = Gate()
    first = await gate.signed_in()
    one = content_of(await gate.refresh(first))
    gate.now += GRACE_SECONDS - 1
    other = content_of(await gate.refresh(first))
    assert gate.is_good(one)
    assert gate.is_good(other)
    gate.now += 2
    assert error_of(await gate.refresh(first)) == "invalid_grant"


async def test_a_refresh_token_is_its_clients_own() -> None:
    gate = Gate()
    other, _ = gate.registrations.register({"redirect_uris": [CALLBACK]})
    tokens = await gate.signed_in()
    assert error_of(await gate.refresh(tokens, client_id=other.id)) == "invalid_grant"
    assert error_of(await gate.refresh(tokens, client_id=None)) == "invalid_request"
    assert gate.is_good(content_of(await gate.refresh(tokens))), "and was not used up"


async def test_a_client_whose_registration_opens_no_more_is_told_to_register_anew() -> None:
    gate = Gate()
    tokens = await gate.signed_in()
    for client_id in (
        gate.client.id[:-3],
        "claude",
        "http://client.example/c",
        "https://client.example",
    ):
        reply = await gate.refresh(tokens, client_id=client_id)
        assert error_of(reply, 401) == "invalid_client"
        assert b"WWW-Authenticate" not in dict(reply.headers)


async def test_a_client_with_a_secret_hears_that_it_needs_none_and_its_code_is_not_used_up() -> (
    None
):
    gate = Gate()
    code = gate.code()
    basic = (b"Authorization", b"Basic " + b64encode(f"{gate.client.id}:".encode()))
    for client_id in (None, "claude"):
        form = gate.form(code, client_id=client_id)
        reply = await reply_to_form(gate.token, "/token", form, basic)
        assert error_of(reply, 401) == "invalid_client"
        assert dict(reply.headers)[b"WWW-Authenticate"].startswith(b"Basic ")
    bearer = (b"Authorization", b"Bearer " + (await gate.signed_in())["access_token"].encode())
    form = gate.form(code, client_id=None)
    assert error_of(await reply_to_form(gate.token, "/token", form, bearer)) == "invalid_request"
    form = gate.form(code, client_secret="any")
    assert gate.is_good(content_of(await reply_to_form(gate.token, "/token", form, basic)))


async def test_no_seal_does_for_another_purpose() -> None:
    gate = Gate()
    tokens = await gate.signed_in()
    code = gate.code()
    for wrong in (tokens["access_token"], tokens["refresh_token"], gate.client.id):
        assert error_of(await gate.redeem(wrong)) == "invalid_grant"
    for wrong in (tokens["access_token"], code, gate.client.id):
        reply = await gate.refresh(tokens, refresh_token=wrong)
        assert error_of(reply) == "invalid_grant"
    for wrong in (tokens["refresh_token"], code, gate.client.id):
        assert gate.tokens.read_access(wrong) is None


async def test_whoever_is_off_the_list_gets_no_more_tokens() -> None:
    gate = Gate()
    tokens = await gate.signed_in()
    code = gate.code()
    gate.people = PeopleWhoSignIn(["bob"])
    clients = Clients(gate.registrations, Documents(None))  # type: ignore[arg-type]
    gate.token = TokenEndpoint(
        clients, gate.tokens, gate.grants, gate.people, Failures(None), (RESOURCE,)
    )
    assert error_of(await gate.refresh(tokens)) == "invalid_grant"
    assert error_of(await gate.redeem(code)) == "invalid_grant"


async def test_no_token_outlives_its_grant() -> None:
    gate = Gate()
    tokens = await gate.signed_in()
    for _ in range(4):
        gate.now += 22 * 86_400
        tokens = content_of(await gate.refresh(tokens))
    gate.now += 2 * 86_400 - 100
    tokens = content_of(await gate.refresh(tokens))
    assert 0 < tokens["expires_in"] <= 100
    gate.now += 101
    assert not gate.is_good(tokens)
    assert error_of(await gate.refresh(tokens)) == "invalid_grant"
    assert gate.now <= 1_800_000_000 + MAX_GRANT_SECONDS + 2


async def test_scopes_may_become_fewer_for_an_access_token_and_never_more() -> None:
    gate = Gate()
    grant = gate.grant(scopes=("read", "write"))
    tokens = content_of(await gate.redeem(gate.code(grant)))
    assert tokens["scope"] == "read write"
    fewer = content_of(await gate.refresh(tokens, scope="read"))
    access = gate.tokens.read_access(fewer["access_token"])
    assert access is not None
    assert access.grant.scopes == access.grant.person.scopes == ("read",)
    again = content_of(await gate.refresh(fewer, scope="read offline_access"))
    assert again["scope"] == "read", "each app gets refresh tokens without a scope for them"
    fewer = content_of(await gate.refresh(again))
    assert fewer["scope"] == "read write"
    assert error_of(await gate.refresh(fewer, scope="read admin")) == "invalid_scope"


class Unsure(Grants):
    """Grants that cannot tell."""

    async def advance(self, *_: Any, **__: Any) -> Advance:
        return Advance.UNAVAILABLE


async def test_what_cannot_be_told_is_asked_again_and_nobody_is_signed_out() -> None:
    gate = Gate(Rate(1, 60, 1))
    tokens = await gate.signed_in()
    clients = Clients(gate.registrations, Documents(None))  # type: ignore[arg-type]
    ended = Ended(None, ENDED_GRANTS, clock=gate.clock)
    unsure = Unsure(ended, None, lambda: None, clock=gate.clock)
    sure, gate.token = (
        gate.token,
        TokenEndpoint(
            clients, gate.tokens, unsure, gate.people, Failures(Rate(1, 60, 1)), (RESOURCE,)
        ),
    )
    for _ in range(5):
        reply = await gate.refresh(tokens)
        assert error_of(reply, 503) == "temporarily_unavailable"
        assert b"Retry-After" in dict(reply.headers)
    gate.token = sure
    assert gate.is_good(content_of(await gate.refresh(tokens)))


async def test_whoever_guesses_has_to_wait_and_nobody_with_a_good_one_does() -> None:
    gate = Gate(Rate(10, 60, 10))
    good = await gate.signed_in()
    statuses = [(await gate.redeem("guess")).status for _ in range(12)]
    assert statuses == [400] * 10 + [429] * 2
    assert gate.is_good(content_of(await gate.refresh(good)))
    elsewhere = await reply_to_form(gate.token, "/token", gate.form("guess"), client="198.51.100.7")
    assert elsewhere.status == 400


async def test_an_app_hears_that_its_grant_is_over_however_many_guess_at_its_address() -> None:
    gate = Gate(Rate(1, 60, 1))
    ended, stays = [await gate.signed_in() for _ in range(2)]
    statuses = [(await gate.redeem("guess")).status for _ in range(3)]
    assert statuses == [400, 429, 429]
    assert (
        await reply_to_form(gate.revoke, "/revoke", {"token": ended["access_token"]})
    ).status == 200
    assert error_of(await gate.refresh(ended)) == "invalid_grant"
    assert (
        error_of(await gate.refresh(stays, resource="https://other.example/mcp"))
        == "invalid_target"
    )
    assert gate.is_good(content_of(await gate.refresh(stays)))


@pytest.mark.parametrize("page", ["token", "revoke"])
async def test_only_a_form_is_read_and_each_parameter_once(page: str) -> None:
    gate = Gate()
    endpoint = getattr(gate, page)
    twice = [*gate.form().items(), ("token", "a"), ("token", "b"), ("code", "c")]
    assert error_of(await reply_to_form(endpoint, f"/{page}", twice)) == "invalid_request"
    assert error_of(await reply_of(endpoint, f"/{page}", body=b"{}"), 415) == "invalid_request"
    large = b"code=" + b"c" * 70_000
    assert (
        error_of(await reply_of(endpoint, f"/{page}", FORM, body=large), 413) == "invalid_request"
    )
    odd = await reply_of(endpoint, f"/{page}", FORM, body=b"code=%ff")
    assert error_of(odd) == "invalid_request"
    read = await reply_of(endpoint, f"/{page}", method="GET")
    assert (read.status, dict(read.headers)[b"Allow"]) == (405, b"POST, OPTIONS")
    asked = (b"Access-Control-Request-Headers", b"content-type")
    preflight = await reply_of(endpoint, f"/{page}", asked, method="OPTIONS")
    assert preflight.status == 204
    assert dict(preflight.headers)[b"Access-Control-Allow-Methods"] == b"POST, OPTIONS"


@pytest.mark.parametrize("page", ["token", "revoke"])
async def test_a_static_token_has_no_business_there(page: str) -> None:
    gate = Gate()
    static = (b"Authorization", b"Bearer mcpgate_" + b"Z" * 43)
    for field in (static, (b"X-API-Key", b"k" * 40)):
        reply = await reply_to_form(getattr(gate, page), f"/{page}", gate.form(), field)
        assert error_of(reply, 404) == "not_found"


async def test_an_app_gives_back_either_token_and_all_is_over() -> None:
    gate = Gate()
    for kind in ("refresh_token", "access_token"):
        tokens = await gate.signed_in()
        form = {"token": tokens[kind], "client_id": gate.client.id, "token_type_hint": "odd"}
        assert content_of(await reply_to_form(gate.revoke, "/revoke", form)) == {}
        assert not gate.is_good(tokens)
        assert error_of(await gate.refresh(tokens)) == "invalid_grant"
        assert content_of(await reply_to_form(gate.revoke, "/revoke", form)) == {}, "again"


async def test_nobody_else_gives_it_back() -> None:
    gate = Gate()
    tokens = await gate.signed_in()
    form = {"token": tokens["refresh_token"]}
    reply = await reply_to_form(gate.revoke, "/revoke", {**form, "client_id": "other"})
    assert error_of(reply, 401) == "invalid_client"
    assert error_of(await reply_to_form(gate.revoke, "/revoke", {"a": "b"})) == "invalid_request"
    unknown = await reply_to_form(gate.revoke, "/revoke", {"token": "unknown"})
    assert content_of(unknown) == {}
    assert gate.is_good(tokens)
    assert content_of(await reply_to_form(gate.revoke, "/revoke", form)) == {}
    assert not gate.is_good(tokens), "though the app has not said which it is"


NAMED = [*Gate().form(), "refresh_token", "scope", "token", "x"]  # our own words name some of them
NAMES = st.sampled_from(NAMED)
TEXTS = st.text() | st.sampled_from(["refresh_token", "no word of ours <b>"])


def judge(reply: Reply, texts: Iterable[str]) -> None:
    """The reply is tokens, or an error, in JSON, and repeats none of the texts."""
    assert reply.status in {200, 400, 401}
    is_error = json.loads(reply.body).keys() == {"error", "error_description"}
    assert is_error is (reply.status != 200)
    for text in texts:
        if text not in NAMED and len(text) >= 12:
            assert text not in reply.body.decode()


@given(st.lists(st.tuples(NAMES | st.text(), TEXTS)), st.binary(max_size=40))
async def test_no_form_makes_the_endpoints_fail_or_repeat_it(
    form: list[tuple[str, str]], junk: bytes
) -> None:
    gate = Gate()
    for page in (gate.token, gate.revoke):
        judge(await reply_to_form(page, "/token", form), [text for _, text in form])
        judge(await reply_of(page, "/token", FORM, body=junk), [])


@given(
    st.sampled_from(["authorization_code", "refresh_token"]),
    st.dictionaries(NAMES, st.none() | TEXTS, max_size=2),
)
async def test_nor_does_a_good_form_with_a_few_changes(
    kind: str, changes: dict[str, str | None]
) -> None:
    gate = Gate()
    grant = gate.grant(scopes=("read",))
    whole = {
        **gate.form(gate.code(grant), grant_type=kind),
        "refresh_token": gate.tokens.refresh(grant, 1),
        "token": gate.tokens.access(grant)[0],
        **changes,
    }
    form = {name: text for name, text in whole.items() if text is not None}
    for page in (gate.token, gate.revoke):
        judge(await reply_to_form(page, "/token", form), form.values())


def test_the_key_of_a_client_says_nothing_else_than_its_id() -> None:
    assert key_of("a") != key_of("b")
    assert Client("a", "one", ()).key == Client("a", "two", (CALLBACK,)).key == key_of("a")
