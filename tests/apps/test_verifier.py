"""Access tokens of apps at the endpoint: let in, or told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.apps.client import Client
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.apps.tokens import ACCESS_SECONDS, Tokens
from gatehouse.apps.verifier import AppTokens
from gatehouse.http.challenges import Challenges
from gatehouse.identity.admission import Admission
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.subject import Subject
from gatehouse.identity.who_signs_in import PeopleWhoSignIn
from gatehouse.signin.ended import Ended
from gatehouse.signin.sealing import Sealer
from tests.harness.identity.house import STATIC, as_if_later
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    import pytest

    from gatehouse.apps.grant import Grant

SECRET = b"a secret of the tests, long enough"
ISSUER = "https://issuer.example"
RESOURCE = "https://gate.example/mcp"
POINTER = "https://gate.example/.well-known/oauth-protected-resource/mcp"
ALICE = Subject("person", ISSUER, "alice-1", shown="person:alice", username="alice")
CLIENT = Client("client", "The app", ("http://127.0.0.1/",))
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9.c2lnbmF0dXJl"


def sealer_of(purpose: str, seconds: float) -> Sealer:
    return Sealer(SECRET, purpose, max_seconds=seconds)


class Gate:
    """A verifier, and all that it asks."""

    def __init__(self) -> None:
        self.people = PeopleWhoSignIn([], ["alice"])
        self.grants = Grants(Ended(None, ENDED_GRANTS), None, lambda: None)
        self.tokens = Tokens(sealer_of, ISSUER)
        challenges = Challenges(POINTER)
        admission = Admission(self.people, Scopes(), challenges)
        self.grants.on_end = admission.forget
        self.verifier = AppTokens(self.tokens, self.grants, admission, challenges, [RESOURCE])

    def grant(self, resource: str = RESOURCE) -> Grant:
        return self.grants.new(ALICE, CLIENT, to="this computer", scopes=(), resource=resource)

    def access(self, grant: Grant | None = None) -> str:
        return self.tokens.access(grant or self.grant())[0]

    async def who(self, token: str) -> Principal | Unknown | None:
        fields = [(b"Authorization", b"Bearer " + token.encode())]
        return await self.verifier.verify(request_of(fields))

    async def let_in(self, token: str) -> Principal:
        who = await self.who(token)
        assert isinstance(who, Principal), who
        return who

    async def why_not(self, token: str) -> tuple[str, int, bool]:
        """The reason, the status of the reply, and whether it counts as a failure of its address."""
        who = await self.who(token)
        assert isinstance(who, Unknown), who
        assert who.reply is not None
        if who.reply.status == 401:
            challenge = dict(who.reply.headers)[b"WWW-Authenticate"]
            assert challenge.endswith(b'error="invalid_token"')
            assert POINTER.encode() in challenge
        return who.reason, who.reply.status, who.counts


async def test_an_app_comes_in_as_its_person_and_is_remembered() -> None:
    gate = Gate()
    grant = gate.grant()
    token = gate.access(grant)
    first, again = await gate.let_in(token), await gate.let_in(token)
    assert first is again
    assert (first.kind, first.name) == ("oauth", "oauth:alice")
    assert first.id == grant.person.id
    assert gate.verifier.in_force(first)
    known = gate.grants.of(grant.id)
    assert known is not None
    assert known.address


async def test_two_apps_of_one_person_are_one_principal() -> None:
    gate = Gate()
    assert (await gate.let_in(gate.access())).id == (await gate.let_in(gate.access())).id


async def test_the_end_of_a_grant_holds_at_once_for_a_remembered_token_too() -> None:
    gate = Gate()
    grant, other = gate.grant(), gate.grant()
    token, others = gate.access(grant), gate.access(other)
    who = await gate.let_in(token)
    await gate.grants.end(grant)
    assert await gate.why_not(token) == ("revoked", 401, False)
    assert not gate.verifier.in_force(who)
    assert gate.verifier.in_force(await gate.let_in(others))


async def test_what_was_ours_once_is_no_failure_and_what_never_was_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    token = gate.access()
    assert await gate.why_not(token[:-3]) == ("token", 401, True)
    assert await gate.why_not(JWT) == ("token", 401, True)
    assert await gate.why_not(gate.tokens.refresh(gate.grant(), 1)) == ("token", 401, True)
    with as_if_later(monkeypatch, ACCESS_SECONDS + 1):
        assert await gate.why_not(token) == ("expired", 401, False)


async def test_a_token_for_another_resource_is_no_good_here() -> None:
    gate = Gate()
    token = gate.access(gate.grant("https://other.example/mcp"))
    assert await gate.why_not(token) == ("audience", 401, False)


async def test_a_static_token_is_not_its_business() -> None:
    gate = Gate()
    assert await gate.who(STATIC) is None
    assert await gate.verifier.verify(request_of([(b"X-API-Key", gate.access().encode())])) is None


async def test_whoever_is_off_the_list_is_out_whatever_the_token_says() -> None:
    gate = Gate()
    token = gate.access()
    who = await gate.let_in(token)
    gate.people.replace([])
    assert gate.verifier.in_force(who)
    gate = Gate()
    gate.people = PeopleWhoSignIn([], ["bob"])
    challenges = Challenges(POINTER)
    admission = Admission(gate.people, Scopes(), challenges)
    gate.verifier = AppTokens(gate.tokens, gate.grants, admission, challenges, [RESOURCE])
    assert await gate.why_not(token) == ("people", 403, False)
    assert not gate.verifier.in_force(who)
