"""The requests to the upstream."""

from __future__ import annotations

from httpx import ByteStream

from gatehouse.http.front_marks import FrontMarks
from gatehouse.identity.callers import Callers
from gatehouse.identity.principal import Principal
from gatehouse.upstream.outbound import Outbound, Shown
from tests.harness.request_of import request_of

NOBODY = Callers(dict, lambda _: None, names=False, kinds=False, ids=False)
FIELDS = [(b"Host", b"gate"), (b"X-Front-Jwt", b"a.b.c"), (b"Cookie", b"front=x; a=1")]


def sent(marks: FrontMarks | None) -> list[tuple[bytes, bytes]]:
    """The fields that arrive upstream, but for those that the gate sets."""
    outbound = Outbound("up:1", b"/mcp", [], callers=NOBODY, shown=Shown(), marks=marks)
    request = outbound.forwarded(request_of(FIELDS), None, ByteStream(b""))
    return [pair for pair in request.headers.raw if pair[0] in {b"X-Front-Jwt", b"Cookie"}]


def test_marks_of_a_front_do_not_reach_the_upstream() -> None:
    marks = FrontMarks(fields=(b"x-front-",), cookies=(b"front",))
    assert sent(marks) == [(b"Cookie", b"a=1")]


def test_without_a_front_the_cookies_of_the_dashboard_go_no_further_all_the_same() -> None:
    marks = FrontMarks(fields=(), cookies=(b"front",))
    assert sent(marks) == [FIELDS[1], (b"Cookie", b"a=1")]
    kept = [
        (b"cookie", b"b=1; own=front; Front2=x"),
        (b"COOKIE", b"\tFRONT=y"),
        (b"Cookie", b"f=1"),
    ]
    assert marks.taken_off(kept) == [(b"cookie", b"b=1; own=front"), kept[2]]


def test_without_a_front_they_are_fields_like_any_other() -> None:
    assert sent(None) == FIELDS[1:]


def test_a_farewell_tells_the_id_by_which_the_server_keeps_the_session() -> None:
    callers = Callers(dict, lambda _: None, names=True, kinds=True, ids=True)
    outbound = Outbound("up:1", b"/mcp", [], callers=callers, shown=Shown())
    ann = Principal("oauth:" + "0a" * 16, "oauth:ann", kind="oauth")
    sent = [outbound.forwarded(request_of(FIELDS), ann, ByteStream(b""))]
    sent.append(outbound.farewell(b"7", ann.id))
    for name in (b"X-Gate-Principal", b"X-Gate-Kind", b"X-Gate-Caller"):
        first, last = (dict(request.headers.raw)[name] for request in sent)
        assert first == last
