"""Event streams: where a border between two events is, judged by a parser written from the HTML Standard."""

from __future__ import annotations

import re
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.events import COMMENT, EventBorders
from tests.harness.event_source import cut, parsed


def test_the_reference_reads_the_examples_of_the_standard() -> None:
    assert parsed(b"data: YHOO\ndata: +2\ndata: 10\n\n").dispatched == [
        ("message", "YHOO\n+2\n10", "")
    ]
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"
    )
    assert parsed(stream + b"\n\n").dispatched == [
        ("message", "first event", "1"),
        ("message", "second event", ""),
        ("message", " third event", ""),
    ]
    assert len(parsed(stream).dispatched) == 2
    assert parsed(b"data\n\ndata\ndata\n\ndata:").dispatched == [
        ("message", "", ""),
        ("message", "\n", ""),
    ]


LINES = [b"", b"", b"", b"data: x", b"data", b"data:", b"data:  y:z", b"event: tick", b"id: 7"]
LINES += [b"id", b"id: a\0b", b"retry: 10", b"retry: x", b": comment", b"odd", "data: ä€".encode()]


@st.composite
def streams(draw: st.DrawFn, ends: tuple[bytes, ...]) -> list[bytes]:
    """An event stream, cut into chunks anywhere."""
    lines = draw(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ends)), max_size=14))
    stream = b"".join(line + end for line, end in lines)
    stream = stream[: len(stream) - draw(st.integers(0, 3))]  # it may well break off
    return cut(stream, draw(st.sets(st.integers(0, len(stream)))))


LF, CRLF = (b"\n",), (b"\r\n",)
well_ended = st.one_of(streams(LF), streams(CRLF), streams(LF + CRLF))

any_stream = st.one_of(
    well_ended,
    streams((b"\n", b"\r\n", b"\r")),
    st.lists(st.text("\r\n:da ", min_size=1, max_size=4).map(str.encode), max_size=14),
)


@given(any_stream)
def test_a_comment_at_a_border_changes_no_event_and_no_other_byte(chunks: list[bytes]) -> None:
    borders = EventBorders()
    commented: list[bytes] = []
    for chunk in [*chunks, b""]:
        if borders.at_border:
            commented.append(COMMENT)
        commented.append(chunk)
        borders.feed(chunk)
    with_comments, without = b"".join(commented), b"".join(chunks)
    assert parsed(with_comments) == parsed(without)
    assert b"".join(chunk for chunk in commented if chunk is not COMMENT) == without


@given(any_stream)
def test_several_comments_at_one_border_are_as_good_as_none(chunks: list[bytes]) -> None:
    borders = EventBorders()
    commented = b""
    for chunk in chunks:
        commented += 3 * COMMENT if borders.at_border else b""
        commented += chunk
        borders.feed(chunk)
    assert parsed(commented) == parsed(b"".join(chunks))


@given(well_ended)
def test_every_border_between_events_that_end_in_lf_or_crlf_is_seen(chunks: list[bytes]) -> None:
    borders = EventBorders()
    for chunk, so_far in zip(chunks, accumulate(chunks), strict=True):
        borders.feed(chunk)
        *lines, rest = re.split(b"\r\n|\n", so_far)
        assert borders.at_border == (rest == b"" and (not lines or lines[-1] == b""))


def fed(*chunks: bytes) -> EventBorders:
    borders = EventBorders()
    for chunk in chunks:
        borders.feed(chunk)
    return borders


@given(any_stream)
def test_borders_do_not_depend_on_where_the_stream_is_cut(chunks: list[bytes]) -> None:
    borders, sent = EventBorders(), b""
    for chunk in chunks:
        borders.feed(chunk)
        sent += chunk
        bytewise = fed(*(sent[at : at + 1] for at in range(len(sent))))
        assert borders.at_border == fed(sent).at_border == bytewise.at_border


@given(any_stream)
def test_a_stream_cut_at_a_border_is_a_beginning_of_whole_events(chunks: list[bytes]) -> None:
    whole = parsed(b"".join(chunks)).dispatched
    borders, sent = EventBorders(), b""
    for chunk in chunks:
        border = borders.last_border_in(chunk)
        inside = [at for at in range(1, len(chunk) + 1) if fed(sent + chunk[:at]).at_border]
        assert border == (inside[-1] if inside else None)  # the last one there is
        if border is not None:
            kept = sent + chunk[:border]
            beginning = parsed(kept).dispatched
            assert whole[: len(beginning)] == beginning
            assert parsed(kept + b"\n\n").dispatched == beginning  # nothing was pending
        borders.feed(chunk)
        sent += chunk


def test_the_beginning_of_a_stream_is_a_border_and_half_a_line_end_is_none() -> None:
    assert fed().at_border
    assert not fed(b"data: x\r\n\r").at_border
    assert fed(b"data: x\r\n\r", b"\n").at_border
    assert not fed(b"data: x\r\r").at_border
    assert fed(b"").last_border_in(b"") is None
    assert fed(b"data: x\n\n").last_border_in(b"data: y") is None
    assert fed(b"data: x\n").last_border_in(b"\ndata: y\n\ndata: z") == 10


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
