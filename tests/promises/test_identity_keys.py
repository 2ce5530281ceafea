"""Keys of an authorization server that rotates, lies, hangs, dies and comes back: nobody with a good token is signed out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock

from tests.harness.identity.authorization_server import (
    JWKS,
    METADATA,
    OPENID,
    AuthorizationServer,
    authorization_server,
)
from tests.harness.identity.house import (
    INVALID,
    as_if_later,
    ask,
    assert_static_works,
    believing,
    challenge_of,
    until_known,
)
from tests.harness.identity.scripts import (
    document,
    hang,
    hang_up,
    redirect,
    status,
    text,
    trickle,
)
from tests.harness.identity.signing import SigningKey, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.answers import Answer
    from tests.harness.identity.scripts import Script

ASK_SECONDS = 30.0
"""One fetch for unknown keys in so many seconds."""


@pytest.fixture
def clock() -> MockClock:
    """Trio's clock: it runs as always, and can be put forward."""
    return MockClock(rate=1.0)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as server:
        yield server


def assert_unavailable(reply: Answer, seconds: float = ASK_SECONDS) -> None:
    """Come again: no challenge, for clients throw their tokens away on one."""
    assert (reply.status, challenge_of(reply)) == (503, None)
    assert 1 <= int(reply.head.get(b"Retry-After") or 0) <= seconds


async def asked(server: AuthorizationServer, count: int, path: str = JWKS) -> None:
    """Wait until the server has been asked so often."""
    with trio.fail_after(10):
        while server.count(path) < count:
            await trio.sleep(0.01)


async def test_a_rotation_is_noticed_by_one_question_and_signs_nobody_out(
    server: AuthorizationServer, clock: MockClock
) -> None:
    async with believing(server) as house:
        ago = int(time.time()) - 100  # one of the very second of a fetch may have a newer key
        old = server.token(iat=ago)
        await until_known(house, old)
        clock.jump(ASK_SECONDS)
        server.rotate(keep=True)
        questions = server.count(JWKS)
        new = [server.token(sub=f"person-{number}", iat=ago) for number in range(8)]
        replies: list[Answer] = []

        async def show(token: str) -> None:
            replies.append(await ask(house, token))

        async with trio.open_nursery() as nursery:
            for token in new:
                nursery.start_soon(show, token)
        assert [reply.status for reply in replies] == [200] * 8
        assert server.count(JWKS) == questions + 1
        assert (await ask(house, old)).status == 200  # its key is still listed
        clock.jump(ASK_SECONDS)
        fresh = server.token()
        assert (await ask(house, fresh)).status == 200
        server.rotate("ES256")  # the old keys are out
        assert (await ask(house, server.token())).status == 200
        for taken_out in (old, new[0], fresh):
            reply = await ask(house, taken_out)
            assert (reply.status, challenge_of(reply)) == (401, INVALID)


async def test_a_flood_of_unknown_keys_makes_one_question_and_no_good_token_wait(
    server: AuthorizationServer, clock: MockClock
) -> None:
    async with believing(server, failure_rate="off") as house:
        good = server.token()
        await until_known(house, good)
        questions = server.count(JWKS)
        server.says[JWKS] = hang
        clock.jump(ASK_SECONDS)
        eve = key("eve")
        took: list[float] = []
        for number in range(100):
            token = server.token(by=SigningKey(uuid4().hex, eve.alg, eve.private))
            began = time.perf_counter()
            reply = await ask(house, token)
            took.append(time.perf_counter() - began)
            assert reply.status in {401, 503}
            if number % 10 == 0:
                assert (await ask(house, good)).status == 200
        assert server.count(JWKS) == questions + 1
        assert sum(sorted(took)[:-1]) < took[0] + 30  # only the first one waits for the question
        # One that was made since the last good fetch may be somebody's new key; an older one cannot be.
        assert_unavailable(
            await ask(house, server.token(by=key("newer"), iat=int(time.time()) + 5))
        )
        reply = await ask(house, server.token(by=key("older"), iat=int(time.time()) - 300))
        assert (reply.status, challenge_of(reply)) == (401, INVALID)


