"""Signed fronts: who comes through them, and what is no assertion of theirs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gatehouse.identity.fronts import MISSING, PRESETS, Required, front_of
from gatehouse.identity.people import Person
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.subject import Subject
from gatehouse.identity.verifiers import Verifiers
from gatehouse.policy.failures import Failures
from tests.harness.identity import assertions as made
from tests.harness.identity.fronts import Way
from tests.harness.identity.house import as_if_later
from tests.harness.identity.signing import key
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.identity.fronts import Front

NOW = int(time.time())


@pytest.fixture
def at_import(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time of the import, when the tables here were made: a whole run takes minutes."""
    with as_if_later(monkeypatch, NOW - time.time()):
        yield


CLOUDFLARE = front_of("cloudflare", audiences=[made.CLOUDFLARE_AUD], team=made.TEAM)
IAP = front_of("iap", audiences=[made.IAP_AUD])
POMERIUM = front_of("pomerium", audiences=[made.ROUTE])
OWN = front_of(
    "jwt",
    audiences=["gate"],
    header="X-Jwt",
    issuer="https://sso.example.com",
    keys_url="https://sso.example.com/jwks.json",
    algorithms=["EdDSA"],
    name_claim="nick",
)


def judged(
    front: Front, *assertions: str, header: str = "", people: str = ""
) -> Principal | Unknown | None:
    """The judgement of a request with these assertions, at a gate that has the front's keys."""

    async def bring() -> Principal | Unknown | None:
        way = Way(front, people)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            who = await way.bring(*assertions, header=header)
            nursery.cancel_scope.cancel()
        return who

    return trio.run(bring)


def good(front: Front, assertion: str, **more: str) -> Principal:
    who = judged(front, assertion, **more)
    assert isinstance(who, Principal), who
    return who


def refused(front: Front, *assertions: str, **more: str) -> str:
    """The reason for which the request is refused, with 403 and no challenge."""
    who = judged(front, *assertions, **more)
    assert isinstance(who, Unknown), who
    assert who.reply is not None
    assert who.reply.status == 403
    assert not any(name.lower() == b"www-authenticate" for name, _ in who.reply.headers)
    assert who.reply.reason == who.reason
    return who.reason


# Those who come


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize(
    ("front", "assertion"),
    [
        (CLOUDFLARE, made.cloudflare()),
        (CLOUDFLARE, made.cloudflare(aud=["another", made.CLOUDFLARE_AUD])),
        (IAP, made.iap()),
        (IAP, made.iap(email="accounts.google.com:alice@example.com")),
        (POMERIUM, made.pomerium()),
        (POMERIUM, made.pomerium(iss=f"https://{made.ROUTE}/")),
        (OWN, made.own("https://sso.example.com", "gate")),
    ],
)
def test_a_person_is_named_by_the_address_that_the_front_vouches_for(
    front: Front, assertion: str
) -> None:
    who = good(front, assertion, people="*@example.com")
    assert (who.kind, who.name, who.lane) == ("front", "front:alice@example.com", "header")
    assert who.subject is not None
    assert who.subject.sub
    assert not who.subject.is_machine


def test_a_service_token_of_cloudflares_is_a_machine_by_its_client_id() -> None:
    assertion = made.cloudflare_service()
    who = good(CLOUDFLARE, assertion, people=f"client:{made.SERVICE_TOKEN}")
    assert who.name == f"front:{made.SERVICE_TOKEN}"
    assert refused(CLOUDFLARE, assertion, people="*@example.com") == "people"
    other = good(CLOUDFLARE, made.cloudflare_service(common_name="other.access"))
    assert other.id != who.id


def test_the_id_of_a_person_stays_with_a_new_assertion_and_address_and_is_of_its_issuer() -> None:
    first = good(CLOUDFLARE, made.cloudflare())
    assert (
        good(CLOUDFLARE, made.cloudflare(exp=9_999_999_999, email="new@example.com")).id == first.id
    )
    assert good(CLOUDFLARE, made.cloudflare(sub="bob")).id != first.id
    here = good(POMERIUM, made.pomerium())
    assert good(POMERIUM, made.pomerium(iss=f"https://{made.ROUTE}/")).id == here.id
    assert len({first.id, here.id, good(IAP, made.iap()).id}) == 3
    assert all(each.startswith("front:") and "@" not in each for each in (first.id, here.id))


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize(
    ("front", "assertion"),
    [
        (OWN, made.own("https://sso.example.com", "gate", email_verified=False)),
        (OWN, made.own("https://sso.example.com", "gate", email_verified="true")),
        (IAP, made.iap(email="securetoken.google.com/project/tenant:alice@example.com")),
        (IAP, made.iap(email=["alice@example.com"])),
    ],
)
def test_an_address_that_the_front_does_not_vouch_for_names_nobody(
    front: Front, assertion: str
) -> None:
    who = good(front, assertion)
    assert who.subject is not None
    assert who.name == f"front:{who.subject.sub}"
    assert refused(front, assertion, people="*@example.com") == "people"


