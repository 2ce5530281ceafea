"""People sign in at a provider over real sockets: one that is good, and one that lies, hangs, dies and comes back."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote_plus

import pytest
import trio
from trio.testing import MockClock

from gatehouse.signin.on_demand import PAUSE_SECONDS
from gatehouse.signin.sign_in import HOME, SignIn, SignInFailedError
from gatehouse.upstream import asking
from tests.harness.identity import hugging_face
from tests.harness.identity.authorization_server import OPENID
from tests.harness.identity.browser import gone, sign_in_at, signed_in
from tests.harness.identity.openid_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    OpenIDProvider,
    openid_provider,
)
from tests.harness.identity.scripts import (
    document,
    hang,
    hang_up,
    page,
    redirect,
    status,
    text,
    trickle,
)
from tests.harness.leaks import pieces_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.identity.scripts import Script

OURS = (CLIENT_ID, CLIENT_SECRET)


@pytest.fixture
def clock() -> MockClock:
    """Trio's clock: it runs as always, and can be put forward."""
    return MockClock(rate=1.0)


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    with openid_provider("/realms/one") as provider:
        yield provider


async def failure(sign_in: SignIn, *, ends: bool = True) -> str:
    """Why nobody is signed in, and that it does not take long to find out."""
    began = time.monotonic()
    with pytest.raises(SignInFailedError) as caught:
        await signed_in(sign_in)
    assert time.monotonic() - began < 10
    assert bool(caught.value.cookies) is ends
    return caught.value.reason


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_person_signs_in(alg: str) -> None:
    with openid_provider("/realms/one", alg=alg) as provider:
        sign_in = sign_in_at(provider.issuer, OURS)
        assert provider.asked == []
        finished = await signed_in(sign_in, "/dashboard/tokens")
        who = finished.subject
        assert (who.sub, who.username, who.email) == ("alice-0001", "alice", "alice@example.com")
        assert finished.to == "/dashboard/tokens"
        provider.person = "bob"
        assert (await signed_in(sign_in)).subject.shown == "person:bob"
        paths = [each.path.removeprefix("/realms/one") for each in provider.asked]
    assert paths == [
        *(OPENID, "/authorize", "/token", "/jwks", "/userinfo"),
        *("/authorize", "/token", "/userinfo"),
    ]


@pytest.mark.parametrize("alg", ["RS256", "EdDSA"])
@pytest.mark.parametrize("person", ["alice", "bob"])
async def test_a_person_signs_in_at_hugging_face(alg: str, person: str) -> None:
    with hugging_face.hugging_face(alg=alg, asks=True) as provider:
        provider.person = person
        ours = hugging_face.CLIENT_ID, hugging_face.CLIENT_SECRET
        scopes = ("openid", "profile", "read-memberships")
        who = (await signed_in(sign_in_at(provider.issuer, ours, scopes))).subject
    assert who.sub == hugging_face.PEOPLE[person]["sub"]
    assert (who.username, who.email) == (person, "")  # nobody asked for the address
    assert who.orgs == {hugging_face.KITCHEN, "kitchen"}
    (token,) = provider.tokens
    assert token.startswith("hf_oauth_")


async def test_hugging_face_takes_no_secret_but_the_right_one() -> None:
    with hugging_face.hugging_face() as provider:
        wrong = sign_in_at(provider.issuer, (hugging_face.CLIENT_ID, "another"))
        assert await failure(wrong) == "provider-refused"


async def test_a_person_says_no(provider: OpenIDProvider) -> None:
    provider.denies = True
    assert await failure(sign_in_at(provider.issuer, OURS)) == "denied"
    assert provider.count(f"{provider.base_path}/token") == 0


async def test_a_code_is_good_once_and_for_the_browser_that_got_it(
    provider: OpenIDProvider,
) -> None:
    sign_in = sign_in_at(provider.issuer, OURS)
    first, second = await gone(sign_in), await gone(sign_in)
    with pytest.raises(SignInFailedError) as caught:
        await sign_in.finish(
            first._replace(values={**first.values, b"cookie": second.values[b"cookie"]})
        )
    assert caught.value.reason == "state"
    assert await sign_in.finish(first)
    after_a_restart = sign_in_at(provider.issuer, OURS)
    with pytest.raises(SignInFailedError) as caught:
        await after_a_restart.finish(first)
    assert caught.value.reason == "code-refused"  # the provider knows
    assert await after_a_restart.finish(second)  # and others lose nothing


