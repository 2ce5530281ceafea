"""The provider where people sign in: what the gate asks, what it believes, and that all of it ends."""

from __future__ import annotations

from base64 import b64encode
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.asked import Asked, AskError
from gatehouse.signin.metadata import MetadataError, read_metadata
from gatehouse.signin.on_demand import PAUSE_SECONDS
from gatehouse.signin.provider import (
    KEEP_SECONDS,
    MAX_SECONDS,
    TELL_SECONDS,
    WORDS,
    Provider,
    ProviderError,
)
from tests.harness.identity import hugging_face
from tests.harness.identity.openid_provider import challenge_of
from tests.harness.identity.paper_provider import (
    ACCESS,
    AUTHORIZE,
    CALLBACK,
    CLIENT_ID,
    CLIENT_SECRET,
    CODE,
    ISSUER,
    KEYS,
    METADATA,
    PROPER,
    TOKEN,
    USERINFO,
    PaperProvider,
    unix_time,
)
from tests.harness.identity.questions import down
from tests.harness.jwts import Signer

if TYPE_CHECKING:
    from trio.testing import MockClock

    from gatehouse.identity.subject import Subject

VERIFIER = "v" * 43
NONCE = "nonce-of-the-tests"


def provider_at(paper: PaperProvider, **given: Any) -> Provider:
    return Provider(paper.ask, ISSUER, CLIENT_ID, CLIENT_SECRET, clock=unix_time, **given)


async def signed_in(paper: PaperProvider, provider: Provider | None = None) -> Subject:
    """The person who goes all the way."""
    provider = provider or provider_at(paper)
    location = await provider.authorization_url(
        redirect_uri=CALLBACK, state="state", nonce=NONCE, challenge=challenge_of(VERIFIER)
    )
    paper.sends_back(location)
    return await provider.subject(code=CODE, redirect_uri=CALLBACK, verifier=VERIFIER, nonce=NONCE)


async def reason(paper: PaperProvider, provider: Provider | None = None) -> str:
    """Why nobody is signed in; empty if somebody is."""
    try:
        await signed_in(paper, provider)
    except ProviderError as caught:
        error = caught
    else:
        return ""
    assert error.words == WORDS[error.reason]
    return error.reason


