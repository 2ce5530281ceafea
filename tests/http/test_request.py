"""A request is read once, whole, and whatever it holds."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.downstream.http1 import RequestHead
from gatehouse.http.fields import CONTROL
from gatehouse.http.forward import request_headers
from gatehouse.http.request import METHODS, read_request
from tests.harness.request_of import LIMITS, Counting, request_of, scope_of


def announces_body(fields: list[tuple[bytes, bytes]]) -> bool:
    return request_of(fields).has_body


def request_id_of(fields: list[tuple[bytes, bytes]]) -> str:
    return request_of(fields).id


def test_a_body_is_announced_by_a_length_or_by_chunking() -> None:
    assert announces_body([(b"content-length", b"1")])
    assert announces_body([(b"Transfer-Encoding", b"chunked")])
    assert not announces_body([(b"content-length", b"0"), (b"a", b"b")])
    assert not announces_body([])


@pytest.mark.parametrize("given_id", [b"a", b"5f0c-11.22_AABB", b"x" * 128])
@pytest.mark.parametrize("name", [b"X-Request-Id", b"x-request-id", b"X-REQUEST-ID"])
def test_a_well_formed_request_id_is_taken_over(name: bytes, given_id: bytes) -> None:
    assert request_id_of([(b"Host", b"x"), (name, given_id)]) == given_id.decode()


@pytest.mark.parametrize(
    "values",
    [[], [b""], [b"x" * 129], [b"a b"], [b"a\n"], [b"a\xe9"], [b"a,b"], [b'a"'], [b"a", b"a"]],
)
def test_any_other_request_gets_an_id_of_its_own(values: list[bytes]) -> None:
    headers = [(b"X-Request-Id", value) for value in values]
    made = {request_id_of(headers) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in made)


# Once.


def test_the_fields_are_gone_through_twice_at_most_once_to_read_and_once_to_forward() -> None:
    fields = Counting(
        [
            (b"Host", b"gate.example"),
            (b"Origin", b"https://gate.example"),
            (b"Authorization", b"Bearer x"),
            (b"Connection", b"X-Hop"),
            (b"X-Forwarded-For", b"192.0.2.1"),
            (b"Mcp-Session-Id", b"1"),
            (b"MCP-Protocol-Version", b"2026-07-28"),
            (b"Transfer-Encoding", b"chunked"),
        ]
    )
    scope = scope_of()
    scope["headers"] = fields
    request = read_request(cast("Any", scope), LIMITS, 1)
    assert fields.passes == 1
    request_headers(request, host=b"upstream", public=(b"https", b"gate.example"))
    assert fields.passes == 2


# Hidden.


@given(secret=st.from_regex(r"[A-Za-z0-9._~-]{16,40}", fullmatch=True))
def test_no_form_of_a_request_shows_what_may_be_a_credential(secret: str) -> None:
    value = secret.encode()
    fields = [(b"Authorization", b"Bearer " + value), (b"X-API-Key", value), (b"Cookie", value)]
    target = b"/mcp?a=b&key=" + value
    request = request_of(fields, target=target)
    assert len(request.credentials or ()) == 3
    shown = [request, request.credentials, *(request.credentials or ())]
    head = RequestHead(b"POST", target, b"1.1", fields)
    texts = [text for each in [*shown, head] for text in (str(each), repr(each), f"{each}")]
    assert not [text for text in texts if secret in text]
    assert str(request) == "POST /mcp"


# Whatever comes.

field_names = st.binary(max_size=20) | st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade", b"X_A"]
)
field_values = st.binary(max_size=20) | st.sampled_from(
    [b"gate.example", b"chunked", b"5", b"100-continue", b"websocket", b""]
)


@given(
    version=st.sampled_from(["1.0", "1.1"]) | st.text(max_size=4),
    method=st.sampled_from(sorted(METHODS)) | st.text(max_size=8),
    path=st.binary(max_size=40),
    query=st.binary(max_size=40),
    headers=st.lists(st.tuples(field_names, field_values), max_size=8),
)
def test_whatever_a_request_holds_it_is_judged_and_what_passes_is_well_formed(
    version: str, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    limits = LIMITS._replace(target_bytes=60, header_fields=6, header_bytes=150)
    scope = scope_of(headers, method=method)
    scope |= {"http_version": version, "raw_path": path, "query_string": query}
    if reply := read_request(cast("Any", scope), limits).fault:
        assert 400 <= reply.status < 600
        assert (b"Connection", b"close") in reply.headers
        return
    names = [name.lower() for name, _ in headers]
    assert version in {"1.0", "1.1"}
    assert method in METHODS
    assert len(path) + len(query) <= 60
    assert len(headers) <= 6
    assert b"#" not in query
    assert not [name for name in names if b"_" in name]
    assert not [value for _, value in headers if CONTROL.search(value)]
    assert not {b"content-length", b"transfer-encoding"} <= set(names)
