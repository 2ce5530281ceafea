"""The URLs of the store that several gates share."""

from __future__ import annotations

import re

# Nothing that two programs could read in two ways, and no query but these: any other could change all
# of redis-py's settings, our timeouts included.
_USER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?"
_HOST = r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?(?P<db>/[0-9]{0,4})?"
_PATH = r"/[A-Za-z0-9._~/%:,@-]+"
_PLAIN = re.compile(rf"(?P<scheme>redis|valkey)://{_USER}{_HOST}")
_TLS = re.compile(rf"(?P<scheme>rediss|valkeys)://{_USER}{_HOST}(?:\?ssl_ca_certs={_PATH})?")
_SOCKET = re.compile(rf"unix://{_USER}(?P<path>{_PATH})(?:\?db=[0-9]{{1,4}})?")
_WORDS = (
    "must be a URL: redis://:PASSWORD@HOST:6379/0, valkey://... the same, rediss://... or valkeys://... "
    "with TLS (and ?ssl_ca_certs=FILE for a certificate authority of your own), or unix:///run/redis.sock "
    "(and ?db=NUMBER); %-encode what is no letter or digit in the password"
)


def shared_address(url: str) -> str:
    """The address of the store at `url`, without user, password and query: for the log.

    Raises ValueError for any other URL, in words that complete «NAME: ...» and hold no part of it.
    """
    if match := _SOCKET.fullmatch(url):
        return f"unix://{match['path']}"
    match = _PLAIN.fullmatch(url) or _TLS.fullmatch(url)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(_WORDS)
    return f"{match['scheme']}://{match['host']}:{match['port'] or 6379}{match['db'] or ''}"
