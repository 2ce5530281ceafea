"""One value of a token: how it is made, and how the gate knows it again by its digest."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from gatehouse.records.redact import JWT_BEGINS, PREFIX

if TYPE_CHECKING:
    from datetime import datetime

VALUE_PATTERN = re.compile(PREFIX + r"[A-Za-z0-9_-]{24,}")
"""A value, whole or cut off. Half a value is blanked, too; one that is cut shorter still leaves 120 unknown
bits or more."""


FOREIGN_PATTERN = re.compile(
    rf"{JWT_BEGINS}[A-Za-z0-9_-]{{12,}}\.[A-Za-z0-9_-]{{8,}}|\bhf_[A-Za-z0-9]{{24,}}"
)
"""An access token of somebody else's: the beginning of a JWT (RFC 7519 section 3), or a token of Hugging Face."""


@dataclass(frozen=True, slots=True)
class TokenValue:
    """One value of a token, known by its digest (32 bytes), and the times when it is good, in UTC."""

    digest: bytes = field(repr=False)
    created: datetime | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    # The same as Unix time, because every request asks.
    _begins: float = field(init=False, repr=False, compare=False)
    _ends: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        begins = self.not_before.timestamp() if self.not_before else -inf
        ends = self.expires.timestamp() if self.expires else inf
        object.__setattr__(self, "_begins", begins)
        object.__setattr__(self, "_ends", ends)

    @property
    def id(self) -> str:
        """The name of this value for people: the first 8 hex digits of its digest."""
        return self.digest.hex()[:8]

    def valid_at(self, now: float) -> bool:
        """True if it is good at that Unix time: from `not_before` on, and before `expires`."""
        return self._begins <= now < self._ends

    def expired_at(self, now: datetime) -> bool:
        """True if its end is over."""
        return self.expires is not None and self.expires <= now


def make_value() -> str:
    """A new value of a token: a prefix and 43 URL-safe characters, 256 bits of randomness."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(value: str | bytes) -> bytes:
    """The SHA-256 digest (32 bytes) by which a value is known."""
    return sha256(value.encode() if isinstance(value, str) else value).digest()