async def test_a_person_signs_in(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    provider = provider_at(paper, scopes=("profile", "openid", "email"))
    assert paper.ask.questions == []  # a dashboard that nobody opens asks nobody
    who = await signed_in(paper, provider)
    assert (who.kind, who.issuer, who.sub, who.username) == (
        "person",
        ISSUER,
        "alice-0001",
        "alice",
    )
    assert (who.email, who.shown) == ("alice@example.com", "person:alice@example.com")
    assert (who.client, who.is_machine, who.scopes, who.orgs) == ("", False, (), frozenset())
    assert who.expires == inf
    discovery, token, keys, userinfo = paper.ask.questions
    assert (discovery.url, discovery.fields) == (METADATA, [])
    proof = b64encode(b"gate%3A+sign-in:s3cret%2Fof%2Bsign-in%251")
    assert (token.url, token.fields) == (TOKEN, [(b"Authorization", b"Basic " + proof)])
    assert token.form == {
        "grant_type": "authorization_code",
        "code": CODE,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    assert (keys.url, keys.fields) == (KEYS, [])
    assert (userinfo.url, userinfo.fields) == (
        USERINFO,
        [(b"Authorization", f"Bearer {ACCESS}".encode())],
    )
    assert paper.seen == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
        "state": "state",
        "nonce": NONCE,
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }


async def test_the_description_is_asked_for_at_first_use_and_again_when_it_is_old(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    provider = provider_at(paper)
    paper.ask.seconds = 3.0

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(provider.metadata)
    assert len(paper.ask.questions) == 1
    await trio.sleep(KEEP_SECONDS - 1)
    await provider.metadata()
    assert len(paper.ask.questions) == 1
    await trio.sleep(1)
    await provider.metadata()
    assert len(paper.ask.questions) == 2


@pytest.mark.parametrize("seconds", [0.0, 4.9])
async def test_a_provider_that_is_away_is_asked_now_and_then_however_many_want_to_sign_in(
    seconds: float, autojump_clock: MockClock
) -> None:
    paper = PaperProvider(instead={METADATA: down})
    paper.ask.seconds = seconds
    provider = provider_at(paper)
    began = trio.current_time()
    while trio.current_time() < began + 60:
        assert await reason(paper, provider) == "provider-away"
        await trio.sleep(0.1)
    assert len(paper.ask.questions) <= 60 / PAUSE_SECONDS + 1
    del paper.instead[METADATA]
    await trio.sleep(PAUSE_SECONDS)
    assert await reason(paper, provider) == ""


async def test_whoever_leaves_takes_the_answer_from_nobody(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    paper.ask.seconds = 2.0
    provider = provider_at(paper)
    with trio.move_on_after(1):
        await provider.metadata()
    assert (await provider.metadata()).token_endpoint == TOKEN
    assert len(paper.ask.questions) == 1


LYING_METADATA: list[dict[str, Any]] = [
    {"issuer": ISSUER + "/"},
    {"issuer": None},
    {"issuer": [ISSUER]},
    {"issuer": "https://IDP.example/realms/one"},
    *({name: None} for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")),
    *(
        {name: url}
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        for url in (
            "http://idp.example/x",
            "http://127.0.0.1:7/x",  # an issuer with https never points to http
            "javascript:alert(1)",
            "/relative",
            "https://a:b@idp.example/",
            "https://idp.example/#a",
            "https://idp.example/\r\nSet-Cookie: a=b",
            "https://idp.example/" + "x" * 2048,
            7,
            "",
        )
    ),
    {"authorization_endpoint": f"{AUTHORIZE}?client_id=another"},
    {"authorization_endpoint": f"{AUTHORIZE}?a=b&state="},
    {"code_challenge_methods_supported": ["plain"]},
    {"code_challenge_methods_supported": []},
    {"code_challenge_methods_supported": "S256"},
    {"code_challenge_methods_supported": [["S256"]]},
    {"response_types_supported": ["id_token", "token"]},
    {"token_endpoint_auth_methods_supported": ["private_key_jwt", "none"]},
    {"id_token_signing_alg_values_supported": ["HS256", "none"]},
]


@pytest.mark.parametrize("lie", LYING_METADATA)
async def test_a_description_that_lies_leads_nobody_anywhere(
    lie: dict[str, Any], autojump_clock: MockClock
) -> None:
    paper = PaperProvider(changes={"metadata": lie})
    assert await reason(paper) == "provider-metadata"
    assert [question.url for question in paper.ask.questions] == [METADATA]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, "provider-metadata"),
        (401, "provider-metadata"),
        (429, "provider-away"),
        (500, "provider-away"),
    ],
)
async def test_a_description_that_is_not_there(
    status: int, expected: str, autojump_clock: MockClock
) -> None:
    assert await reason(PaperProvider(instead={METADATA: Asked(status, [], {})})) == expected


@pytest.mark.parametrize(
    "told",
    [
        {"code_challenge_methods_supported": None},
        {"code_challenge_methods_supported": ["plain", "S256"]},
        {"response_types_supported": ["code", "id_token"]},
        {"id_token_signing_alg_values_supported": ["HS256", "RS256"]},
        {"token_endpoint_auth_methods_supported": ["client_secret_basic"]},
        {"anything": {"else": [None]}},
    ],
)
async def test_a_description_may_say_more_or_less(
    told: dict[str, Any], autojump_clock: MockClock
) -> None:
    assert await reason(PaperProvider(changes={"metadata": told})) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
urls = st.sampled_from(
    [
        AUTHORIZE,
        TOKEN,
        "http://idp.example/",
        "http://[::1]/",
        "https://x/?a=b",
        "https://\u212a.example/",
    ]
)


@given(st.dictionaries(st.sampled_from([*PROPER, "response_types_supported"]), json_values | urls))
def test_whatever_a_description_says_all_places_are_reached_over_tls(lies: dict[str, Any]) -> None:
    try:
        found = read_metadata({**PROPER, **lies}, ISSUER)
    except MetadataError as error:
        words, places = error.words, [ISSUER]
    else:
        words, places = "", [found.authorization_endpoint, found.token_endpoint, found.jwks_uri]
        places += [found.userinfo_endpoint] if found.userinfo_endpoint else []
    assert all(url.startswith("https://") for url in places)
    assert words.isprintable()


async def test_an_issuer_on_loopback_may_do_without_tls() -> None:
    issuer = "http://127.0.0.1:8000"
    places = {"authorization_endpoint": "/a", "token_endpoint": "/t", "jwks_uri": "/k"}
    told = {name: issuer + path for name, path in places.items()}
    found = read_metadata({"issuer": issuer, **told}, issuer)
    assert found.userinfo_endpoint == ""
    with pytest.raises(MetadataError, match="no place to go"):
        read_metadata({"issuer": issuer, **told, "jwks_uri": "http://keys.example/"}, issuer)


async def test_a_query_of_the_page_where_people_sign_in_stays(autojump_clock: MockClock) -> None:
    page = f"{AUTHORIZE}?tenant=a%20b&p="
    provider = provider_at(PaperProvider(changes={"metadata": {"authorization_endpoint": page}}))
    url = await provider.authorization_url(
        redirect_uri=CALLBACK, state="a&b=c", nonce=NONCE, challenge="c"
    )
    assert url.startswith(f"{page}&response_type=code&client_id=gate%3A%20sign-in&")
    assert parse_qs(urlsplit(url).query)["state"] == ["a&b=c"]


async def test_the_secret_goes_into_the_form_only_if_the_provider_takes_nothing_else(
    autojump_clock: MockClock,
) -> None:
    for ways, in_form in (
        (["client_secret_post"], True),
        (["private_key_jwt", "client_secret_post"], True),
        (["client_secret_post", "client_secret_basic"], False),
        (None, False),
    ):
        told = {"token_endpoint_auth_methods_supported": ways}
        paper = PaperProvider(changes={"metadata": told})
        assert await reason(paper) == ""
        (token,) = [each for each in paper.ask.questions if each.url == TOKEN]
        assert (token.form.get("client_secret") == CLIENT_SECRET) is in_form
        assert (token.form.get("client_id") == CLIENT_ID) is in_form
        assert (token.fields == []) is in_form


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, "code-refused") for status in (400, 201, 204, 409)),
        *((status, "provider-refused") for status in (401, 403, 404, 405)),
        *((status, "provider-away") for status in (429, 500, 503)),
    ],
)
async def test_a_code_that_is_not_taken(
    status: int, expected: str, autojump_clock: MockClock
) -> None:
    paper = PaperProvider(instead={TOKEN: Asked(status, [], {})})
    assert await reason(paper) == expected
    assert paper.asked(USERINFO) == paper.asked(KEYS) == 0


