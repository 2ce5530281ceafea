"""Blanks secrets in text: every piece of a known one, and every value that looks like a token of ours."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREFIX = "mcpgate_"
"""The beginning of a named token's value: scanners for leaked secrets, and our own log, know a token by it."""

PIECE = 8
"""How many characters of a secret in a row count as a piece of it. Fewer occur by chance."""

FRAGMENT = 4
"""Every PIECE contains a whole aligned fragment of this length, so looking up the fragments is a fast first test."""

MASK = "[secret]"


class Redactor:
    """Blanks the pieces of secrets in text: as they are, percent-encoded, in base64, or escaped in JSON.

    It also blanks, in the same spellings, text that looks like a token value that the gate's tool has
    made, whole or cut off: of these the gate knows only the digests.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = [spelling for secret in secrets for spelling in _spellings(secret)]
        self._pieces = {
            spelling[at : at + PIECE]
            for spelling in spellings
            for at in range(len(spelling) - PIECE + 1)
        }
        self._fragments = {
            int.from_bytes(data[at : at + FRAGMENT], sys.byteorder)
            for data in map(str.encode, [*spellings, *_PREFIXES])
            for at in range(len(data) - FRAGMENT + 1)
        }

    def __call__(self, text: str) -> str:
        return self._blanked(text) if self.suspects(text) else text

    def suspects(self, text: str) -> bool:
        """True if there may be anything to blank: cheap, and never wrong when False."""
        data = text.encode("utf-8", "replace")
        fragments = memoryview(data)[: len(data) // FRAGMENT * FRAGMENT].cast("I")
        return not self._fragments.isdisjoint(fragments)

    def _blanked(self, text: str) -> str:
        text = _VALUE.sub(MASK, text)
        found = [at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in self._pieces]
        if not found:
            return text
        kept: list[str] = []
        end = 0  # of what has been kept or blanked so far
        for at in found:
            if at > end or not kept:
                kept += [text[end:at], MASK]
            end = at + PIECE
        return "".join([*kept, text[end:]])


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    for form in ("%{:02x}", "%{:02X}"):
        yield "".join(form.format(byte) for byte in secret.encode())
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for offset in range(3):  # what stands before the secret shifts its base64
            encoded = encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
            yield encoded[offset + 1 if offset else 0 : -1]


_PREFIXES = sorted(set(_spellings(PREFIX)))
_VALUE = re.compile(
    rf"(?:{'|'.join(map(re.escape, _PREFIXES))})(?:[A-Za-z0-9_+/=-]|%[0-9A-Fa-f]{{2}}){{{PIECE},}}"
)
