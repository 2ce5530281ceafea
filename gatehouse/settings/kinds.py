"""The kinds of settings: each turns a setting's text into its value, once.

A validator that refuses a text says why in words that complete «NAME: ...». The words never repeat a value
that may be secret.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_settings import NoDecode

from gatehouse import advice
from gatehouse.identity.rate import OFF, Rate, parse_rate_or_off
from gatehouse.policy.redis_url import shared_address
from gatehouse.settings.import_string import check_import_string
from gatehouse.tokens.value import VALUE_PATTERN

MIN_TOKEN_LENGTH = 32
"""A token of 32 random characters cannot be guessed."""

# RFC 3986 section 3.3, without percent-encoding, empty segments and parameters: enough for an
# endpoint path, and nothing that two programs could read in two ways.
_ENDPOINT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")


_HOST = re.compile(r"[A-Za-z0-9.:_%-]+")
_NO_HOST = {
    "host": "the port is the setting PORT, and the address that clients use PUBLIC_URL",
    "upstream_host": "the port is the setting UPSTREAM_PORT, and a whole URL goes into UPSTREAM_URL",
}

PLACEHOLDER = re.compile(
    r"(?i)^<.*>$|your[-_ ]?(?:\w+[-_ ])?(?:token|secret|key)|(?:change|replace)[-_ ]?(?:me|this)"
)
"""Texts that documents and examples have where a token goes."""


def stripped(value: Any) -> Any:
    """A text without the space around it; any other value as it is."""
    return value.strip() if isinstance(value, str) else value


def lowered(value: Any) -> Any:
    """The same in lower case."""
    return value.strip().lower() if isinstance(value, str) else value


def _host(value: Any, setting: ValidationInfo) -> Any:
    host = stripped(value)
    if isinstance(host, str):
        host = host.removeprefix("[").removesuffix("]")
        if not _HOST.fullmatch(host) or (":" in host and not _is_address(host)):
            raise ValueError(
                "must be a host name or an IP address, without port or scheme; "
                + _NO_HOST.get(setting.field_name or "", "")
            )
    return host


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _token(value: Any) -> Any:
    """Refuse a token that does not fit into a header field as it is, or that could be guessed."""
    token = stripped(value)
    if not isinstance(token, str):
        return token
    if re.match(r"(?i)(?:authorization:\s*)?bearer\s", token):
        raise ValueError("must be the token alone, without Bearer before it; clients add that")
    if token.startswith(("$(", "`")):
        raise ValueError(
            "is a command for a shell, which has not run here; set the text that it prints"
        )
    if PLACEHOLDER.search(token):
        raise ValueError(
            f"is the text in place of a token, which everybody knows. Make one with: {advice.make_secret()}"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("may hold visible ASCII characters only, no spaces")
    if len(token) < MIN_TOKEN_LENGTH:
        raise ValueError(
            f"is too short: it needs {MIN_TOKEN_LENGTH} random characters or more. "
            f"Make one with: {advice.make_secret()}"
        )
    return token


def endpoint_path(value: Any) -> Any:
    """The path of an MCP endpoint."""
    path = stripped(value)
    if isinstance(path, str) and not _ENDPOINT_PATH.fullmatch(path):
        raise ValueError(
            "must be a plain path such as /mcp: no query, no %, no empty or dot segments"
        )
    return path


def _import_string(value: Any) -> Any:
    name = stripped(value)
    return check_import_string(name) if isinstance(name, str) else name


def _rate(value: Any) -> Any:
    """The rate that a text says; OFF remains."""
    return parse_rate_or_off(value) if isinstance(value, str) else value


def _rate_or_none(value: Any) -> Any:
    rate = _rate(value)
    return None if rate == OFF else rate


def _shared_state_url(value: Any) -> Any:
    url = stripped(value)
    if isinstance(url, str):
        shared_address(url)
    return url


Host = Annotated[str, BeforeValidator(_host)]
Port = Annotated[int, BeforeValidator(stripped), Field(ge=1, le=65535)]
EndpointPath = Annotated[str, BeforeValidator(endpoint_path)]
ImportString = Annotated[str, BeforeValidator(_import_string)]
Token = Annotated[SecretStr | None, BeforeValidator(_token)]
SharedStateUrl = Annotated[SecretStr | None, BeforeValidator(_shared_state_url)]

MaybeRate = Annotated[Rate | None, NoDecode, BeforeValidator(_rate_or_none)]
"""A rate; None is no limit."""

RateOrOff = Annotated[Rate | Literal["off"] | None, NoDecode, BeforeValidator(_rate)]
"""A rate, or OFF, for a setting that has another meaning if it is unset."""


def _file(value: Any) -> Any:
    path = stripped(value)
    if isinstance(path, str) and VALUE_PATTERN.search(path):
        raise ValueError("holds the value of a token; here belongs the path of a file")
    return path or None


File = Annotated[
    Path | None,
    BeforeValidator(_file),
    # Resolved now: a hosted server may go elsewhere (os.chdir). A link stays one, and may be set anew.
    AfterValidator(lambda path: path and path.absolute()),
    Field(validate_default=True),
]

Count = Annotated[int, BeforeValidator(stripped), Field(ge=1)]
Seconds = Annotated[float, BeforeValidator(stripped), Field(gt=0, le=86_400)]
