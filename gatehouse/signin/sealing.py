"""Sealed texts: facts that a browser keeps for the gate, and can neither read nor change.

A seal is a JWE (RFC 7516) in its compact form: encrypted directly with A256GCM under a key that only the gate has.
Its header is the same in all of them, byte for byte, and any other one is turned away unread: no algorithm, no
compression and no extension is ever the browser's choice.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from gatehouse.identity.clock import clock as unix_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_TEXT_BYTES = 3840
"""How long a sealed text may be: with its name and attributes, a cookie has 4096 bytes at most (RFC 6265 section 6.1)."""

MAX_CONTENT_BYTES = 2780
"""How much JSON fits into a text of that length, with the purpose and the end, which take fewer than 60 bytes of it."""

MAX_SECONDS = 8 * 3600.0
"""For how long a seal may hold, unless its purpose says another time: one that says more was made while the clock was
wrong."""

MAX_AHEAD_SECONDS = 60.0
"""How far the clock of another gate may be ahead."""

MAX_PURPOSE_LENGTH = 20
"""How long the word for a purpose may be, in ASCII characters."""

_HEADER = {"alg": "dir", "enc": "A256GCM"}
# Four characters stand for three bytes; in the last group, unused bits are zero, so that no two texts say the same.
_BASE64 = r"(?:[\w-]{4})*(?:[\w-]{2}[AEIMQUYcgkosw048]|[\w-][AQgw])?"
_SEALED = re.compile(
    rf"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0\.\.[\w-]{{16}}\.{_BASE64}\.[\w-]{{21}}[AQgw]",
    re.ASCII,
)
_REGISTRY = jwe.JWERegistry(algorithms=tuple(_HEADER.values()))


class Sealed(NamedTuple):
    """The content of a seal, and the Unix time at which it is over."""

    content: dict[str, Any]
    until: float


def key_for(secret: bytes, purpose: str, bound_to: Iterable[str] = ()) -> bytes:
    """A key of 32 bytes for one purpose, by HKDF-SHA256 (RFC 5869). With other `bound_to`, it is another key.

    The secret itself must be hard to guess. Raises ValueError if there is none.
    """
    if not secret:
        raise ValueError("there is no secret to make keys from")
    words = [purpose, *bound_to]
    info = "mcp-gate " + " ".join(f"{len(word)}:{word}" for word in words)
    return HKDF(SHA256(), length=32, salt=None, info=info.encode()).derive(secret)


class Sealer:
    """Seals texts for one purpose, and opens its own only.

    `purpose` is a short word. A seal is bound to the texts `bound_to`, too: whoever changes one of them, or the secret,
    ends all seals. None holds for longer than `max_seconds`.
    """

    def __init__(
        self,
        secret: bytes,
        purpose: str,
        *,
        bound_to: Iterable[str] = (),
        max_seconds: float = MAX_SECONDS,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        if not purpose.isascii() or not 0 < len(purpose) <= MAX_PURPOSE_LENGTH:
            raise ValueError(
                f"a purpose is a word of {MAX_PURPOSE_LENGTH} ASCII characters at most"
            )
        self._key = OctKey.import_key(key_for(secret, purpose, bound_to))
        self._purpose = purpose
        self._max_seconds = max_seconds
        self._clock = clock

    def seal(self, content: Mapping[str, Any], until: float) -> str:
        """A text that opens as this content, a JSON object, until that Unix time, in whole seconds.

        It is ASCII, fit for a cookie. Raises ValueError if the content has more than MAX_CONTENT_BYTES, or if
        the time is more than `max_seconds` ahead.
        """
        if until > self._clock() + self._max_seconds:
            raise ValueError(f"a seal holds for {self._max_seconds:g} seconds at most")
        if length_of(content) > MAX_CONTENT_BYTES:
            raise ValueError(f"the content of a seal has {MAX_CONTENT_BYTES} bytes at most")
        data = _json([self._purpose, int(until), dict(content)])
        return jwe.encrypt_compact(dict(_HEADER), data, self._key, registry=_REGISTRY)

    def open(self, text: str) -> dict[str, Any] | None:
        """The content of a text that was sealed for this purpose and is not over; None for every other text."""
        sealed = self.unseal(text)
        return sealed.content if sealed else None

    def unseal(self, text: str, *, even_if_over: bool = False) -> Sealed | None:
        """The same, with its end; with `even_if_over`, the seal may have held before."""
        if len(text) > MAX_TEXT_BYTES or not _SEALED.fullmatch(text):
            return None
        try:
            data = jwe.decrypt_compact(text, self._key, registry=_REGISTRY).plaintext
            purpose, until, content = json.loads((data or b"").decode("utf-8", "surrogatepass"))
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        if (
            purpose != self._purpose
            or not isinstance(content, dict)
            or not self._holds(until, even_if_over)
        ):
            return None
        return Sealed(content, float(until))

    def _holds(self, until: object, even_if_over: bool) -> bool:
        now = self._clock()
        if type(until) is not int or until > now + self._max_seconds + MAX_AHEAD_SECONDS:
            return False
        return even_if_over or now < until


def length_of(content: Mapping[str, Any]) -> int:
    """How many bytes the content takes in a seal."""
    return len(_json(dict(content)))


def _json(value: object) -> bytes:
    # Halves of characters, which JSON may have, come through as they are.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")
