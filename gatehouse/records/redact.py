"""Blanks secrets in text: every piece of a known one, and every value that looks like a token, ours or a signed one."""

from __future__ import annotations

import base64
import json
import re
import string
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PREFIX = "mcpgate_"
"""The beginning of a named token's value: scanners for leaked secrets, and our own log, know a token by it."""

PIECE_LENGTH = 8
"""How many characters of a secret in a row count as a piece of it. Fewer occur by chance."""

JWT_BEGINS = "eyJ"
"""How a signed token begins, and its second part again: it is base64 of `{"`, and of the first letter of a name."""

FRAGMENT_LENGTH = 4
"""Every piece contains a whole aligned fragment of this length, so looking up the fragments is a fast first test."""

MASK = "[secret]"

_HEX = frozenset(string.hexdigits)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Redactor:
    """Blanks the pieces of secrets in text: as they are, percent-encoded, in base64, or escaped in JSON.

    It also blanks, in the same spellings, text that looks like a token value that the gate's tool has
    made, whole or cut off: of these the gate knows only the digests. The same goes for text that looks like a signed token
    of an authorization server or a front, percent-encoded or not.

    Any characters may be percent-encoded, and the percent signs again, as often as anybody likes. Letters count in
    either case: a front may have changed it, and what is left of a secret then is nearly all of it.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = [
            _lower(_undone(spelling)[0]) for secret in secrets for spelling in _spellings(secret)
        ]
        self._pieces = {
            spelling[at : at + PIECE_LENGTH]
            for spelling in spellings
            for at in range(len(spelling) - PIECE_LENGTH + 1)
        }
        self._fragments = {
            int.from_bytes(data[at : at + FRAGMENT_LENGTH], sys.byteorder)
            for data in map(str.encode, [*spellings, *_PREFIXES])
            for at in range(len(data) - FRAGMENT_LENGTH + 1)
        }

    def __call__(self, text: str) -> str:
        return self._blanked(text) if self.suspects(text) else text

    def suspects(self, text: str) -> bool:
        """True if there may be anything to blank: cheap, and never wrong when False."""
        # One letter is found ten times as fast as three, and hardly a line has this one.
        signed = "J" in text and JWT_BEGINS in text
        return signed or "%" in text or self._has_fragment(text)

    def _has_fragment(self, text: str) -> bool:
        data = text.encode("utf-8", "replace").lower()
        fragments = memoryview(data)[: len(data) // FRAGMENT_LENGTH * FRAGMENT_LENGTH].cast("I")
        return not self._fragments.isdisjoint(fragments)

    def _blanked(self, text: str) -> str:
        read, begins = _undone(text)
        if begins and JWT_BEGINS not in read and not self._has_fragment(read):
            return text
        kept: list[str] = []
        end = 0  # of the text that has been kept or blanked so far
        for first, last in self._found(read):
            at, over = (begins[first], begins[last]) if begins else (first, last)
            if at > end or not kept:
                kept += [text[end:at], MASK]
            end = max(end, over)
        return "".join([*kept, text[end:]])

    def _found(self, text: str) -> list[tuple[int, int]]:
        """The first and last borders of all pieces of secrets, and of what looks like a token, in their order."""
        signed = [match.span() for match in _JWT.finditer(text)]
        text = _lower(text)
        values = [match.span() for match in _VALUE.finditer(text)]
        ats = (
            at
            for at in range(len(text) - PIECE_LENGTH + 1)
            if text[at : at + PIECE_LENGTH] in self._pieces
        )
        return sorted([*signed, *values, *((at, at + PIECE_LENGTH) for at in ats)])


def _undone(text: str) -> tuple[str, Sequence[int]]:
    """The text with its percent-encoding undone until none is left, and the places where each character began.

    The places end with the end of the text. There are none if nothing had to be undone.
    """
    if "%" not in text:
        return text, ()
    read: list[str] = []
    begins: list[int] = []
    for at, character in enumerate(text):
        read.append(character)
        begins.append(at)
        # One that is undone here may be the end of another one: %2541 is %41, and that is A.
        while character in _HEX and len(read) > 2 and read[-3] == "%" and read[-2] in _HEX:
            character = chr(int(read[-2] + character, 16))
            del read[-2:], begins[-2:]
            read[-1] = character
    return "".join(read), [*begins, len(text)]


def _lower(text: str) -> str:
    """The text with its ASCII letters in lower case: each character keeps its place."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield secret.encode().decode("latin-1")  # as it is undone, byte by byte
    yield json.dumps(secret)[1:-1]
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for offset in range(3):  # what stands before the secret shifts its base64
            encoded = encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
            yield encoded[offset + 1 if offset else 0 : -1]


_PREFIXES = sorted({_lower(spelling) for spelling in _spellings(PREFIX)})
_VALUE = re.compile(rf"(?:{'|'.join(map(re.escape, _PREFIXES))})[a-z0-9_+/=-]{{{PIECE_LENGTH},}}")

# The shortest header there is, of `alg: none`, has 19 characters (RFC 7515 section 7.1; an encrypted token has five parts,
# RFC 7516 section 7.1). In the other case it could not be read any more, and words such as «keyjoin» could be.
_JWT = re.compile(rf"{JWT_BEGINS}[A-Za-z0-9_-]{{12,}}(?:\.[A-Za-z0-9_-]*){{0,4}}")
