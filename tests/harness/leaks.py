"""Looks for pieces of a secret in what a program printed, however they are spelled."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 8
"""This many characters in a row count as a piece; fewer occur by chance."""


def pieces_in(output: str, secret: str) -> set[str]:
    """The pieces of `secret` that stand in `output`: raw, percent-encoded (up to four times) or in base64.

    Letters count in either case.
    """
    undone = [output.lower()]
    for _ in range(4):
        undone.append(unquote(undone[-1]).lower())
    searched = "\n".join(undone)
    return {
        spelling[at : at + PIECE]
        for spelling in map(str.lower, _spellings(secret))
        for at in range(len(spelling) - PIECE + 1)
        if spelling[at : at + PIECE] in searched
    }


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for shift in range(3):  # what stands before the secret shifts its base64
            # The first and the last group depend on what stands around the secret.
            yield encode(bytes(shift) + secret.encode()).decode()[4:-4]
