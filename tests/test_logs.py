"""Logs: one handler for all, and no piece of a secret in any spelling."""

from __future__ import annotations

import base64
import io
import logging
import sys
import warnings
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.logs import MASK, PIECE, TALKATIVE, Redactor, configure_logging, without_text
from tests.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

redact = Redactor([TOKEN])


@pytest.mark.parametrize(
    "spelling",
    [
        TOKEN,
        quote(TOKEN, safe=""),
        "".join(f"%{byte:02x}" for byte in TOKEN.encode()),
        "".join(f"%{byte:02X}" for byte in TOKEN.encode()),
        base64.b64encode(TOKEN.encode()).decode(),
        base64.b64encode(f"user:{TOKEN}".encode()).decode(),
        base64.b64encode(f"me:{TOKEN}".encode()).decode(),
        base64.urlsafe_b64encode(f"u:{TOKEN}".encode()).decode(),
        TOKEN[:20],
        TOKEN[10:],
        TOKEN[5 : 5 + PIECE],
    ],
)
def test_a_piece_of_a_secret_is_blanked_in_any_spelling(spelling: str) -> None:
    blanked = redact(f"before {spelling} after")
    assert blanked.startswith("before ")
    assert blanked.endswith(" after")
    assert MASK in blanked
    assert not pieces(spelling) & pieces(blanked)


def pieces(text: str) -> set[str]:
    return {text[at : at + PIECE + 4] for at in range(len(text) - PIECE - 3)} or {text}


def test_text_without_a_secret_stays_as_it_is() -> None:
    for text in ("", "short", "POST /mcp 200 1.5 ms", TOKEN[: PIECE - 1]):
        assert redact(text) == text


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_stands_around_a_secret_is_kept(before: str, after: str) -> None:
    assert redact(f"{before}\0{TOKEN}\0{after}") == f"{before}\0{MASK}\0{after}"


@given(st.lists(st.sampled_from([TOKEN, TOKEN[:9], "x", " "]), max_size=6))
def test_no_piece_survives_between_other_text(parts: list[str]) -> None:
    blanked = redact("".join(parts))
    assert not any(TOKEN[at : at + PIECE] in blanked for at in range(len(TOKEN) - PIECE + 1))


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the one handler writes; the root logger is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    stream = io.StringIO()
    configure_logging([TOKEN], stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_arguments_tracebacks_and_warnings_are_redacted(stream: io.StringIO) -> None:
    log = logging.getLogger("some.library")
    log.warning("sent %s", {"authorization": f"Bearer {TOKEN}"})
    try:
        raise ValueError(f"illegal header value {TOKEN!r}")
    except ValueError:
        log.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"odd: {TOKEN}", stacklevel=1)
    written = stream.getvalue()
    assert written.count(MASK) >= 3
    assert "ValueError: illegal header value" in written
    assert TOKEN not in written


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
        described = without_text(error)
    assert described.startswith("ValueError")
    assert TOKEN not in described
    try:
        int("x" + TOKEN)
    except ValueError as error:
        described = without_text(error)
    assert TOKEN not in described
    assert "int(" in described
    assert sys._getframe().f_code.co_name in described  # noqa: SLF001