def test_a_front_of_ones_own_has_the_name_claim_of_the_settings() -> None:
    who = good(OWN, made.own("https://sso.example.com", "gate", nick="Al"))
    assert who.name == "front:Al"


# Those who do not


def test_without_an_assertion_there_is_nothing_to_judge() -> None:
    assert judged(CLOUDFLARE) is None
    assert judged(CLOUDFLARE, made.cloudflare(), header="Cookie") is None
    assert (
        judged(CLOUDFLARE, "alice@example.com", header="Cf-Access-Authenticated-User-Email") is None
    )
    assert judged(IAP, made.cloudflare(), header=made.CLOUDFLARE_HEADER) is None
    assert (MISSING.reason, MISSING.counts) == ("front-missing", False)
    assert MISSING.weight == 403


FORGER = replace(key("forger"), kid="cloudflare")


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize(
    ("front", "assertion", "reason"),
    [
        (CLOUDFLARE, made.cloudflare(aud=["another"]), "audience"),
        (CLOUDFLARE, made.cloudflare(aud=None), "audience"),
        (CLOUDFLARE, made.cloudflare(iss="https://other.cloudflareaccess.com"), "issuer"),
        (CLOUDFLARE, made.cloudflare(type="org"), "type"),
        (CLOUDFLARE, made.cloudflare(exp=NOW - 61), "expired"),
        (CLOUDFLARE, made.cloudflare(exp=None), "malformed"),
        (CLOUDFLARE, made.cloudflare(iat=NOW + 86_400), "not-yet"),
        (CLOUDFLARE, made.cloudflare(by=key("cloudflare", "ES256")), "algorithm"),
        (CLOUDFLARE, made.cloudflare(sub=""), "subject"),
        (CLOUDFLARE, made.cloudflare(sub=None, common_name=7), "subject"),
        (CLOUDFLARE, made.cloudflare(sub=["x"]), "subject"),
        (CLOUDFLARE, f"{made.cloudflare()}, {made.cloudflare()}", "malformed"),
        (CLOUDFLARE, "", "malformed"),
        (CLOUDFLARE, "Bearer x", "malformed"),
        (CLOUDFLARE, made.cloudflare() + "é", "malformed"),
        (IAP, made.iap(sub=None), "subject"),
        (POMERIUM, made.pomerium(aud="other.example"), "audience"),
        (POMERIUM, made.pomerium(iss="other.example"), "issuer"),
        (POMERIUM, made.pomerium(iss=f"http://{made.ROUTE}"), "issuer"),
        (OWN, made.own("https://sso.example.com/", "gate"), "issuer"),
    ],
)
def test_an_assertion_that_is_no_good_is_refused_for_a_reason(
    front: Front, assertion: str, reason: str
) -> None:
    assert refused(front, assertion) == reason


def test_only_the_fronts_own_keys_sign() -> None:
    assert refused(CLOUDFLARE, made.cloudflare(by=FORGER)) == "bad-signature"
    assert refused(CLOUDFLARE, made.cloudflare(by=key("forger"), iat=NOW - 60)) == "key-unknown"
    head, claims, _ = made.cloudflare().split(".")
    assert refused(CLOUDFLARE, f"{head}.{claims}.{made.iap().split('.')[2]}") == "bad-signature"


def test_an_assertion_comes_once() -> None:
    assertion = made.cloudflare()
    assert refused(CLOUDFLARE, assertion, assertion) == "front-twice"
    assert refused(CLOUDFLARE, "", assertion) == "front-twice"