TOKEN_LIES: list[tuple[dict[str, Any], str]] = [
    ({"id_token": None}, "token-answer"),
    ({"id_token": 7}, "token-answer"),
    ({"access_token": None}, "token-answer"),
    ({"access_token": "a b"}, "token-answer"),
    ({"access_token": "a\r\nCookie: b"}, "token-answer"),
    ({"access_token": "é"}, "token-answer"),
    ({"access_token": "a" * 8193}, "token-answer"),
    ({"access_token": ["a"]}, "token-answer"),
    ({"token_type": None}, "token-answer"),
    ({"token_type": "DPoP"}, "token-answer"),
    ({"token_type": ["Bearer"]}, "token-answer"),
    ({"id_token": ""}, "id-token"),
    ({"id_token": "a.b.c"}, "id-token"),
    ({"id_token": "a.b.c.d.e"}, "id-token"),
    ({"id_token": "\u00e9" * 20}, "id-token"),
    ({"id_token": "x" * 9000}, "id-token"),
]


@pytest.mark.parametrize(("lie", "expected"), TOKEN_LIES)
async def test_tokens_that_are_none(
    lie: dict[str, Any], expected: str, autojump_clock: MockClock
) -> None:
    assert await reason(PaperProvider(changes={"token": lie})) == expected


