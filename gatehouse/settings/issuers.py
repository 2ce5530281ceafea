"""Issuers of access tokens and assertions, and the URLs that the gate asks about them, as settings name them.

No message repeats a URL, which may hold a secret.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator

from gatehouse import advice
from gatehouse.http.address import is_loopback
from gatehouse.settings.kinds import stripped

OPEN_HOSTS = frozenset(
    {
        *("accounts.google.com", "github.com", "token.actions.githubusercontent.com"),
        *("gitlab.com", "bitbucket.org", "login.live.com", "appleid.apple.com"),
        *("www.facebook.com", "www.linkedin.com", "slack.com", "discord.com"),
        *("api.login.yahoo.com", "login.yahoo.com", "id.twitch.tv", "access.line.me"),
        *("kauth.kakao.com", "orcid.org", "login.salesforce.com", "www.paypal.com"),
        *("accounts.spotify.com", "auth.openai.com", "auth.atlassian.com"),
    }
)
"""Hosts of issuers where anybody can have an account, or run a job that gets a token. Each has one issuer for all."""

_MICROSOFT = frozenset({"login.microsoftonline.com", "sts.windows.net", "login.windows.net"})
_EVERY_TENANT = re.compile(
    r"/(?:common|organizations|consumers|9188040d-6c67-4c5b-b112-36a304b66dad)(?:/.*)?"
)
"""Microsoft's names for all tenants, and the tenant of all personal accounts."""

_OF_METADATA = re.compile(r"/\.well-known(?:/|$)|/jwks(?:\.json)?$")
_METADATA = re.compile(r"/\.well-known/(?:openid-configuration|oauth-authorization-server)(?:/|$)")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|[0-9a-f:]*:[0-9a-f:.]*")


def host_of(url: str) -> str:
    """The host of a URL in lower case; empty if the text has none. Some issuers leave out https://, as Google does in
    the tokens that it gives some apps.
    """
    return (_parts(url).hostname or "").removesuffix(".")


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url if "://" in url else f"https://{url}")
    except ValueError:
        return urlsplit("")


def is_open(issuer: str) -> bool:
    """True if anybody can get a token of that issuer."""
    host = host_of(issuer)
    return host in OPEN_HOSTS or is_every_tenant(issuer)


def is_every_tenant(issuer: str) -> bool:
    """True if the issuer is Microsoft's for more than one tenant."""
    return host_of(issuer) in _MICROSOFT and bool(
        _EVERY_TENANT.fullmatch(_parts(issuer).path.lower())
    )


def is_hugging_face(issuer: str) -> bool:
    """True if the issuer is Hugging Face itself; a Space may be anybody's authorization server."""
    return bool(re.fullmatch(r"(?:.+\.)?(?:huggingface\.co|hf\.co)", host_of(issuer)))


def refused_issuer(name: str, url: str) -> str:
    """Why no token of the issuer in the setting of that name can ever be good here; empty if it may be."""
    if not is_hugging_face(url):
        return ""
    return (
        f"{name}: is Hugging Face, whose tokens are for huggingface.co, and the same for every program that signs "
        "people in there: each of these could use them here. Set the issuer of an authorization server that makes tokens "
        f"for this gate alone, or give people named tokens: {advice.add_token()}"
    )


def open_issuer(name: str) -> str:
    """The fault of an issuer that `is_open`, in the setting of that name, while nobody is listed."""
    return (
        f"{name}: anybody can join that issuer, so that everybody could come in; say in PEOPLE who may, such as "
        "PEOPLE=alice@example.com, or with [[people]] in TOKENS_FILE"
    )


def _judged(text: str) -> SplitResult:
    """The parts of a URL from which nobody on the way can read or write. Raises ValueError in words."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("may hold visible ASCII characters only, no spaces")
    scheme, mark, _ = text.partition("://")
    if not mark or scheme.lower() not in {"https", "http"}:
        raise ValueError("must begin with https://")
    try:
        parts = urlsplit(text)
        known = _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("has a host or a port that nobody can call")
    if "@" in parts.netloc:
        raise ValueError("may hold no user name and no password")
    if "#" in text:
        raise ValueError("may have no fragment (no #)")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(
            "must begin with https://, since whoever is on the way could change what it says; http:// is for "
            "this machine (127.0.0.1, localhost)"
        )
    return parts


def issuer(text: str) -> str:
    """The issuer, byte for byte: it is compared with what tokens say (RFC 8414 section 2)."""
    if text != text.strip():
        raise ValueError("has a space before or behind it; write it as the server's metadata does")
    parts = _judged(text)
    if "?" in text:
        raise ValueError("may have no query (no ?)")
    if _OF_METADATA.search(parts.path):
        raise ValueError(
            "is the URL of a document; write what stands there as issuer, byte for byte"
        )
    return text


def _issuer(value: Any) -> Any:
    return issuer(value) if isinstance(value, str) else value


def _front_issuer(value: Any) -> Any:
    """An issuer; some fronts have a name that is no URL, such as their host alone."""
    if not isinstance(value, str) or "://" in value:
        return _issuer(value)
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("may hold visible ASCII characters only, no spaces, as in the assertions")
    return value


def _asked_url(value: Any) -> Any:
    text = stripped(value)
    if isinstance(text, str) and _METADATA.search(_judged(text).path):
        raise ValueError(
            "is the URL of metadata; write the URL that stands there (jwks_uri, introspection_endpoint)"
        )
    return text


Issuer = Annotated[str | None, BeforeValidator(_issuer)]
FrontIssuer = Annotated[str | None, BeforeValidator(_front_issuer)]

AskedUrl = Annotated[str | None, BeforeValidator(_asked_url)]
"""A URL that the gate itself asks."""
