"""Seals on the entries that several gates share: gates can make one, and nobody else who can write to the store.

The key of a seal comes from the values of all tokens in force, by their digests: all gates of one service have
them, the store has none, and each client knows its own at most. An entry that bears no seal of ours counts as if it
were not there.

With every change of the tokens the key changes. For a while an entry bears the seals of both keys, and either will
do, since other gates learn of the change a moment earlier or later.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OVERLAP_SECONDS = 300.0
"""How long the key of earlier tokens is still good: copies of a tokens file may take minutes to reach all gates."""

MAX_SECRETS = 4
"""How many secrets are good at a time, the last ones. Each takes 3 µs, and 33 bytes of an entry."""

SEAL_BYTES = 16


class Secret(NamedTuple):
    """The key of seals, and when it is no longer good, by time.monotonic()."""

    key: bytes
    ends: float = math.inf

    def __repr__(self) -> str:
        """Its end: whoever has the key can make seals."""
        return f"<Secret until {self.ends}>"


class Seals:
    """Seals entries, and opens those that are sealed. Any thread may do both.

    `digests` are those of the values of all tokens in force.
    """

    def __init__(
        self, digests: Iterable[bytes], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._secrets: tuple[Secret, ...] = (Secret(_key_of(digests)),)

    def renew(self, digests: Iterable[bytes]) -> bool:
        """From now on, these are the tokens. False if they are the same as before."""
        key, now = _key_of(digests), self._clock()
        if self._secrets[0].key == key:
            return False
        last = self._secrets[0]._replace(ends=now + OVERLAP_SECONDS)
        kept = [one for one in (last, *self._secrets[1:]) if one.key != key]
        self._secrets = (Secret(key), *kept)[:MAX_SECRETS]
        return True

    def sealed(self, key: str, value: str) -> bytes:
        """The value with its seals: as the entry of that key in the store, and of no other."""
        return (
            b",".join(_seal(one, key, value.encode()) for one in self._good())
            + b" "
            + value.encode()
        )

    def opened(self, key: str, entry: bytes) -> str | None:
        """The value of the entry; None if it bears no seal of ours."""
        seals, _, value = entry.partition(b" ")
        borne = seals.split(b",", MAX_SECRETS)
        made = [_seal(one, key, value) for one in self._good()]
        good = [hmac.compare_digest(one, other) for one in made for other in borne]
        return value.decode() if any(good) else None

    def _good(self) -> list[bytes]:
        now = self._clock()
        return [secret.key for secret in self._secrets if now < secret.ends]


def _key_of(digests: Iterable[bytes]) -> bytes:
    together = b"".join(sorted(digests))
    # Without any token nobody gets in, and everybody could make the key of none.
    return hmac.digest(b"mcp-gate entries", together or secrets.token_bytes(32), "sha256")


def _seal(secret: bytes, key: str, value: bytes) -> bytes:
    seal = hmac.digest(secret, key.encode() + b" " + value, "sha256")
    return seal[:SEAL_BYTES].hex().encode()
