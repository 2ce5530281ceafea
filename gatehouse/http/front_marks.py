"""The marks of signed fronts: header fields and cookies by which a front tells the gate who asks.

They are for the gate alone. An assertion that reached the upstream could be replayed there against everything
behind the same front, and a field without a signature might be believed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

    from gatehouse.http.fields import Headers


class FrontMarks(NamedTuple):
    """The names that are a front's, in lower case."""

    fields: tuple[bytes, ...]
    """The beginnings of its header fields' names."""
    cookies: tuple[bytes, ...]
    """The beginnings of its cookies' names."""
    header: bytes = b""
    """The whole name of one more field."""

    def may_be_among(self, names: Container[bytes]) -> bool:
        """False if no mark can be among fields with these names, in lower case. Quick where marks are cookies only."""
        return bool(self.fields or self.header) or b"cookie" in names

    def taken_off(self, headers: Headers) -> Headers:
        """The header fields without the front's; other fields, and other cookies, stay byte for byte."""
        kept: Headers = []
        for pair in headers:
            name = pair[0].lower()
            if name == self.header or name.startswith(self.fields):
                continue
            if name == b"cookie":
                rest = self._other_cookies(pair[1])
                if rest is not None:
                    kept.append((pair[0], rest))
            else:
                kept.append(pair)
        return kept

    def _other_cookies(self, value: bytes) -> bytes | None:
        """The value of a Cookie field (RFC 6265 section 4.2.1) without the front's; None if no cookie is left."""
        named = _anywhere(self.cookies).search
        if not named(value):  # a quick look: there may be hundreds of others
            return value
        parts = value.split(b";")
        rest = [part for part in parts if not (named(part) and self._is_ours(part))]
        if len(rest) == len(parts):
            return value
        joined = b";".join(rest).lstrip(b" \t")
        return joined if joined.strip(b"; \t") else None

    def _is_ours(self, cookie: bytes) -> bool:
        """True if the cookie is one of ours, or some server could find one of ours in it: behind a comma, by which fronts
        join fields, in quotes, or without a name.
        """
        found = (each.strip(b' \t="').lower() for each in cookie.split(b","))
        return any(each.startswith(self.cookies) for each in found)


@lru_cache
def _anywhere(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, names)) or b"(?!)", re.IGNORECASE)