ID_TOKEN_LIES: list[tuple[dict[str, Any], str]] = [
    ({"iss": ISSUER + "/"}, "id-token"),
    ({"aud": "another"}, "id-token"),
    ({"aud": [CLIENT_ID, "another"]}, "id-token"),
    ({"azp": "another"}, "id-token"),
    ({"exp": None}, "id-token"),
    ({"exp": 1_700_000_000 - 60}, "id-token"),
    ({"iat": None}, "id-token"),
    ({"iat": 1_700_000_000 + 61}, "id-token"),
    ({"sub": None}, "id-token"),
    ({"sub": ""}, "id-token"),
    ({"sub": "s" * 256}, "id-token"),
    ({"events": {}}, "id-token"),
    ({"typ": "Refresh"}, "id-token"),
    ({"token_use": "access"}, "id-token"),
    ({"nonce": None}, "nonce"),
    ({"nonce": ""}, "nonce"),
    ({"nonce": NONCE + "x"}, "nonce"),
    ({"nonce": [NONCE]}, "nonce"),
    ({"nonce": "\u00e9"}, "nonce"),
]


@pytest.mark.parametrize(("lie", "expected"), ID_TOKEN_LIES)
async def test_id_tokens_that_say_something_else(
    lie: dict[str, Any], expected: str, autojump_clock: MockClock
) -> None:
    paper = PaperProvider(changes={"id_token": lie})
    assert await reason(paper) == expected
    assert paper.asked(USERINFO) == 0  # the access token goes nowhere


@pytest.mark.parametrize(
    "paper",
    [
        PaperProvider(Signer(name="mallory"), listed=[Signer()]),
        PaperProvider(changes={"header": {"alg": "none"}}),
        PaperProvider(changes={"header": {"alg": "HS256"}}),
        PaperProvider(changes={"header": {"typ": "at+jwt"}}),
        PaperProvider(changes={"header": {"typ": "logout+jwt"}}),
        PaperProvider(changes={"header": {"crit": ["exp"]}}),
        PaperProvider(Signer(kid="unknown"), listed=[Signer()]),
    ],
)
async def test_id_tokens_that_are_not_signed_as_they_should_be(
    paper: PaperProvider, autojump_clock: MockClock
) -> None:
    assert await reason(paper) == "id-token"


async def test_several_audiences_are_good_if_the_token_was_made_for_the_gate(
    autojump_clock: MockClock,
) -> None:
    several = {"aud": ["another", CLIENT_ID], "azp": CLIENT_ID}
    who = await signed_in(PaperProvider(changes={"id_token": several}))
    assert (who.client, who.is_machine) == ("", False)


USERINFO_LIES: list[dict[str, Any]] = [
    {"sub": None},
    {"sub": "bob-0002"},
    {"sub": ["alice-0001"]},
    {"sub": ""},
]


@pytest.mark.parametrize("lie", USERINFO_LIES)
async def test_a_page_about_somebody_else_tells_nothing(
    lie: dict[str, Any], autojump_clock: MockClock
) -> None:
    assert await reason(PaperProvider(changes={"userinfo": lie})) == "userinfo"


@pytest.mark.parametrize("instead", [down, Asked(401, [], {}), Asked(500, [], {})])
async def test_without_the_page_about_the_person_nobody_is_signed_in(
    instead: Any, autojump_clock: MockClock
) -> None:
    assert await reason(PaperProvider(instead={USERINFO: instead})) == "userinfo"


async def test_without_a_place_for_it_the_id_token_tells_all(autojump_clock: MockClock) -> None:
    paper = PaperProvider(
        changes={
            "metadata": {"userinfo_endpoint": None},
            "token": {"access_token": None, "token_type": None},
            "id_token": {"preferred_username": "alice", "org_id": "kitchen"},
        }
    )
    who = await signed_in(paper)
    assert (who.username, who.email, who.orgs) == ("alice", "", frozenset({"kitchen"}))
    assert paper.asked(USERINFO) == 0