def test_while_the_keys_are_out_of_reach_nobody_can_tell() -> None:
    async def bring() -> Principal | Unknown | None:
        return await Way(CLOUDFLARE).bring(made.cloudflare())

    who = trio.run(bring, clock=trio.testing.MockClock(autojump_threshold=0))
    assert isinstance(who, Unknown)
    assert (who.reason, who.counts) == ("keys-unavailable", False)
    assert who.reply is not None
    assert who.reply.status == 503
    assert b"signed on in front of it" in who.reply.body  # not of a token, which nobody has brought


# Those who are recognised, at the dashboard


def test_one_who_is_recognised_need_not_be_among_the_people_and_is_not_noted_as_let_in() -> None:
    async def live() -> None:
        way = Way(CLOUDFLARE, people="bob@example.com")
        alice = request_of([(way.front.header, made.cloudflare().encode())])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(2):
                found = await way.verifier.recognise(alice)
                assert isinstance(found, Subject)
                assert (found.kind, found.email) == ("front", "alice@example.com")
                who = await way.verifier.judge(alice)
                assert isinstance(who, Unknown)
                assert (who.reason, who.name) == ("people", found.shown)
            assert way.uses.times() == {}
            nursery.cancel_scope.cancel()

    trio.run(live)


@pytest.mark.usefixtures("at_import")
@pytest.mark.parametrize(
    ("assertions", "reason"),
    [
        ([made.cloudflare(aud=["another"])], "audience"),
        ([made.cloudflare(type="org")], "type"),
        ([made.cloudflare(sub="")], "subject"),
        ([made.cloudflare(by=FORGER)], "bad-signature"),
        ([made.cloudflare()] * 2, "front-twice"),
    ],
)
def test_nobody_is_recognised_by_what_would_let_nobody_in(
    assertions: list[str], reason: str
) -> None:
    async def live() -> None:
        way = Way(CLOUDFLARE)
        fields = [(way.front.header, each.encode()) for each in assertions]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            who = await way.verifier.recognise(request_of(fields))
            assert isinstance(who, Unknown)
            assert who == await way.verifier.judge(request_of(fields))
            assert who.reason == reason
            assert await way.verifier.recognise(request_of()) is None
            nursery.cancel_scope.cancel()

    trio.run(live)


# The way out


def test_who_is_in_stays_while_assertion_key_and_list_do() -> None:
    async def live() -> None:
        way = Way(CLOUDFLARE, people="*@example.com")
        way.people.replace([Person("bob@example.org")])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            alice = await way.bring(made.cloudflare())
            bob = await way.bring(made.cloudflare(sub="bob", email="bob@example.org"))
            assert isinstance(alice, Principal)
            assert isinstance(bob, Principal)
            assert way.verifier.in_force(alice)
            assert way.verifier.in_force(bob)
            assert not way.verifier.in_force(Principal("default", "default"))
            way.people.replace([])
            assert not way.verifier.in_force(bob)
            assert way.verifier.in_force(alice)
            way.published = [key("cloudflare2").jwk]
            await trio.sleep(700)
            assert not way.verifier.in_force(alice)
            who = await way.bring(made.cloudflare())
            assert isinstance(who, Unknown)
            nursery.cancel_scope.cancel()

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_required_assertion_is_needed_whatever_else_a_request_has() -> None:
    async def live() -> None:
        way = Way(CLOUDFLARE, people="*@example.com")
        required = Required(way.verifier)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.keys.keep)
            await trio.testing.wait_all_tasks_blocked()
            token = (b"Authorization", b"Bearer mcpgate_x")
            for assertion, reason in [
                (None, "front-missing"),
                (made.cloudflare(aud="other"), "audience"),
                (made.cloudflare(by=FORGER), "bad-signature"),
            ]:
                fields = [(way.front.header, assertion.encode())] if assertion else []
                who = await required.verify(request_of([token, *fields]))
                assert isinstance(who, Unknown)
                assert (who.reason, who.ends, who.weight) == (reason, True, 403)
            fields = [(way.front.header, made.cloudflare().encode())]
            assert await required.verify(request_of([token, *fields])) is None
            assert await way.verifier.verify(request_of([token, *fields])) is None
            foreign = (b"Authorization", b"Bearer oauth:opaque")
            assert isinstance(await way.verifier.verify(request_of([foreign, *fields])), Principal)
            fields = [(way.front.header, made.cloudflare_service().encode())]
            assert await required.verify(request_of([token, *fields])) is None
            stranger = await way.verifier.verify(request_of(fields))
            assert isinstance(stranger, Unknown)
            assert stranger.reason == "people"
            nursery.cancel_scope.cancel()

    trio.run(live)


