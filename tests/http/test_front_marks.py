"""The marks of a front go no further than the gate; everything else passes byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.forward import request_headers
from gatehouse.http.front_marks import FrontMarks
from tests.harness.request_of import request_of

MARKS = FrontMarks(fields=(b"x-front-",), cookies=(b"front_session",))


def passed(cookie: bytes) -> list[bytes]:
    """The values of Cookie that are left of one."""
    return [value for _, value in MARKS.taken_off([(b"Cookie", cookie)])]


def test_fields_of_the_front_are_taken_off_however_they_are_spelled() -> None:
    others = [(b"X-Frontier", b"1"), (b"Accept", b"x-front-jwt"), (b"x-Front", b"")]
    fields = [
        (b"X-Front-Jwt", b"a.b.c"),
        *others,
        (b"x-front-user-email", b"e"),
        (b"X-FRONT-", b""),
    ]
    request = request_of([(b"Host", b"gate.example"), *fields])
    sent = request_headers(request, host=b"up:1", public=(b"http", b"gate"), marks=MARKS)
    assert sent[1:-4] == others


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        (b"a=1; front_session=x; b=2", [b"a=1; b=2"]),
        (b"front_session=x; a=1", [b"a=1"]),
        (b"a=1;front_session=x", [b"a=1"]),
        (b"a=1 ;b=2;  Front_Session_0=x;front_session_1=y", [b"a=1 ;b=2"]),
        (b" front_session = x ;a=1", [b"a=1"]),
        (b"front_session", []),
        (b"front_session=x; ", []),
        (b"front_session=a=b==; front_session=c", []),
        (
            b"session=front_session=1; xfront_session=2",
            [b"session=front_session=1; xfront_session=2"],
        ),
        (b"  a=1;; b;=", [b"  a=1;; b;="]),
        (b"a=1, front_session=x; b=2", [b"b=2"]),
        (b'"front_session"=x;=front_session=y; a="x,y"', [b'a="x,y"']),
        (b"", [b""]),
        (b"\xe9=\xff; front_session=\xff", [b"\xe9=\xff"]),
    ],
)
def test_cookies_of_the_front_are_taken_out(cookie: bytes, left: list[bytes]) -> None:
    assert passed(cookie) == left


@given(st.lists(st.sampled_from([b"a=1", b" b=2", b"front_session=x", b" FRONT_SESSION2=y", b""])))
def test_other_cookies_keep_their_order_and_bytes(parts: list[bytes]) -> None:
    fronts = [part for part in parts if b"ront" in part.lower()]
    others = [part for part in parts if part not in fronts]
    left = passed(b";".join(parts))
    if not fronts:
        assert left == [b";".join(parts)]
    else:
        assert [value.lstrip() for value in left] == [b";".join(others).lstrip()][: len(left)]
        assert left or not any(part.strip() for part in others)


def test_one_field_may_be_named_whole() -> None:
    marks = MARKS._replace(header=b"x-jwt")
    assert marks.taken_off([(b"X-JWT", b""), (b"X-Jwt-Id", b"")]) == [(b"X-Jwt-Id", b"")]
