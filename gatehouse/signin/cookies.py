"""The cookies of the gate, to the byte: the session of a person, the sign-in that is under way, what an app asks for
meanwhile, and the apps that may ask again without a question.

Over https their names begin with `__Host-`: a browser takes such a cookie from this very host only, over TLS, and for
all of its paths, so that no neighbour can plant one (draft-ietf-httpbis-rfc6265bis section 4.1.3). `Lax`, since the
provider sends people back from another site; a POST from there brings no cookie.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from gatehouse.http.request import Request

CookieName = Literal["session", "login", "asked", "apps"]

PREFIX = "__Host-"

COOKIES = tuple(
    f"{prefix}gate-{name}".lower().encode()
    for prefix in (PREFIX, "")
    for name in get_args(CookieName)
)
"""The names of all of them, in lower case: they are for the gate alone, and go no further."""

MAX_COOKIE_BYTES = 16_384
"""How many bytes of cookies are looked through, in all Cookie fields together: four of the largest, or hundreds. That
takes less than a millisecond."""

MAX_VALUE_LENGTH = 3840
"""How long a value may be: with its name and attributes, a cookie has 4096 bytes at most (RFC 6265 section 6.1)."""

_VALUE = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_VALUE_LENGTH}}}")


class Jar:
    """Reads and writes the cookies. `secure` is True over https; over http they work on loopback only."""

    def __init__(self, *, secure: bool) -> None:
        self._prefix = PREFIX if secure else ""
        self._given = {
            name: re.compile(
                rb"(?:^|;)[ \t]*" + re.escape(self.name_of(name)).encode() + b"=([^;]*)"
            )
            for name in get_args(CookieName)
        }
        self._attributes = f"Path=/;{' Secure;' if secure else ''} HttpOnly; SameSite=Lax"

    def name_of(self, name: CookieName) -> str:
        """The whole name of the cookie."""
        return f"{self._prefix}gate-{name}"

    def read(self, request: Request, name: CookieName) -> str | None:
        """The value of the cookie; None if it did not come exactly once, or has no value that `write` would take.

        Of two, somebody else may have planted either.
        """
        fields = request.values.get(b"cookie", ())
        if sum(map(len, fields)) > MAX_COOKIE_BYTES:
            return None
        found = [value for field in fields for value in self._given[name].findall(field)]
        value = found[0].rstrip(b" \t").decode("ascii", "replace") if len(found) == 1 else ""
        return value if _VALUE.fullmatch(value) else None

    def write(self, name: CookieName, value: str, seconds: float) -> tuple[bytes, bytes]:
        """The header field that sets the cookie for so many seconds. Raises ValueError if no cookie has such a value."""
        if not _VALUE.fullmatch(value):
            raise ValueError("this is no value for a cookie")
        return self._field(name, value, max(0, int(seconds)))

    def delete(self, name: CookieName) -> tuple[bytes, bytes]:
        """The header field that makes the browser forget the cookie."""
        return self._field(name, "", 0)

    def _field(self, name: CookieName, value: str, seconds: int) -> tuple[bytes, bytes]:
        text = f"{self.name_of(name)}={value}; Max-Age={seconds}; {self._attributes}"
        return b"Set-Cookie", text.encode("ascii")
