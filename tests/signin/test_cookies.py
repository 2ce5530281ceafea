"""The cookies of the dashboard: their exact bytes, and which one counts."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.signin.cookies import COOKIES, MAX_COOKIE_BYTES, MAX_VALUE_LENGTH, CookieName, Jar
from gatehouse.signin.sealing import MAX_TEXT_BYTES
from tests.harness.request_of import request_of

HTTPS, LOOPBACK = Jar(secure=True), Jar(secure=False)
SESSION = b"__Host-gate-session"


def read(*fields: bytes, jar: Jar = HTTPS) -> str | None:
    """The value of the session in these Cookie fields."""
    return jar.read(request_of([(b"Cookie", field) for field in fields], method="GET"), "session")


def test_the_bytes_that_set_and_delete_cookies() -> None:
    assert HTTPS.write("session", "a.b-c_d", 28_800) == (
        b"Set-Cookie",
        b"__Host-gate-session=a.b-c_d; Max-Age=28800; Path=/; Secure; HttpOnly; SameSite=Lax",
    )
    assert HTTPS.delete("login") == (
        b"Set-Cookie",
        b"__Host-gate-login=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
    )
    assert LOOPBACK.write("login", "x", 600.9) == (
        b"Set-Cookie",
        b"gate-login=x; Max-Age=600; Path=/; HttpOnly; SameSite=Lax",
    )
    assert LOOPBACK.delete("session") == (
        b"Set-Cookie",
        b"gate-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax",
    )


def test_all_names_are_told_to_those_who_take_them_off() -> None:
    names = [jar.name_of(name) for jar in (HTTPS, LOOPBACK) for name in get_args(CookieName)]
    assert sorted(COOKIES) == sorted(name.lower().encode() for name in names)


@pytest.mark.parametrize(
    "value", ["", "a b", "a;b", 'a"b', "a\r\nSet-Cookie: b", "a,b", "é", "a=b", "a" * 3841]
)
def test_no_other_value_is_written_or_read(value: str) -> None:
    with pytest.raises(ValueError, match="no value"):
        HTTPS.write("session", value, 1)
    assert read(SESSION + b"=" + value.encode()) != value or not value.isascii()
    assert not value or read(SESSION + b"=" + value.encode()) in {None, "a"}


def test_the_longest_cookie_has_room_in_every_browser() -> None:
    assert MAX_VALUE_LENGTH >= MAX_TEXT_BYTES
    _, field = HTTPS.write("session", "a" * MAX_VALUE_LENGTH, 28_800)
    assert len(field) <= 4096


@pytest.mark.parametrize(
    "fields",
    [
        (b"__Host-gate-session=abc",),
        (b"a=b; __Host-gate-session=abc; c=d",),
        (b"a=b;__Host-gate-session=abc;c=d",),
        (b" \t__Host-gate-session=abc\t ",),
        (b";;;__Host-gate-session=abc;",),
        (b"a=b", b"__Host-gate-session=abc"),
        (b'__HOST-GATE-SESSION=x; "__Host-gate-session"=y; __Host-gate-session=abc',),
        (b"__Host-gate-session=abc; gate-session=x; __Host-gate-login=y",),
        (b"__Host-gate-session=abc; __Host-gate-session ; __Host-gate-session\t=x",),
        (b"other=__Host-gate-session=x; __Host-gate-session=abc",),
        (b"\xff\xfe=1; \x0b__Host-gate-session=x; __Host-gate-session=abc",),
    ],
)
def test_the_cookie_that_came_once_is_read(fields: tuple[bytes, ...]) -> None:
    assert read(*fields) == "abc"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (b"",),
        (b"__Host-gate-session=",),
        (b"__Host-gate-session",),
        (b"__host-gate-session=abc",),
        (b"__Host-Gate-Session=abc",),
        (b'"__Host-gate-session"=abc',),
        (b'__Host-gate-session="abc"',),
        (b"__Host-gate-session =abc",),
        (b"gate-session=abc",),
        (b"__Host-gate-session=abc, __Host-gate-session=abc",),
        (b"__Host-gate-session=abc; __Host-gate-session=abc",),
        (b"__Host-gate-session=abc; __Host-gate-session=",),
        (b"__Host-gate-session=abc", b"__Host-gate-session=xyz"),
        (b"__Host-gate-session=a%62c",),
        (b"__Host-gate-session=ab\xc3\xa9",),
        (b"a=" + b"x" * MAX_COOKIE_BYTES + b"; __Host-gate-session=abc",),
        (*[b"a=" + b"x" * 2000] * 40, b"__Host-gate-session=abc"),
    ],
)
def test_a_cookie_that_is_missing_twice_or_odd_counts_as_none(fields: tuple[bytes, ...]) -> None:
    assert read(*fields) is None


def test_over_http_on_loopback_the_name_has_no_prefix_and_only_there() -> None:
    assert read(b"gate-session=abc", jar=LOOPBACK) == "abc"
    assert read(b"__Host-gate-session=abc", jar=LOOPBACK) is None


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_nothing_that_browsers_send_raises(fields: list[bytes]) -> None:
    assert read(*fields) is None


PAIR = st.sampled_from(
    [b"a=b", b"", b"=", b"gate-session=x", b"__Host-gate-session", b'"__Host-gate-session=z"']
)


@given(st.lists(PAIR), st.lists(PAIR), st.from_regex(r"[A-Za-z0-9._-]{1,50}", fullmatch=True))
def test_other_cookies_change_nothing(before: list[bytes], after: list[bytes], value: str) -> None:
    pairs = [*before, SESSION + b"=" + value.encode(), *after]
    assert read(b"; ".join(pairs)) == value