def test_only_a_good_assertion_lends_its_request_the_address_that_cloudflare_saw() -> None:
    way = Way(CLOUDFLARE)
    verifiers = Verifiers(
        [way.verifier], Failures(None).retry_after, address=way.verifier.address_of
    )
    through = Principal("front:x", "front:alice", kind="front")
    told = (b"CF-Connecting-IP", b"203.0.113.9")
    assert verifiers.seen(request_of([told]), through).client == "203.0.113.9"
    for fields in ([], [told, told], [(b"CF-Connecting-IP", b"me")]):
        assert verifiers.seen(request_of(fields), through).client == "192.0.2.7"
    assert verifiers.seen(request_of([told]), Principal("a", "a")).client == "192.0.2.7"
    unlisted = Unknown("front:eve", "people")
    assert verifiers.seen(request_of([told]), unlisted).client == "203.0.113.9"
    for bad in (Unknown("", "expired"), Unknown("oauth:eve", "people")):
        assert verifiers.seen(request_of([told]), bad).client == "192.0.2.7"
    assert Way(IAP).verifier.address_of(request_of([told])) == "192.0.2.7"


def test_where_the_assertion_is_required_every_good_one_lends_the_address() -> None:
    way = Way(CLOUDFLARE)
    count = Failures(None).retry_after
    verifiers = Verifiers([], count, address=way.verifier.address_of, behind_front=True)
    told = (b"CF-Connecting-IP", b"203.0.113.9")
    for who in (Principal("a", "a"), Unknown("", "token")):  # a static token beside it, good or not
        assert verifiers.seen(request_of([told]), who).client == "203.0.113.9"
    missing = Unknown("", "front-missing", ends=True)
    assert verifiers.seen(request_of([told]), missing).client == "192.0.2.7"


# The table


def test_a_preset_says_all_that_a_front_has_in_common_everywhere() -> None:
    assert CLOUDFLARE.keys_url == f"https://{made.TEAM}.cloudflareaccess.com/cdn-cgi/access/certs"
    assert IAP.keys_url == "https://www.gstatic.com/iap/verify/public_key-jwk"
    assert POMERIUM.keys_url == f"https://{made.ROUTE}/.well-known/pomerium/jwks.json"
    assert OWN.keys_url == "https://sso.example.com/jwks.json"
    for kind in PRESETS:
        given = front_of(
            kind, audiences=["a"], header="X", issuer="i", keys_url="http://127.0.0.1/k"
        )
        assert given.keys_url == "http://127.0.0.1/k"


def test_pomeriums_audience_may_be_written_as_a_url() -> None:
    for text in (f"https://{made.ROUTE}", f"https://{made.ROUTE}/mcp", f"{made.ROUTE}/"):
        assert front_of("pomerium", audiences=[text]) == POMERIUM


def test_braces_in_an_issuer_of_ones_own_are_its_own() -> None:
    front = front_of("jwt", audiences=["a"], header="X", issuer="https://x/{team}{0}", keys_url="k")
    assert front.issuers == ("https://x/{team}{0}",)


def test_the_marks_are_those_of_every_front_and_the_header_of_this_one() -> None:
    fields = [
        (b"CF-Access-Jwt-Assertion", b""),
        (b"Cf-Access-Authenticated-User-Email", b""),
        (b"CF-Access-Client-Secret", b""),
        (b"X-Goog-Authenticated-User-ID", b""),
        (b"X-Goog-IAP-JWT-Assertion", b""),
        (b"X-Pomerium-Claim-Email", b""),
        (b"X-Jwt", b""),
    ]
    cookies = [
        b"CF_Authorization=a.b.c; CF_AppSession=n; a=1",
        b"GCP_IAP_UID=1; __Host-GCP_IAP_AUTH_TOKEN_18=x; GCP_IAAP_AUTH_TOKEN=y; b=2; _pomerium=z",
        b"CF_Binding=1",
    ]
    others = [(b"X-Jwt-Id", b""), (b"CF-Ray", b"1"), (b"X-Goog-Trace", b"")]
    sent = OWN.marks.taken_off([*fields, *others, *((b"Cookie", each) for each in cookies)])
    assert sent == [*others, (b"Cookie", b"a=1"), (b"Cookie", b"b=2")]
