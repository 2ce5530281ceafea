"""Logs: one handler for all, no piece of a secret in any spelling, and no line that was forged."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import time
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from gatehouse.errors import without_message
from gatehouse.records import loggers, record
from gatehouse.records.log import (
    TALKATIVE,
    RedactingFormatter,
    configure_logging,
    is_no_client_that_left,
)
from gatehouse.records.loggers import logger_of
from gatehouse.records.redact import MASK, PIECE_LENGTH, Redactor
from tests.harness.program import TOKEN
from tests.harness.records import ANSWERED, LEFT, VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator

redact = Redactor([TOKEN])


AWKWARD = r"""a\b"cd\ef"gh\ij"kl\mn"op\qr"st\uv"wx"""
"""A token of which no piece stays what it is where text is quoted."""


def percent(text: str, form: str = "%{:02x}") -> str:
    return "".join(form.format(byte) for byte in text.encode())


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "spelling",
    [
        TOKEN,
        quote(TOKEN, safe=""),
        percent(TOKEN),
        percent(TOKEN, "%{:02X}"),
        base64_of(TOKEN),
        base64_of(f"user:{TOKEN}"),
        base64_of(f"me:{TOKEN}"),
        base64.urlsafe_b64encode(f"u:{TOKEN}".encode()).decode(),
        TOKEN[:20],
        TOKEN[10:],
        TOKEN[5 : 5 + PIECE_LENGTH],
    ],
)
def test_a_piece_of_a_secret_is_blanked_in_any_spelling(spelling: str) -> None:
    blanked = redact(f"before {spelling} after")
    assert blanked.startswith("before ")
    assert blanked.endswith(" after")
    assert MASK in blanked
    assert not pieces(spelling) & pieces(blanked)


@pytest.mark.parametrize(
    "spelling",
    [
        VALUE,
        VALUE[:16],
        VALUE + "more",
        percent(VALUE),
        percent(VALUE, "%{:02X}"),
        base64_of(VALUE),
        base64_of(f"u:{VALUE}"),
        base64_of(f"u:{VALUE}:"),
        base64_of(f"user{VALUE}"),
    ],
)
def test_a_token_value_of_ours_is_blanked_though_nobody_knows_it(spelling: str) -> None:
    blanked = Redactor([])(f"before {spelling} after")
    assert blanked.startswith("before ")
    assert blanked.endswith(" after")
    assert MASK in blanked
    assert not pieces(spelling) & pieces(blanked)


HEADER = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ"
CLAIMS = "eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSIsInN1YiI6IjcifQ"
SIGNED = f"{HEADER}.{CLAIMS}.dGhlLXNpZ25hdHVyZS1vZi1pdA-_"
"""As an authorization server makes one, or a front."""


@pytest.mark.parametrize("redact", [Redactor([]), Redactor([TOKEN])], ids=["none", "one"])
def test_a_signed_token_is_blanked_though_nobody_knows_it_whole_or_cut(redact: Redactor) -> None:
    whole = [SIGNED, f"{HEADER}.{CLAIMS}.", f"{HEADER}.a.b.c.d"]
    for shown in [*whole, *(SIGNED[:at] for at in range(15, len(SIGNED)))]:
        for spelled in (shown, percent(shown), quote(quote(shown.replace("e", "%65")))):
            blanked = redact(f"GET /mcp/{spelled}, from 203.0.113.7, id 5f0c")
            assert blanked == f"GET /mcp/{MASK}, from 203.0.113.7, id 5f0c"
    for at in range(1, len(HEADER) + 2):  # cut within its header, which tells nothing
        assert redact(f"/{SIGNED[at:]}") == f"/{SIGNED[at : len(HEADER) + 1]}{MASK}"


def test_words_that_only_look_like_the_beginning_of_a_signed_token_are_kept() -> None:
    for text in ("eyJ", "keyJoin", "/keyJson/eyJab.cd.ef", "eyjhbGciOiJSUzI1NiIsImtpZCI6ImEifQ"):
        assert Redactor([])(text) == text


@given(
    st.data(), st.sampled_from([TOKEN, AWKWARD, VALUE, "100%sure%20of%41ll-that-is-secret-here"])
)
def test_no_mix_of_percent_encoding_and_case_hides_a_secret(
    data: st.DataObject, secret: str
) -> None:
    """Each character as it is, in the other case, or encoded, up to three times over."""
    depths = data.draw(st.lists(st.integers(0, 3), min_size=len(secret), max_size=len(secret)))
    swaps = data.draw(st.lists(st.booleans(), min_size=len(secret), max_size=len(secret)))
    spelled = ""
    for character, depth, swap in zip(secret, depths, swaps, strict=True):
        shown = character.swapcase() if swap else character
        form = "%" + "25" * (depth - 1) + ("{:02x}" if swap else "{:02X}")
        spelled += form.format(ord(shown)) if depth else shown
    blanked = Redactor([TOKEN, AWKWARD, secret])(f"GET /mcp/{spelled} 404")
    assert blanked == f"GET /mcp/{MASK} 404"


def test_encoding_upon_encoding_costs_no_more_than_its_length() -> None:
    began = time.perf_counter()
    assert redact("/%" + "25" * 30_000 + "74" + TOKEN[1:]) == f"/{MASK}"
    assert time.perf_counter() - began < 2  # 40 ms; undone again and again it would take minutes


def test_a_path_with_percent_signs_and_without_a_secret_stays_as_it_is() -> None:
    for text in ("/a%20b", "100%", "%", "%4", "/%25%32%35", "/%c3%bc/größe", "%zz%7"):
        assert redact(text) == text
        assert Redactor([])(text) == text


def test_what_only_begins_like_a_value_is_kept() -> None:
    for text in ("mcpgate_", "mcpgate_x", "mcp_gate_requests_total", "the gate", "mcpgate"):
        assert Redactor([])(text) == text


@given(st.text(max_size=9), st.sampled_from([TOKEN, AWKWARD, VALUE]), st.text(max_size=9))
def test_no_place_in_a_line_hides_a_secret_from_the_quick_look(
    before: str, secret: str, after: str
) -> None:
    assert Redactor([TOKEN, AWKWARD]).suspects(before + secret + after)


def test_an_ordinary_line_costs_no_more_than_the_quick_look() -> None:
    for as_json in (False, True):
        with logging_to_a_stream(json=as_json) as stream:
            record.write(ANSWERED)
        assert not Redactor([]).suspects(stream.getvalue())


def pieces(text: str) -> set[str]:
    return {text[at : at + PIECE_LENGTH + 4] for at in range(len(text) - PIECE_LENGTH - 3)} or {
        text
    }


def test_text_without_a_secret_stays_as_it_is() -> None:
    for text in ("", "short", "POST /mcp 200 1.5 ms", TOKEN[: PIECE_LENGTH - 1]):
        assert redact(text) == text


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_stands_around_a_secret_is_kept(before: str, after: str) -> None:
    assert redact(f"{before}\0{TOKEN}\0{after}") == f"{before}\0{MASK}\0{after}"


@given(st.lists(st.sampled_from([TOKEN, TOKEN[:9], "x", " "]), max_size=6))
def test_no_piece_survives_between_other_text(parts: list[str]) -> None:
    blanked = redact("".join(parts))
    assert not any(
        TOKEN[at : at + PIECE_LENGTH] in blanked for at in range(len(TOKEN) - PIECE_LENGTH + 1)
    )


@contextmanager
def logging_to_a_stream(*, json: bool = False, level: str = "info") -> Iterator[io.StringIO]:
    """All that the one handler writes; the root logger is put back afterwards."""
    root = logging.getLogger()
    handlers, before_all = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    stream = io.StringIO()
    ours, our_level = loggers.root.handlers, loggers.root.level
    configure_logging([TOKEN, AWKWARD], stream.write, json=json, level=level)
    try:
        yield stream
    finally:
        logging.captureWarnings(capture=False)
        root.handlers = handlers
        root.setLevel(before_all)
        loggers.root.handlers = ours
        loggers.root.setLevel(our_level)
        logger_of("hypercorn").setLevel(logging.NOTSET)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with logging_to_a_stream() as stream:
        yield stream


@pytest.fixture
def json_stream() -> Iterator[io.StringIO]:
    with logging_to_a_stream(json=True) as stream:
        yield stream


@pytest.fixture(params=["stream", "json_stream"])
def either_stream(request: pytest.FixtureRequest) -> io.StringIO:
    """Every test with this runs with both formats."""
    stream = request.getfixturevalue(request.param)
    assert isinstance(stream, io.StringIO)
    return stream


@pytest.mark.parametrize(
    ("level", "ours", "theirs", "traffic"),
    [
        ("debug", 10, 20, 30),  # at debug, libraries log header fields and arguments
        ("info", 20, 20, 30),
        ("warning", 30, 30, 30),
        ("error", 40, 40, 40),
    ],
)
def test_a_level_bounds_the_lines_of_the_gate_and_no_library_gets_talkative(
    level: str, ours: int, theirs: int, traffic: int
) -> None:
    with logging_to_a_stream(level=level):
        names = ("some.library", "asyncio", *TALKATIVE)
        least = {
            name: next(at for at in range(10, 50, 10) if logging.getLogger(name).isEnabledFor(at))
            for name in names
        }
        assert least == dict.fromkeys(names, theirs) | dict.fromkeys(TALKATIVE, traffic)
        gates = [at for at in range(10, 50, 10) if logger_of("gate.access").isEnabledFor(at)]
        assert gates[0] == ours


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_a_line_below_the_level_is_left_out_even_if_its_logger_has_a_level_of_its_own(
    level: str,
) -> None:
    talkative = logging.getLogger("of.a.server")
    talkative.setLevel(logging.DEBUG)
    with logging_to_a_stream(level=level) as stream:
        talkative.debug("private")
        talkative.error("told")
        assert ("private" in stream.getvalue()) == (level == "debug")
        assert "told" in stream.getvalue()


def test_arguments_tracebacks_and_warnings_are_redacted(either_stream: io.StringIO) -> None:
    log = logging.getLogger("some.library")
    log.warning("sent %s", {"authorization": f"Bearer {TOKEN}"})
    try:
        raise ValueError(f"illegal header value {TOKEN!r}")
    except ValueError:
        log.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"odd: {TOKEN}", stacklevel=1)
    written = either_stream.getvalue()
    assert written.count(MASK) >= 3
    assert "ValueError: illegal header value" in written
    assert TOKEN not in written


FORGED = "2026-11-24 12:00:00,000 INFO gate.access: GET /forged 200 1.0 ms"


@pytest.mark.parametrize(
    "break_", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", "\0"]
)
def test_nobody_forges_a_line(either_stream: io.StringIO, break_: str) -> None:
    logger_of("gate").warning("asked for %s", f"/x{break_}{FORGED}")
    try:
        raise ValueError(break_ + FORGED)
    except ValueError:
        logger_of("gate").exception("failed")
    written = either_stream.getvalue()
    lines = written.splitlines()
    assert not [line for line in lines if line.startswith(FORGED[:10]) and "forged" in line]
    assert len([line for line in lines if not line.startswith(" ")]) == 2
    assert written.endswith("\n")


def test_a_terminal_is_told_nothing_but_text(either_stream: io.StringIO) -> None:
    # Given to the handler alone: pytest would send the text on, and cannot encode half a character.
    text = "asked for \x1b[2J\x9b31m\x07\x7f\u202e\udc9b and that was all"
    [ours] = [
        handler
        for handler in loggers.root.handlers
        if isinstance(handler.formatter, RedactingFormatter)
    ]
    ours.handle(logging.makeLogRecord({"name": "gate", "levelname": "WARNING", "msg": text}))
    written = either_stream.getvalue()
    assert written.removesuffix("\n").isprintable()
    assert "and that was all" in written


def test_a_traceback_is_whole_and_belongs_to_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("first\n\tsecond")
    except ValueError:
        logger_of("gate").exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR gate: failed")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-2:] == ["  ValueError: first", "  \tsecond"]


def test_arguments_that_do_not_fit_are_not_printed_by_logging_itself(
    either_stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("some.library").warning("sent %d bytes", VALUE)
    assert capsys.readouterr() == ("", "")
    written = either_stream.getvalue()
    assert "test_log.py:" in written
    assert VALUE not in written
    assert len(written.splitlines()) == 1


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_as_json_every_line_is_an_object(json_stream: io.StringIO) -> None:
    logger_of("gate").warning("upstream %s", "gone")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    record.write(LEFT)
    plain, failed, request = objects(json_stream)
    assert plain.keys() == {"time", "level", "logger", "message"}
    assert plain["level"] == "WARNING"
    assert plain["logger"] == "gate"
    assert plain["message"] == "upstream gone"
    assert failed["message"] == "failed"
    assert failed["error"].startswith("Traceback (most recent call last):\n")
    assert failed["error"].endswith("ValueError: first\nsecond")
    assert request["logger"] == "gate.access"
    assert "message" not in request
    assert request == {**request, **LEFT.fields()}


def test_as_json_the_time_is_utc_with_milliseconds(json_stream: io.StringIO) -> None:
    logger_of("gate").info("now")
    (logged,) = objects(json_stream)
    time = datetime.strptime(logged["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - time) < timedelta(seconds=10)
    assert len(logged["time"]) == len("2026-11-24T12:00:00.000Z")


@pytest.mark.parametrize("secret", [TOKEN, AWKWARD, VALUE])
def test_what_a_client_writes_into_a_record_is_redacted(
    either_stream: io.StringIO, secret: str
) -> None:
    record.write(ANSWERED._replace(path=f"/{secret}", tool=f"x {secret}", rpc_method=secret))
    written = either_stream.getvalue()
    assert written.count(MASK) == 3
    assert not pieces(secret) & pieces(written)
    assert len(written.splitlines()) == 1


def test_redacting_leaves_json_what_it_was(json_stream: io.StringIO) -> None:
    logger_of("gate").warning("%s", f'"{AWKWARD}"')
    (logged,) = objects(json_stream)
    assert logged["message"] == f'"{MASK}"'


def test_libraries_stay_silent_about_what_passes_whatever_level_the_root_has(
    stream: io.StringIO,
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    for name in (
        "httpcore.http11",
        "httpx",
        "mcp.server.sse",
        "sse_starlette.sse",
        "uvicorn.error",
    ):
        logging.getLogger(name).info("header fields: ...")
    assert stream.getvalue() == ""


def test_an_error_without_its_text_still_says_what_and_where() -> None:
    try:
        raise ExceptionGroup("group", [ValueError(TOKEN)])
    except ExceptionGroup as error:
        described = without_message(error)
    assert described.startswith("ValueError")
    assert TOKEN not in described
    try:
        int("x" + TOKEN)
    except ValueError as error:
        described = without_message(error)
    assert TOKEN not in described
    assert "int(" in described
    assert sys._getframe().f_code.co_name in described  # noqa: SLF001


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_traceback() -> None:
    entries = []
    for error in (ClientDisconnect(), ValueError()):
        entry = logging.LogRecord("mcp.server", logging.ERROR, "", 0, "Error handling", (), None)
        entry.exc_info = (type(error), error, None)
        entries.append(entry)
    assert [is_no_client_that_left(entry) for entry in entries] == [False, True]
