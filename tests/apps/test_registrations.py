"""Registration of clients: their id is what they say of themselves, sealed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.apps.registrations import (
    MAX_NAME_LENGTH,
    REGISTRATION_SECONDS,
    RegistrationError,
    Registrations,
)
from gatehouse.signin.sealing import Sealer

SECRET = b"a secret of the tests, long enough"
CALLBACK = "http://127.0.0.1:33418/callback"


def registrations(secret: bytes = SECRET) -> Registrations:
    return Registrations(Sealer(secret, "client", max_seconds=REGISTRATION_SECONDS))


def test_a_client_is_found_by_its_id_and_by_nothing_that_is_kept() -> None:
    client, answer = registrations().register(
        {
            "client_name": "Claude",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "client_secret_post",
        }
    )
    assert registrations().find(client.id) == client
    assert (client.name, client.redirect_uris, client.document_host) == ("Claude", (CALLBACK,), "")
    assert answer["client_id"] == client.id
    assert answer["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in answer
    json.dumps(answer)


def test_two_registrations_are_two_clients() -> None:
    ours = registrations()
    one, _ = ours.register({"redirect_uris": [CALLBACK]})
    other, _ = ours.register({"redirect_uris": [CALLBACK]})
    assert one.key != other.key


def test_after_the_secret_has_changed_no_earlier_id_counts() -> None:
    client, _ = registrations().register({"redirect_uris": [CALLBACK]})
    assert registrations(b"another secret, just as long as it").find(client.id) is None
    assert registrations().find(client.id[:-2]) is None


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": CALLBACK}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK, "http://evil.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"{CALLBACK}/{n}" for n in range(9)]}, "invalid_redirect_uri"),
        (
            {"redirect_uris": [f"https://a.example/{n}" + "a" * 480 for n in range(8)]},
            "invalid_redirect_uri",
        ),
        ({"redirect_uris": [CALLBACK], "client_name": ["Claude"]}, "invalid_client_metadata"),
    ],
)
def test_a_client_without_a_place_for_answers_is_none(document: dict[str, Any], error: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        registrations().register(document)
    assert caught.value.error == error
    assert "evil" not in caught.value.words


def test_what_a_client_leaves_out_may_be_null() -> None:
    nulls = dict.fromkeys(["client_name", "scope", "logo_uri", "token_endpoint_auth_method"])
    client, answer = registrations().register({"redirect_uris": [CALLBACK], **nulls})
    assert client.name == ""
    assert "client_name" not in answer


def test_a_name_is_one_short_line_that_turns_nothing_around() -> None:
    name = "\u202eegduaL\u2066 \n\tClaude\x00\ud800 " + "x" * 500
    client, _ = registrations().register({"redirect_uris": [CALLBACK], "client_name": name})
    assert client.name.startswith("egduaL Claude xxx")
    assert len(client.name) <= MAX_NAME_LENGTH
    assert client.name.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["redirect_uris", "client_name", "token_endpoint_auth_method", "scope"])


@given(st.dictionaries(NAMES | st.text(max_size=5), JSON | st.just([CALLBACK])))
def test_no_document_raises_anything_but_a_refusal(document: dict[str, Any]) -> None:
    try:
        client, _ = registrations().register(document)
    except RegistrationError:
        return
    assert registrations().find(client.id) == client
    assert len(client.id) < 2300


@given(st.text())
def test_no_other_text_is_an_id(text: str) -> None:
    assert registrations().find(text) is None