LIES: list[tuple[str, dict[str, Any], str]] = [
    ("metadata", {"issuer": "https://evil.example"}, "provider-metadata"),
    ("metadata", {"token_endpoint": "http://evil.example/token"}, "provider-metadata"),
    ("answer", {"iss": "https://evil.example"}, "issuer"),
    ("answer", {"iss": None}, "issuer"),
    ("answer", {"state": "another"}, "state"),
    ("answer", {"code": ["a", "b"]}, "callback"),
    ("answer", {"code": "another"}, "code-refused"),
    ("token", {"token_type": "mac"}, "token-answer"),
    ("token", {"id_token": "e30.e30.e30"}, "id-token"),
    ("header", {"alg": "none"}, "id-token"),
    ("header", {"typ": "at+jwt"}, "id-token"),
    ("id_token", {"aud": "another"}, "id-token"),
    ("id_token", {"iss": "https://evil.example"}, "id-token"),
    ("id_token", {"exp": 1_700_000_000}, "id-token"),
    ("id_token", {"nonce": "another"}, "nonce"),
    ("id_token", {"sub": "bob-0002"}, "userinfo"),
    ("userinfo", {"sub": "bob-0002"}, "userinfo"),
]


@pytest.mark.parametrize(("where", "lie", "reason"), LIES)
async def test_a_provider_that_lies_signs_nobody_in(
    where: str, lie: dict[str, Any], reason: str, provider: OpenIDProvider
) -> None:
    provider.changes[where] = lie
    ends = reason not in {"provider-metadata", "state", "callback"}
    assert await failure(sign_in_at(provider.issuer, OURS), ends=ends) == reason


TROUBLES: dict[str, Script] = {
    "hangs": hang,
    "hangs up": hang_up,
    "trickles": trickle(b"{" + b" " * 100, 0.05),
    "sends elsewhere": redirect("http://127.0.0.1:1/"),
    "says HTML": page("<h1>Sign in</h1>"),
    "says too much": text(b" " * 300_000),
    "says a list": document([1]),
    "says twice": text(b'{"sub": "alice-0001", "sub": "bob"}'),
    "fails": status(503),
}


PLACES = {OPENID: "provider-away", "/jwks": "provider-away", "/userinfo": "userinfo"}


@pytest.mark.parametrize(
    ("path", "reason", "trouble"),
    [("/token", "provider-away", trouble) for trouble in TROUBLES]
    + [
        (*place, trouble)
        for place in PLACES.items()
        for trouble in ("hangs", "fails", "says twice")
    ],
)
async def test_a_provider_in_trouble_ends_the_sign_in_soon(
    path: str, reason: str, trouble: str, monkeypatch: pytest.MonkeyPatch, provider: OpenIDProvider
) -> None:
    monkeypatch.setattr(asking, "MAX_SECONDS", 0.2)
    provider.says[provider.base_path + path] = TROUBLES[trouble]
    assert await failure(sign_in_at(provider.issuer, OURS), ends=path != OPENID) == reason


async def test_a_provider_that_dies_and_comes_back_with_other_keys(
    provider: OpenIDProvider, clock: MockClock
) -> None:
    sign_in = sign_in_at(provider.issuer, OURS)
    assert await signed_in(sign_in)
    request = await gone(sign_in)
    provider.stop()
    with pytest.raises(SignInFailedError) as caught:
        await sign_in.finish(request)
    assert caught.value.reason == "provider-away"
    provider.start()
    provider.rotate("ES256")
    clock.jump(PAUSE_SECONDS)
    assert await signed_in(sign_in)


async def test_a_provider_that_is_not_there_yet_is_found_later(clock: MockClock) -> None:
    with openid_provider() as provider:
        provider.stop()
        sign_in = sign_in_at(provider.issuer, OURS)
        for _ in range(5):
            with pytest.raises(SignInFailedError) as caught:
                await sign_in.begin(HOME)
            assert caught.value.reason == "provider-away"
        provider.start()
        clock.jump(PAUSE_SECONDS)
        assert await signed_in(sign_in)


async def test_a_crowd_makes_one_question_for_the_description_and_one_for_the_keys(
    provider: OpenIDProvider,
) -> None:
    sign_in = sign_in_at(provider.issuer, OURS)
    people = []

    async def come() -> None:
        people.append((await signed_in(sign_in)).subject.sub)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(come)
    assert people == ["alice-0001"] * 12
    assert provider.count(provider.base_path + OPENID) == 1
    assert provider.count(f"{provider.base_path}/jwks") == 1


async def test_no_secret_comes_into_the_log(
    provider: OpenIDProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    told = []
    for where, lie in (("userinfo", {}), *((where, lie) for where, lie, _ in LIES[-4:])):
        provider.changes = {where: lie}
        sign_in = sign_in_at(provider.issuer, OURS)
        request = await gone(sign_in)
        caplog.clear()  # the lines of the browser, which are none of the gate's
        with suppress(SignInFailedError):
            await sign_in.finish(request)
        told.append(caplog.text)
    assert "".join(told).count("a sign-in failed") == 4
    forms = [parse_qs(asked.body.decode()) for asked in provider.asked if asked.body]
    sent = [form[name][0] for form in forms for name in ("code", "code_verifier")]
    for secret in (CLIENT_SECRET, quote_plus(CLIENT_SECRET), *provider.tokens, *sent):
        assert pieces_in("".join(told), secret) == set()
