"""Which header fields pass: everything end-to-end, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.credentials import CREDENTIAL_FIELDS
from gatehouse.http.fields import (
    CONTROL,
    Headers,
    connection_options,
    has_no_controls,
    is_event_stream,
    value_of,
)
from gatehouse.http.forward import HOP_BY_HOP, request_headers, response_headers
from tests.harness.request_of import request_of

PUBLIC = (b"http", b"gate.example")

OURS = [
    (b"X-Forwarded-For", b"192.0.2.7"),
    (b"X-Forwarded-Host", b"gate.example"),
    (b"X-Forwarded-Proto", b"http"),
    (b"Via", b"1.1 mcp-gate"),
]


def forwarded(*fields: tuple[bytes, bytes]) -> Headers:
    """The part of `fields` that arrives upstream, without the fields that the gate adds."""
    request = request_of([(b"Host", b"gate.example"), *fields])
    sent = request_headers(request, host=b"127.0.0.1:7870", public=PUBLIC)
    assert sent[0] == (b"Host", b"127.0.0.1:7870")
    assert sent[-len(OURS) :] == OURS
    return sent[1 : -len(OURS)]


def test_end_to_end_fields_keep_order_duplicates_and_spelling() -> None:
    fields = [
        (b"Accept", b"application/json, text/event-stream"),
        (b"mcp-protocol-version", b"2026-07-28"),
        (b"Mcp-Param-X", b"1"),
        (b"X-CUSTOM", b"a"),
        (b"x-custom", b"b"),
        (b"Accept", b"*/*"),
        (b"Last-Event-ID", b"\xe9"),
        (b"Cookie", b"a=b"),
        (b"Empty", b""),
        (b"Content-Length", b"0"),
        (b"Origin", b"https://claude.ai"),
    ]
    assert forwarded(*fields) == fields


def test_credentials_never_pass_wherever_they_stand() -> None:
    assert (
        forwarded(
            (b"Authorization", b"Bearer t"),
            (b"authorization", b"Basic eA=="),
            (b"X-API-Key", b"t"),
            (b"X-HF-Authorization", b"Bearer hf_x"),
            (b"Proxy-Authorization", b"Basic eA=="),
        )
        == []
    )


def test_no_client_can_forge_a_field_of_ours_and_its_own_via_stays() -> None:
    assert forwarded(*OURS) == [OURS[-1]]
    names = (b"Secret", b"Principal", b"Kind", b"Caller", b"Request-Id")
    for spelled in (bytes, bytes.lower, bytes.upper):
        assert forwarded(*((spelled(b"X-Gate-" + name), b"oauth:x") for name in names)) == []


def test_hop_by_hop_fields_and_those_that_connection_nominates_are_dropped() -> None:
    assert forwarded(
        (b"Connection", b""),
        (b"Connection", b"keep-alive, X-Private"),
        (b"connection", b"x-other ,TE"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"Trailer", b"X-T"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAAQCAAAAAAIAAAAA"),
        (b"X-Private", b"1"),
        (b"x-OTHER", b"2"),
        (b"X-Kept", b"3"),
    ) == [(b"X-Kept", b"3")]


def test_a_client_can_neither_pose_as_another_nor_strip_what_the_gate_adds() -> None:
    assert (
        forwarded(
            (b"Connection", b"X-Forwarded-For, X-Forwarded-Host, Via, Host"),
            (b"X-Forwarded-For", b"203.0.113.1"),
            (b"x-forwarded-proto", b"https"),
            (b"X-Forwarded-Anything", b"x"),
            (b"Forwarded", b"for=203.0.113.1"),
            (b"X-Real-IP", b"203.0.113.1"),
        )
        == []
    )


def test_a_client_cannot_have_a_server_take_another_path_than_the_judged_one() -> None:
    assert forwarded((b"X-Original-URL", b"/mcp"), (b"x-rewrite-url", b"/mcp")) == []


def test_expect_is_not_forwarded_because_it_was_meant_for_the_gate() -> None:
    assert forwarded((b"Expect", b"100-continue")) == []


def test_a_body_keeps_its_framing_and_never_gets_two() -> None:
    assert forwarded((b"Content-Length", b"5")) == [(b"Content-Length", b"5")]
    chunked = [(b"Transfer-Encoding", b"chunked")]
    assert forwarded((b"transfer-encoding", b"chunked")) == chunked
    assert forwarded((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")) == chunked
    length = [(b"Content-Length", b"5")]
    assert forwarded((b"Connection", b"content-length"), *length) == length


def test_a_response_loses_its_hop_by_hop_fields_only() -> None:
    kept = [
        (b"date", b"Tue, 24 Nov 2026 00:00:00 GMT"),
        (b"Server", b"uvicorn"),
        (b"Mcp-Session-Id", b"1868a90c"),
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"X-Accel-Buffering", b"no"),
        (b"Content-Length", b"3"),
    ]
    dropped = [(b"connection", b"keep-alive, X-Hop"), (b"Keep-Alive", b"5"), (b"x-hop", b"1")]
    assert response_headers([*kept[:3], *dropped, *kept[3:]]) == kept


def test_a_chunked_response_does_not_keep_a_length() -> None:
    both = [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked"), (b"A", b"b")]
    assert response_headers(both) == [(b"A", b"b")]


names = st.sampled_from(
    sorted({*HOP_BY_HOP, *CREDENTIAL_FIELDS, b"x-forwarded-for", b"forwarded", b"accept", b"x-a"})
).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper()]))
fields = st.lists(st.tuples(names, st.sampled_from([b"", b"x-a", b"accept, x-a", b"chunked"])))


@given(fields)
def test_nothing_that_must_stop_here_survives_in_any_spelling_or_order(
    given_fields: list[tuple[bytes, bytes]],
) -> None:
    passed = forwarded(*given_fields)
    stopped = (HOP_BY_HOP - {b"transfer-encoding"}) | CREDENTIAL_FIELDS
    assert not {name.lower() for name, _ in passed} & stopped
    assert not any(name.lower().startswith((b"x-forwarded-", b"forwarded")) for name, _ in passed)
    nominated = {b"x-a", b"accept"} & {
        name.strip()
        for field, value in given_fields
        if field.lower() == b"connection"
        for name in value.split(b",")
    }
    expected = [
        field for field in given_fields if field[0].lower() in {b"accept", b"x-a"} - nominated
    ]
    assert [field for field in passed if field[0] != b"Transfer-Encoding"] == expected


SPECIAL = sorted({*HOP_BY_HOP, *CREDENTIAL_FIELDS, b"host", b"expect", b"x-real-ip", b"forwarded"})


any_names = st.binary(max_size=12) | st.sampled_from(
    [
        *SPECIAL,
        b"content-length",
        b"x-forwarded-for",
        b"X-Gate-Secret",
        b"X-Gate-Request-Id",
        b"Via",
        b"x-a",
    ]
).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper()]))


any_values = st.binary(max_size=20) | st.lists(
    st.sampled_from([*SPECIAL, b"content-length", b"x-a", b"", b"chunked"]), max_size=4
).map(b", ".join)


any_fields = st.lists(st.tuples(any_names, any_values), max_size=10)


@given(any_fields)
def test_any_fields_of_a_request_are_filtered_to_one_host_one_framing_and_our_own_words(
    fields: list[tuple[bytes, bytes]],
) -> None:
    passed = request_headers(request_of(fields), host=b"up:1", public=PUBLIC)
    spelled = [name.lower() for name, _ in passed]
    assert passed[0] == (b"Host", b"up:1")
    assert spelled.count(b"host") == 1
    assert not {b"content-length", b"transfer-encoding"} <= set(spelled)
    assert spelled.count(b"transfer-encoding") <= 1
    forbidden = HOP_BY_HOP - {b"transfer-encoding"} | CREDENTIAL_FIELDS
    assert not forbidden & set(spelled)
    assert not {b"expect", b"forwarded", b"x-real-ip", b"x-gate-secret"} & set(spelled)
    assert [name for name in spelled if name.startswith(b"x-forwarded-")] == [
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")
    ]
    assert passed[-1] == (b"Via", b"1.1 mcp-gate")
    kept = iter(fields)
    between = [field for field in passed[1:-4] if field[0] != b"Transfer-Encoding"]
    assert all(field in kept for field in between), "order or bytes were changed"


@given(any_fields)
def test_any_fields_of_an_answer_are_filtered_and_otherwise_unchanged(
    fields: list[tuple[bytes, bytes]],
) -> None:
    passed = response_headers(fields)
    spelled = {name.lower() for name, _ in passed}
    assert not HOP_BY_HOP & spelled
    named = connection_options(value for name, value in fields if name.lower() == b"connection")
    assert not named & spelled
    assert b"content-length" not in named
    expected = [
        (name, value)
        for name, value in fields
        if name.lower() not in HOP_BY_HOP | named
        and not (
            name.lower() == b"content-length"
            and any(other.lower() == b"transfer-encoding" for other, _ in fields)
        )
    ]
    assert passed == expected


@given(any_fields)
def test_any_fields_can_be_asked_about(fields: list[tuple[bytes, bytes]]) -> None:
    assert has_no_controls(fields) is not any(CONTROL.search(value) for _, value in fields)
    assert is_event_stream(fields) in {True, False}
    for wanted in (b"host", b"connection", b"x-a", b""):
        value = value_of(fields, wanted)
        assert (value is None) is (wanted not in {name.lower() for name, _ in fields})