LIES: dict[str, Script] = {
    "500": status(500),
    "404": status(404),
    "an empty set": document({"keys": []}),
    "no set": document({"kees": []}),
    "a list": document([]),
    "garbage": text(b"<html>not now</html>"),
    "half of it": hang_up,
    "elsewhere": redirect("/jwks-of-somebody-else"),
    "a private key": document({"keys": [key().private_jwk]}),
    "a secret": document({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}),
    "keys to encrypt with": document({"keys": [{**key().jwk, "use": "enc"}]}),
    "short keys": document({"keys": [key("short", bits=1024).jwk]}),
    "unknown types": document({"keys": [{"kty": "PQ", "kid": "k1"}, 7, None, "k1", {}]}),
    "too much": document({"keys": [key().jwk], "padding": "x" * 300_000}),
    "nested a thousand times": text(b'{"keys":' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


async def test_no_answer_that_is_worse_replaces_good_keys(
    server: AuthorizationServer, clock: MockClock
) -> None:
    server.says["/jwks-of-somebody-else"] = document({"keys": [key("eve").jwk]})
    async with believing(server, failure_rate="off") as house:
        await until_known(house, server.token())
        for what, lie in LIES.items():
            clock.jump(ASK_SECONDS)
            server.says[JWKS] = lie
            questions = server.count(JWKS)
            reply = await ask(house, server.token(by=key("eve")))
            assert reply.status in {401, 503}, what
            await asked(server, questions + 1)
            assert (await ask(house, server.token())).status == 200, what
        assert server.count("/jwks-of-somebody-else") == 0
        await assert_static_works(house)


async def test_keys_that_are_out_of_reach_sign_nobody_out(
    server: AuthorizationServer, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with believing(server) as house:
        known = server.token()
        await until_known(house, known)
        server.stop()
        clock.jump(ASK_SECONDS)
        assert (await ask(house, server.token())).status == 200
        before = server.token(by=key("older"), iat=int(time.time()) - 300)
        after = server.token(by=key("newer"), iat=int(time.time()) + 5)
        assert_unavailable(await ask(house, after))
        assert (await ask(house, before)).status == 401
        with as_if_later(monkeypatch, 86_500):
            later = int(time.time()) + 86_500
            for by in (key(), key("newer")):
                reply = await ask(house, server.token(by=by, iat=later - 10, exp=later + 600))
                assert_unavailable(reply)
            await assert_static_works(house)
        server.start()
        assert (await ask(house, server.token())).status == 200


@pytest.mark.parametrize("trouble", ["dead", "hangs", "trickles", "another issuer", "500"])
async def test_the_gate_starts_without_the_authorization_server_and_needs_no_restart(
    server: AuthorizationServer, clock: MockClock, trouble: str
) -> None:
    lies: dict[str, Script] = {
        "hangs": hang,
        "trickles": trickle(b'{"issuer": "' + b"x" * 1000, 0.2),
        "another issuer": document({**server.metadata, "issuer": f"{server.issuer}/"}),
        "500": status(500),
    }
    if trouble == "dead":
        server.stop()
    else:
        server.says |= dict.fromkeys([METADATA, OPENID], lies[trouble])
    async with believing(server) as house:
        assert (await ask(house, method="GET", target="/ready")).status == 200
        reply = await ask(house, server.token())
        assert_unavailable(reply)
        await assert_static_works(house)
        server.says.clear()
        if trouble == "dead":
            server.start()
        for _ in range(2):  # a question that hangs is given up, and the next one goes well
            clock.jump(25)
            await trio.sleep(0.05)
        await until_known(house, server.token())


async def test_metadata_may_be_openids_and_an_issuer_may_have_a_path() -> None:
    for path in ("", "/realms/kitchen"):
        for missing in ([], [METADATA + path]):
            with authorization_server(path) as server:
                server.says |= dict.fromkeys(missing, status(404))
                async with believing(server) as house:
                    await until_known(house, server.token())


async def test_keys_come_from_where_the_settings_say() -> None:
    with authorization_server() as server:
        server.says[METADATA] = server.says[OPENID] = status(500)
        async with believing(server, auth_jwks_url=server.url + JWKS) as house:
            await until_known(house, server.token())
        assert server.count(METADATA) == server.count(OPENID) == 0


async def test_each_algorithm_has_its_keys_and_none_else() -> None:
    algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
    with authorization_server() as server:
        server.keys = [key(f"of-{alg}", alg) for alg in algorithms]
        async with believing(server, failure_rate="off") as house:
            await until_known(house, server.token())
            for by in server.keys:
                assert (await ask(house, server.token(by=by))).status == 200, by.alg
                assert (await ask(house, server.token(by=by, header={"kid": None}))).status == 200
            eddsa = server.keys[-1]
            assert (await ask(house, server.token(by=eddsa, header={"alg": "Ed25519"}))).status in {
                200,
                401,
            }
        async with believing(server, auth_algorithms="ES256", failure_rate="off") as house:
            await until_known(house, server.token(by=server.keys[2]))
            for by in server.keys:
                expected = 200 if by.alg == "ES256" else 401
                assert (await ask(house, server.token(by=by))).status == expected, by.alg
