"""The search for leaks finds them: otherwise its silence at the end of every run means nothing."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN

PART = TOKEN[12:28]


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "printed",
    [
        f"GET /mcp?key={TOKEN}",
        f"cut in half: {PART}",
        quote(f"/mcp?key={TOKEN}", safe=""),
        "".join(f"%{byte:02x}" for byte in PART.encode()),
        *(base64_of("x" * shift + TOKEN) for shift in range(3)),
        base64_of(f"user:{TOKEN}"),
    ],
)
def test_a_token_is_found_however_it_is_spelled(printed: str) -> None:
    assert pieces_in(printed, TOKEN)


def test_seven_characters_in_a_row_are_not_yet_a_piece() -> None:
    assert pieces_in(f"a {TOKEN[:7]} b {TOKEN[7:14]} c", TOKEN) == set()
