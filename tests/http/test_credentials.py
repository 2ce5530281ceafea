"""Credentials: the places of the token, and text that never counts as one."""

from __future__ import annotations

import time
from typing import get_args
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.credentials import CARRIERS, Credential, CredentialKind
from gatehouse.http.credentials import without_key as split
from tests.harness.program import TOKEN
from tests.harness.request_of import request_of

T = TOKEN.encode()


def presented(*fields: tuple[bytes, bytes], query: bytes = b"") -> tuple[Credential, ...] | None:
    return request_of(fields, target=b"/mcp?" + query).credentials


def admitted(*fields: tuple[bytes, bytes], query: bytes = b"") -> bool:
    """True if the token itself is presented, and nothing that only looks like it."""
    return T in [credential.value for credential in presented(*fields, query=query) or ()]


def without_key(query: bytes) -> bytes:
    return split(query)[0]


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"beAReR"])
def test_a_bearer_token_is_accepted_with_the_scheme_in_any_case(scheme: bytes) -> None:
    assert admitted((b"authorization", scheme + b" " + T))


def test_each_place_alone_is_enough_and_names_may_be_spelled_in_any_case() -> None:
    assert admitted((b"Authorization", b"Bearer " + T))
    assert admitted((b"X-API-Key", T))
    assert admitted((b"x-api-KEY", T))
    assert admitted(query=b"key=" + T)
    assert admitted(query=b"a=1&key=" + T + b"&b=2")


def test_each_place_is_a_kind_of_credential_and_has_a_lane() -> None:
    assert (*(carrier.kind for carrier in CARRIERS), "url-key") == get_args(CredentialKind)
    kinds: list[CredentialKind] = ["bearer", "api-key", "url-key"]
    fields = [(b"X-API-Key", b"two"), (b"Authorization", b"Bearer one")]
    found = presented(*fields, query=b"key=three")
    assert found == tuple(map(Credential, kinds, (b"one", b"two", b"three")))
    assert [credential.lane for credential in found] == ["header", "header", "query"]


@pytest.mark.parametrize(
    "other",
    [
        b"Basic dXNlcjpwYXNz",
        b"Bearer hf_abcdefghijklmnop",
        b"Bearer",
        b"",
        b"Bearer  ",
        b"\xff\xfe",
    ],
)
def test_one_good_credential_is_enough_whatever_a_front_put_elsewhere(other: bytes) -> None:
    assert admitted((b"authorization", other), (b"x-api-key", T))
    assert admitted((b"authorization", other), query=b"key=" + T)
    assert admitted((b"x-api-key", other), (b"authorization", b"Bearer " + T))
    assert admitted((b"authorization", b"Bearer " + T), query=b"key=wrong")


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b" ",
        T[:-1],
        T + b"x",
        T[1:],
        T.upper(),
        T.swapcase(),
        T[:-1] + b"1",
        T * 2,
        b"x" * 8192,
        "tökén".encode(),
        b"\xff" * 40,
        b"\x00" + T,
        b'"' + T + b'"',
    ],
)
def test_anything_but_the_exact_token_is_refused(wrong: bytes) -> None:
    assert not admitted((b"authorization", b"Bearer " + wrong))
    assert not admitted((b"x-api-key", wrong))
    assert not admitted(query=b"key=" + quote(wrong).encode())


@pytest.mark.parametrize("scheme", [b"Basic ", b"Token ", b"Bearer:", b"Bearer\t", b"Bearer=", b""])
def test_another_scheme_is_no_bearer_token(scheme: bytes) -> None:
    assert not admitted((b"authorization", scheme + T))


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ([(b"authorization", b"Bearer " + T)] * 2, b""),
        ([(b"authorization", b"Basic eA=="), (b"Authorization", b"Bearer " + T)], b""),
        ([(b"x-api-key", T), (b"X-Api-Key", b"other")], b""),
        ([], b"key=" + T + b"&key=" + T),
        ([], b"key=" + T + b"&k%65y=x"),
        ([(b"authorization", b"Bearer " + T)], b"key=&key="),
    ],
)
def test_the_same_kind_twice_is_ambiguous_even_if_equal(
    fields: list[tuple[bytes, bytes]], query: bytes
) -> None:
    assert presented(*fields, query=query) is None


@pytest.mark.parametrize(
    "query",
    [b"KEY=", b"Key=", b"key2=", b"xkey=", b"a=1;key=", b"key%00=", b"%6b%65%79x=", b"ke+y="],
)
def test_only_a_parameter_named_exactly_key_is_a_credential(query: bytes) -> None:
    assert not admitted(query=query + T)
    assert without_key(query + T) == query + T


@pytest.mark.parametrize("name", [b"key", b"%6bey", b"%6B%65%79", b"ke%79", b"k%65y"])
def test_every_percent_encoded_spelling_of_key_is_read_and_removed(name: bytes) -> None:
    encoded = b"".join(b"%%%02x" % byte for byte in T)
    for value in (T, encoded):
        query = b"a=%2F&" + name + b"=" + value + b"&b=c;d"
        assert admitted(query=query)
        assert without_key(query) == b"a=%2F&b=c;d"


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        (b"", b""),
        (b"key=K", b""),
        (b"key", b""),
        (b"a=1&key=K&b=%2F;c", b"a=1&b=%2F;c"),
        (b"&&key=K&", b"&&"),
        (b"a=%zz&key=%zz&b=%", b"a=%zz&b=%"),
        (b"x=key=K", b"x=key=K"),
        (b"key=a=b=c&z", b"z"),
        (b"a=+&key=+&b=%2B", b"a=+&b=%2B"),
    ],
)
def test_the_rest_of_the_query_stays_byte_for_byte(query: bytes, rest: bytes) -> None:
    assert without_key(query) == rest


def test_taking_keys_out_of_a_query_costs_each_byte_the_same() -> None:
    query = b"&".join(b"key=%x" % number for number in range(30_000))
    began = time.process_time()
    rest, keys = split(query)
    assert (
        time.process_time() - began < 1
    )  # it takes 20 ms; if each parameter were sought among all, 10 s
    assert (rest, len(keys)) == (b"", 30_000)


def test_a_plus_in_the_query_is_a_plus() -> None:
    assert presented(query=b"key=a+b%2B") == (Credential("url-key", b"a+b+"),)


parameters = st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"&", b"%")), max_size=6)


@given(parameters)
def test_no_query_that_a_server_reads_a_key_from_gets_through(parts: list[bytes]) -> None:
    rest = without_key(b"&".join(parts))
    names = [name for name, _ in parse_qsl(rest.decode("latin-1"), keep_blank_values=True)]
    assert "key" not in names
