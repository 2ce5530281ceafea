"""The places to which answers for apps may go: which URIs are such places, which are the same, and their names for people.

A code that goes to the wrong place lets somebody else in, so nothing is normalised: a URI is compared as it was
registered, byte for byte (RFC 9700 section 2.1). Only a port on this computer may be another one each time (RFC 8252
section 7.3).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_URI_LENGTH = 512
"""How long a redirect URI may be, in characters: a seal holds it, and a cookie the seal."""

LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
"""The hosts that are this computer. `localhost` has its weaknesses (RFC 8252 section 8.3), but many clients use it."""

ACTED_ON = frozenset(
    {
        *("about", "android-app", "blob", "brave", "callto", "chrome"),
        *("chrome-extension", "cid", "content", "data", "device", "dict", "dns", "edge"),
        *("facetime", "facetime-audio", "feed", "file", "filesystem", "firefox"),
        *("firefox-focus", "ftp", "ftps", "geo", "gopher", "http", "imap", "intent"),
        *("irc", "jar", "javascript", "ldap", "ldaps", "magnet", "mailto", "market"),
        *("mid", "mk", "moz-extension", "news", "nfs", "nntp", "onenote", "pop", "res"),
        *("resource", "rtsp", "search", "search-ms", "sftp", "shell", "shortcuts", "sip"),
        *("sips", "smb", "sms", "ssh", "tel", "telnet", "urn", "vbscript", "view-source"),
        *("vnc", "webcal", "ws", "wss", "wyciwyg", "xmpp"),
    }
)
"""Schemes that a browser or the system acts on by itself: no app of its own waits behind them."""

BEGINNINGS = (
    *("googlechrome", "itms", "microsoft-edge", "ms-", "opera-", "web+"),
    *("x-apple", "x-safari-", "x-web-search"),
)
"""How more of them begin: those of browsers, which open any page, and of parts of the system."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,63}")
# Visible ASCII that stands in URIs as it is (RFC 3986 appendix A), with percent signs before two hex digits only.
_URI = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})+")
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
)


class Destination(NamedTuple):
    """The place behind a redirect URI."""

    text: str
    """The place for people: a host, "this computer", or a scheme."""
    is_local: bool
    """True if any program on the person's computer could wait there."""
    key: str
    """The place for the memory: two URIs with one key are one place."""


class _Parts(NamedTuple):
    scheme: str
    host: str
    """In lower case; empty for an app's own scheme."""
    port: str
    rest: str
    """All that comes after the port."""

    @property
    def is_loopback(self) -> bool:
        return self.scheme == "http"


def check_redirect_uri(uri: str) -> None:
    """Raise ValueError if no answer may go to that URI, in words that complete «redirect_uri ...» and do not repeat it."""
    _parts_of(uri)


def matches(registered: str, given: str) -> bool:
    """True if both are the same place; the given one may be any text."""
    if registered == given:
        return True
    try:
        ours, theirs = _parts_of(registered), _parts_of(given)
    except ValueError:
        return False
    return ours.is_loopback and ours._replace(port="") == theirs._replace(port="")


def destination_of(uri: str) -> Destination:
    """The place of a URI that `check_redirect_uri` has judged."""
    scheme, host, port, _ = _parts_of(uri)
    if not host:
        return Destination(f"the app on this device that opens {scheme}: links", True, scheme)
    if scheme == "http":
        return Destination("this computer", True, f"http://{host}")
    return Destination(f"{host}{port}", False, f"https://{host}{port}")


def _parts_of(uri: str) -> _Parts:
    if not 0 < len(uri) <= MAX_URI_LENGTH:
        raise ValueError(f"has {MAX_URI_LENGTH} characters at most, and one at least")
    if "#" in uri:
        raise ValueError("must have no fragment (RFC 6749 section 3.1.2)")
    if not _URI.fullmatch(uri):
        raise ValueError(
            "must be a URI of visible ASCII characters, without any that must be encoded"
        )
    scheme, colon, rest = uri.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise ValueError("must be absolute, and its scheme in small letters")
    if scheme in {"http", "https"}:
        return _of_web(scheme, rest)
    if scheme in ACTED_ON or scheme.startswith(BEGINNINGS):
        raise ValueError("must be https, http on this computer, or an app's own scheme")
    if len(rest) < 2:
        raise ValueError("must name more than a scheme")
    return _Parts(scheme, "", "", rest)


def _of_web(scheme: str, rest: str) -> _Parts:
    if not rest.startswith("//"):
        raise ValueError("must name a host")
    end = next((at for at, one in enumerate(rest[2:], 2) if one in "/?"), len(rest))
    found = _AUTHORITY.fullmatch(rest[2:end])
    if not found:  # user names, too
        raise ValueError("must name a host, and nothing before it")
    host, port = found["host"].lower(), found["port"]
    if scheme == "http" and host not in LOOPBACK:
        raise ValueError(
            "must be https, unless it is on this computer (127.0.0.1, [::1], localhost)"
        )
    if port is not None and not 0 < int(port) < 65_536:
        raise ValueError("has no such port")
    if not host.startswith("["):
        if not _HOST.fullmatch(host):
            raise ValueError("has no host that could be one")
    else:
        try:
            urlsplit(f"{scheme}://{host}").hostname  # noqa: B018 - judges the address
        except ValueError:
            raise ValueError("has no host that could be one") from None
    return _Parts(scheme, host, f":{port}" if port else "", rest[end:])