TRUE: dict[str, Any] = {"email": "a@b.example", "email_verified": True}
NONE: dict[str, Any] = {"email": None, "email_verified": None}


@pytest.mark.parametrize(
    ("in_token", "in_userinfo", "expected"),
    [
        (TRUE, NONE, "a@b.example"),
        (NONE, TRUE, "a@b.example"),
        (TRUE, {"email": "x@b.example", "email_verified": True}, "a@b.example"),
        ({"email": "x@b.example"}, TRUE, "a@b.example"),
        ({"email": "x@b.example"}, {"email": None, "email_verified": True}, ""),
        ({"email_verified": True}, {"email": "x@b.example", "email_verified": None}, ""),
        ({"email": "x@b.example", "email_verified": False}, NONE, ""),
        ({"email": "x@b.example", "email_verified": "true"}, NONE, ""),
        ({"email": "x@b.example", "email_verified": 1}, NONE, ""),
        ({"email": ["a@b.example"], "email_verified": True}, NONE, ""),
        ({"email": "a" * 246 + "@b.example", "email_verified": True}, NONE, ""),
    ],
)
async def test_an_address_counts_only_where_it_is_said_to_be_verified(
    in_token: dict[str, Any],
    in_userinfo: dict[str, Any],
    expected: str,
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider(changes={"id_token": in_token, "userinfo": in_userinfo})
    assert (await signed_in(paper)).email == expected


async def test_the_id_token_goes_first_and_nobody_is_known_by_a_display_name(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider(
        changes={
            "id_token": {"preferred_username": "alice", "name": "root", "client_id": "root"},
            "userinfo": {
                "preferred_username": "root",
                "name": "root",
                "nickname": "root",
                "azp": "root",
                "gty": "client-credentials",
                "scope": "admin",
            },
        }
    )
    who = await signed_in(paper)
    assert (who.username, who.client, who.is_machine, who.scopes) == ("alice", "", False, ())
    assert "root" not in repr(who)


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ("alice", {hugging_face.KITCHEN, "kitchen"}),
        ("bob", {hugging_face.KITCHEN, "kitchen"}),
        ("mallory", {"65aa00112233445566778899", "evil"}),
    ],
)
async def test_organisations_at_hugging_face_count_by_their_id_and_with_a_role_that_can_write(
    person: str, expected: set[str], autojump_clock: MockClock
) -> None:
    who = await signed_in(PaperProvider(person=hugging_face.PEOPLE[person]))
    assert who.orgs == expected
    assert who.sub == hugging_face.PEOPLE[person]["sub"]


@pytest.mark.parametrize(
    ("orgs", "expected"),
    [
        ([{"sub": "1", "roleInOrg": role}], {"1"} if role in ("admin", "write") else set())
        for role in ("admin", "write", "read", "contributor", "Admin", None, True, ["admin"])
    ]
    + [
        ([{"preferred_username": "k", "roleInOrg": "admin", trouble: True}], set())
        for trouble in ("pendingSSO", "missingMFA", "securityRestrictions")
    ]
    + [
        ([{"sub": "1", "roleInOrg": "admin", "securityRestrictions": []}], {"1"}),
        (["kitchen", 7, None, ["x"], "", "o" * 256], {"kitchen"}),
        ("kitchen", {"kitchen"}),
        ({"kitchen": {"id": "1"}}, {"kitchen"}),
        ([{"name": "kitchen", "roleInOrg": "admin"}], set()),
        (
            [{"sub": "1", "preferred_username": hugging_face.KITCHEN, "roleInOrg": "admin"}],
            {"1"},
        ),
        ([str(number) for number in range(500)], {str(number) for number in range(100)}),
        (7, set()),
    ],
)
async def test_organisations(orgs: Any, expected: set[str], autojump_clock: MockClock) -> None:
    paper = PaperProvider(changes={"userinfo": {"orgs": orgs}})
    assert (await signed_in(paper)).orgs == expected


