"""Where an issuer's keys are: which places are asked, what is believed, and what the log says if there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.asked import Asked, AskError
from gatehouse.identity.discovery import (
    FIND_AGAIN_SECONDS,
    KeysAt,
    KeysOf,
    max_age,
    metadata_urls,
)
from tests.harness.identity.questions import FakeAsk, down

if TYPE_CHECKING:
    from trio.testing import MockClock

ISSUER = "https://as.example/realms/gate"
FORMS = [
    "https://as.example/.well-known/oauth-authorization-server/realms/gate",
    "https://as.example/.well-known/openid-configuration/realms/gate",
    "https://as.example/realms/gate/.well-known/openid-configuration",
]
KEYS = "https://keys.example/jwks?v=1"
METADATA = {"issuer": ISSUER, "jwks_uri": KEYS, "introspection_endpoint": "https://as.example/ask"}
JWKS: dict[str, Any] = {"keys": [{"kid": "1"}]}


def served(metadata: dict[str, Any], at: str = FORMS[0]) -> tuple[FakeAsk, dict[str, Any]]:
    """A server with these metadata there, and keys; and what it has by URL."""
    has: dict[str, Any] = {at: metadata, KEYS: JWKS}
    return FakeAsk(lambda question: has.get(question.url, Asked(404, [], {}))), has


@pytest.mark.parametrize("place", FORMS)
async def test_the_metadata_are_found_at_each_of_their_places_and_later_only_the_keys_are_asked(
    place: str,
) -> None:
    ask, _ = served(METADATA, place)
    source = KeysOf(ask, ISSUER)
    assert (await source.fetch()).document == JWKS
    assert ask.urls == [*FORMS[: FORMS.index(place) + 1], KEYS]
    assert (await source.fetch()).document == JWKS
    assert ask.urls == [KEYS]  # and never the introspection endpoint that the metadata name


def test_an_issuer_has_its_places_with_and_without_a_path_and_a_slash_at_the_end() -> None:
    assert metadata_urls(ISSUER) == metadata_urls(ISSUER + "/") == FORMS
    for issuer in ("https://as.example:8443", "https://as.example:8443/"):
        assert metadata_urls(issuer) == [
            "https://as.example:8443/.well-known/oauth-authorization-server",
            "https://as.example:8443/.well-known/openid-configuration",
        ]
    for issuer in ("http://as.example", ISSUER + "?a=b", ISSUER + "#a", "as.example"):
        with pytest.raises(AskError):
            metadata_urls(issuer)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({**METADATA, "issuer": ISSUER + "/"}, f"another issuer, «{ISSUER}/»; AUTH_ISSUER must be"),
        ({**METADATA, "issuer": "https://AS.example/realms/gate"}, "another issuer, «https://AS."),
        ({**METADATA, "issuer": [ISSUER]}, "another issuer, which they do not name;"),
        ({**METADATA, "issuer": "x\n" * 500}, r"another issuer, «x\nx\n"),
        ({"jwks_uri": KEYS}, "another issuer, which they do not name;"),
        ({"issuer": ISSUER}, "name no jwks_uri"),
        ({**METADATA, "jwks_uri": None}, "name no jwks_uri"),
        ({**METADATA, "jwks_uri": "http://keys.example/jwks"}, "it must begin with https://"),
        ({**METADATA, "jwks_uri": "http://127.0.0.1/jwks"}, "it must begin with https://"),
        ({**METADATA, "jwks_uri": "file:///etc/passwd"}, "it must begin with https://"),
        ({**METADATA, "jwks_uri": "/jwks"}, "it must begin with https://"),
        ({**METADATA, "jwks_uri": "https://a:b@keys.example/"}, "may hold no user name"),
    ],
)
async def test_metadata_that_may_not_be_believed_are_not_and_the_words_say_what_to_do(
    metadata: dict[str, Any], words: str
) -> None:
    ask, _ = served(metadata)
    with pytest.raises(AskError) as caught:
        await KeysOf(ask, ISSUER).fetch()
    told = caught.value.words
    assert ask.urls == FORMS  # nothing else was asked
    assert words in told
    begin = (
        "no metadata of AUTH_ISSUER say where its keys are (if it has none, set AUTH_JWKS_URL): "
    )
    assert told.startswith(f"{begin}{FORMS[0]}: ")
    assert f"{FORMS[1]} and {FORMS[2]}: it answers 404" in told
    assert told.isprintable()
    assert len(told) < 1000


async def test_keys_may_be_on_loopback_without_tls_if_the_issuer_is() -> None:
    issuer = "http://127.0.0.1:8080"
    metadata = {"issuer": issuer, "jwks_uri": "http://localhost:8081/jwks"}
    has = {metadata_urls(issuer)[0]: metadata, "http://localhost:8081/jwks": JWKS}
    assert (await KeysOf(FakeAsk(lambda asked: has[asked.url]), issuer).fetch()).document == JWKS


async def test_a_place_of_the_keys_is_found_again_when_it_fails_and_when_they_have_moved() -> None:
    ask, has = served(METADATA)
    source = KeysOf(ask, ISSUER)
    await source.fetch()
    moved = "https://keys.example/new"
    del has[KEYS]
    has.update({FORMS[0]: {**METADATA, "jwks_uri": moved}, moved: {"keys": [{"kid": "2"}]}})
    assert ask.urls
    assert (await source.fetch()).document == {"keys": [{"kid": "2"}]}
    assert ask.urls == [KEYS, FORMS[0], moved]
    del has[moved]
    with pytest.raises(AskError, match="where its keys should be, it answers 404"):
        await source.fetch()
    assert ask.urls == [moved, FORMS[0]]  # the same place, and no second question there
    has[moved] = {"keys": []}
    with pytest.raises(AskError, match="where its keys should be, there are none"):
        await source.fetch()
    assert ask.urls == [moved, FORMS[0]]
    has.clear()
    with pytest.raises(AskError, match="where its keys should be, it answers 404"):
        await source.fetch()


async def test_a_place_of_the_keys_is_found_again_at_times_and_serves_if_that_fails(
    autojump_clock: MockClock,
) -> None:
    ask, has = served(METADATA)
    source = KeysOf(ask, ISSUER)
    await source.fetch()
    autojump_clock.jump(FIND_AGAIN_SECONDS + 1)
    assert ask.urls
    await source.fetch()
    assert ask.urls == [FORMS[0], KEYS]
    autojump_clock.jump(FIND_AGAIN_SECONDS + 1)
    has[FORMS[0]] = {**METADATA, "issuer": "https://evil.example", "jwks_uri": "https://evil/"}
    await source.fetch()
    assert ask.urls == [*FORMS, KEYS]


async def test_a_server_that_is_away_is_told_once() -> None:
    with pytest.raises(AskError) as caught:
        await KeysOf(FakeAsk(down), ISSUER).fetch()
    assert caught.value.words.endswith(f"): {' and '.join(FORMS)}: nobody listens there")


async def test_a_given_url_of_the_keys_is_all_that_is_asked() -> None:
    headers = [(b"Cache-Control", b"public, max-age=300")]
    ask = FakeAsk(lambda _: Asked(200, headers, JWKS))
    fetched = await KeysAt(ask, KEYS).fetch()
    assert (fetched.document, fetched.max_age) == (JWKS, 300)
    assert ask.urls == [KEYS]
    ask.answer = lambda _: Asked(500, [], {})
    with pytest.raises(
        AskError, match=r"^https://keys\.example/jwks: where its keys should be, it answers 500$"
    ):
        await KeysAt(ask, KEYS).fetch()


async def test_the_words_name_the_place_of_the_keys_without_its_query() -> None:
    with pytest.raises(AskError) as caught:
        await KeysAt(FakeAsk(down), KEYS).fetch()
    assert caught.value.words == "https://keys.example/jwks: nobody listens there"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({"cache-control": "no-store"}, None),
        ({"cache-control": "max-age=60"}, 60),
        ({"Cache-Control": 'public, MAX-AGE = "60" , must-revalidate'}, 60),
        ({"cache-control": "max-age=60, max-age=30"}, 30),
        ({"cache-control": "s-maxage=9, max-age=60"}, 60),
        ({"cache-control": "max-age=-1"}, None),
        ({"cache-control": "max-age=1.5"}, None),
        ({"cache-control": "max-age="}, None),
        ({"cache-control": "x-max-age=5"}, None),
        ({"cache-control": "max-age=" + "9" * 5000}, 2**31),
        ({"cache-control": "max-age=60", "age": "50"}, 10),
        ({"cache-control": "max-age=60", "age": "70"}, 0),
        ({"cache-control": "max-age=60", "age": "soon"}, 60),
        ({"cache-control": "max-age=60", "age": "9" * 5000}, 0),
    ],
)
def test_the_age_of_an_answer_is_read_with_care(
    fields: dict[str, str], seconds: float | None
) -> None:
    assert max_age([(name.encode(), value.encode()) for name, value in fields.items()]) == seconds


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([b"Cache-Control", b"Age"]), st.binary(max_size=30))))
def test_whatever_stands_in_these_fields_there_is_an_age_or_none(
    fields: list[tuple[bytes, bytes]],
) -> None:
    age = max_age(fields)
    assert age is None or 0 <= age <= 2**31
