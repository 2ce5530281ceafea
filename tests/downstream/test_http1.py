"""HTTP/1.1 without a socket: however the bytes are cut, the same requests come out of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.downstream.http1 import MAX_EMPTY_LINES, BadRequestError, Http1
from gatehouse.downstream.scope import http_scope
from gatehouse.settings.environment import Settings

LIMITS = Settings(_env_file=None).limits
HEAD = b"POST /mcp HTTP/1.1\r\nHost: a\r\n"
REQUESTS = {
    HEAD + b"\r\n": b"",
    HEAD + b"Content-Length: 5\r\n\r\n\r\nab\n": b"\r\nab\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\r\na\r\n2\r\nb\n\r\n0\r\n\r\n": b"\r\nab\n",
}


def bodies_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The bodies of the requests in a stream that comes in pieces, each answered once it has come."""
    http = Http1(LIMITS)
    bodies: list[bytes] = []
    borders = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    waiting = True
    body = b""
    for start, end in itertools.pairwise(borders):
        http.add(stream[start:end])
        while True:
            if waiting:
                if http.request() is None:
                    break
                waiting = False
            if (data := http.data()) is None:
                break
            body += data
            if http.request_read:
                bodies.append(body)
                http.head(200, [(b"Content-Length", b"0")], last=False)
                http.body(b"", more=False)
                assert http.recycle()
                waiting, body = True, b""
    assert not http.begun
    return bodies


@given(
    requests=st.lists(
        st.tuples(
            st.lists(st.sampled_from([b"\n", b"\r\n"]), max_size=MAX_EMPTY_LINES),
            st.sampled_from([*REQUESTS]),
        ),
        min_size=1,
        max_size=4,
    ),
    cuts=st.lists(st.integers(min_value=0, max_value=1000), max_size=20),
)
def test_requests_and_empty_lines_before_them_are_read_wherever_they_are_cut(
    requests: list[tuple[list[bytes], bytes]], cuts: list[int]
) -> None:
    stream = b"".join(b"".join(lines) + request for lines, request in requests)
    assert bodies_of(stream, cuts) == [REQUESTS[request] for _, request in requests]


@given(st.lists(st.integers(min_value=0, max_value=1000), max_size=20))
def test_one_empty_line_too_many_is_refused_wherever_it_is_cut(cuts: list[int]) -> None:
    stream = b"\r\n" * (MAX_EMPTY_LINES + 1) + HEAD + b"\r\n"
    with pytest.raises(BadRequestError) as caught:
        bodies_of(stream, cuts)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /mcp?a?b", (b"h", b"/mcp", b"a?b")),
        (b"GET http://a:1/mcp?a", (b"a:1", b"/mcp", b"a")),
        (b"GET hTTps://a", (b"a", b"/", b"")),
        (b"GET http://a?/b", (b"a", b"/", b"/b")),
        (b"OPTIONS http://a", (b"a", b"*", b"")),
        (b"OPTIONS http://a?", (b"a", b"/", b"")),
        (b"OPTIONS *", (b"h", b"*", b"")),
        (b"GET http:a", (b"", b"/a", b"")),
        (b"GET u@a://b", (b"h", b"u@a://b", b"")),
        (b"GET httpx://a/b", (b"h", b"httpx://a/b", b"")),
    ],
)
def test_a_target_becomes_host_path_and_query(
    line: bytes, expected: tuple[bytes, bytes, bytes]
) -> None:
    http = Http1(LIMITS)
    http.add(line + b" HTTP/1.1\r\nhost: h\r\nX: y\r\n\r\n")
    head = http.request()
    assert head is not None
    scope = http_scope(head, None, None, {})
    host, path, query = expected
    assert (scope["raw_path"], scope["query_string"]) == (path, query)
    assert {name.lower(): value for name, value in scope["headers"]} == {b"host": host, b"x": b"y"}