async def test_a_new_key_is_found_and_an_unknown_one_makes_few_questions(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    provider = provider_at(paper)
    assert await reason(paper, provider) == ""
    assert await reason(paper, provider) == ""
    assert paper.asked(KEYS) == 1
    await trio.sleep(PAUSE_SECONDS)
    paper.signer = Signer(kid="two", name="second")
    assert await reason(paper, provider) == ""
    assert paper.asked(KEYS) == 2
    paper.listed = [Signer(kid="two", name="second")]
    paper.signer = Signer(kid="three", name="third")
    for _ in range(20):
        assert await reason(paper, provider) == "id-token"
        await trio.sleep(0.5)
    assert paper.asked(KEYS) <= 2 + 10 / PAUSE_SECONDS + 1


async def test_a_key_that_was_taken_out_is_out_when_the_keys_are_old(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    provider = provider_at(paper)
    assert await reason(paper, provider) == ""
    paper.listed = [Signer(kid="two", name="second")]
    await trio.sleep(KEEP_SECONDS)
    assert await reason(paper, provider) == "id-token"


@pytest.mark.parametrize("instead", [down, Asked(500, [], {}), Asked(200, [], {"keys": [{}]})])
async def test_without_keys_nobody_is_signed_in(instead: Any, autojump_clock: MockClock) -> None:
    paper = PaperProvider(instead={KEYS: instead})
    provider = provider_at(paper)
    assert await reason(paper, provider) == "provider-away"
    del paper.instead[KEYS]
    await trio.sleep(PAUSE_SECONDS)
    assert await reason(paper, provider) == ""


async def test_however_slow_the_provider_is_a_sign_in_ends(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    paper.ask.seconds = 4.9
    provider = provider_at(paper)
    await provider.metadata()
    began = trio.current_time()
    assert await reason(paper, provider) == ""  # three questions
    assert trio.current_time() - began == pytest.approx(3 * 4.9)
    await trio.sleep(KEEP_SECONDS)
    await provider.metadata()
    paper.ask.seconds = 60.0
    began = trio.current_time()
    assert await reason(paper, provider) == "provider-away"
    assert trio.current_time() - began == pytest.approx(MAX_SECONDS)


async def test_an_error_that_nobody_has_thought_of_is_no_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: object) -> Asked:
        raise ZeroDivisionError(CLIENT_SECRET)

    paper = PaperProvider(instead={METADATA: breaks})
    assert await reason(paper) == "provider-away"
    assert "ZeroDivisionError" in caplog.text
    assert CLIENT_SECRET not in caplog.text


async def test_no_secret_is_in_any_word_and_the_log_is_told_now_and_then(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    said = []
    for lie in ({"iss": "x"}, {"nonce": "x"}, {"sub": "bob"}):
        paper = PaperProvider(changes={"id_token": lie})
        provider = provider_at(paper)
        for _ in range(5):
            with pytest.raises(ProviderError) as caught:
                await signed_in(paper, provider)
            error: BaseException | None = caught.value
            while error is not None:
                said.append(repr(error))
                error = error.__cause__
            await trio.sleep(TELL_SECONDS / 3)
        said.append(paper.id_token())
    tokens = [each for each in said if each.startswith("eyJ")]
    told = caplog.text + "".join(each for each in said if not each.startswith("eyJ"))
    for secret in (CLIENT_SECRET, ACCESS, CODE, VERIFIER, NONCE, *tokens):
        assert secret not in told
    assert len(caplog.records) == 3 * 2


async def test_words_of_a_server_that_cannot_be_asked_stay_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_: object) -> Asked:
        raise AskError("the words of the network")

    paper = PaperProvider(instead={TOKEN: away})
    with pytest.raises(ProviderError) as caught:
        await signed_in(paper)
    assert "network" not in caught.value.words
    assert "its token endpoint: the words of the network" in caplog.text
