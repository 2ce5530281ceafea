"""The settings in force, as the Settings page of the dashboard shows them: value, source, meaning, and no secret."""

from __future__ import annotations

import ast
import os
import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from gatehouse.http.paths import ExposedPath
from gatehouse.policy.redis_url import shared_address
from gatehouse.records.redact import PIECE_LENGTH
from gatehouse.settings.environment import BLANK_MEANS_NONE, Settings, unquoted
from gatehouse.tokens.value import FOREIGN_PATTERN, VALUE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gatehouse.settings.env_file import EnvFile

GROUPS = {
    "Tokens and rates": "mcp_auth_token tokens_file state_db allow_query_key token_rate query_rate failure_rate trusted_hops",
    "Access tokens of an authorization server": (
        "auth_issuer auth_audience auth_scopes auth_jwks_url auth_algorithms auth_token_type auth_name_claim "
        "auth_leeway_seconds auth_keys_stale_seconds auth_introspection_url auth_client_id auth_client_secret "
        "auth_introspection_seconds people"
    ),
    "A front that signs": (
        "front front_audience front_team front_header front_issuer front_jwks_url front_algorithms front_name_claim front_required"
    ),
    "People sign in": "sign_in sign_in_client_id sign_in_client_secret sign_in_secret admins sign_in_apps revoke_before",
    "Where the gate listens": "host port",
    "The server behind the gate": (
        "mcp_app upstream_mode upstream_runtime upstream_host upstream_port upstream_path upstream_url upstream_ca "
        "upstream_authorization expose_paths expose_rate upstream_keep_alive"
    ),
    "Names and origins": "public_url allowed_hosts allowed_origins",
    "Sizes and numbers": (
        "max_connections max_target_bytes max_header_bytes max_header_fields max_body_bytes start_requests"
    ),
    "Times": (
        "header_seconds body_seconds write_seconds keep_alive_seconds upstream_seconds upstream_silence_seconds "
        "comment_seconds start_seconds grace_seconds"
    ),
    "Log, metrics and shared state": (
        "log_format log_level record_calls metrics_token shared_state_url"
    ),
}
"""The names of settings by their headings, as docs/settings.md has them."""

SPACED = {"auth_audience", "auth_scopes", "auth_algorithms", "front_audience", "front_algorithms"}
"""The lists with spaces between; all others have commas."""

_LOOKS_SECRET = re.compile(f"{VALUE_PATTERN.pattern}|{FOREIGN_PATTERN.pattern}")

HIDDEN = "set, not shown"
"""Stands where a secret would."""

ENVIRONMENT, SPACE, DEFAULT = "the environment", "the Space", "default"
"""The sources of values beside `.env`."""


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One setting, in words; none of them holds a secret.

    `group` is the heading that it stands under, `name` is in upper case, and `value` is the one in force, empty if there
    is none. `source` is ENVIRONMENT, the path of `.env` with the line, SPACE for what Hugging Face tells a Space, or
    DEFAULT; `differs` is True if the value is not the default.
    """

    group: str
    name: str
    meaning: str
    value: str
    source: str
    differs: bool


def shown_settings(settings: Settings, file: EnvFile) -> list[ShownSetting]:
    """All settings of the gate in the order of the document; `file` is `.env` as it was read.

    To be called at the start, before secrets are taken out of the environment: they would seem to come from elsewhere.
    """
    there = {name.lower() for name, value in os.environ.items() if _counts(name, value)}
    meanings, of_space = _meanings(), dict(_of_space(settings))
    secrets = [*_secrets(settings)]
    found = []
    for group, names in GROUPS.items():
        for name in names.split():
            source, value = _source(settings, file, there, name), getattr(settings, name)
            default = type(settings).model_fields[name].default
            if isinstance(default, Path):
                default = default.absolute()
            if source == DEFAULT and name in of_space:
                source, value = SPACE, of_space[name]
            text = _text(name, value)
            if name == "tokens_file" and value is None:
                text = str(settings.tokens_at or "")
            if any(secret in text for secret in secrets) or _LOOKS_SECRET.search(text):
                text = HIDDEN  # set in the wrong place
            found.append(
                ShownSetting(
                    group, name.upper(), meanings.get(name, ""), text, source, value != default
                )
            )
    return found


def _counts(name: str, value: str) -> bool:
    return bool(unquoted(value).strip()) or name.lower() in BLANK_MEANS_NONE


def _source(settings: Settings, file: EnvFile, there: set[str], name: str) -> str:
    in_file = name.upper() in file.names and (
        name.upper() not in file.empty or name in BLANK_MEANS_NONE
    )
    if name in settings.model_fields_set and (name in there or not in_file):
        return ENVIRONMENT
    return f"{file.path}, line {file.names[name.upper()][-1]}" if in_file else DEFAULT


def _of_space(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The values in force that Hugging Face tells a Space, where nobody has set others."""
    if not settings.in_space:
        return
    yield "trusted_hops", settings.hops
    if settings.space_host:
        yield "public_url", settings.public_origin
        yield "allowed_hosts", settings.hosts_allowed
    if settings.uses_client_of_space:
        yield "sign_in_client_id", settings.oauth_client_id
        yield "sign_in_client_secret", settings.oauth_client_secret
    if settings.creator:
        yield "admins", settings.creator
        yield "people", settings.creator


def _secrets(settings: Settings) -> Iterator[str]:
    """The secrets among the settings, whole and without what stands around them, if they are long enough to be known."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        secret = value.get_secret_value() if isinstance(value, SecretStr) else ""
        alone = secret.rpartition(" ")[2]  # as a client sends it, behind the name of a scheme
        if name == "shared_state_url":
            alone = urlsplit(secret).password or ""
        yield from (each for each in (secret, alone, unquote(alone)) if len(each) >= PIECE_LENGTH)


def _text(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        is_rate = value is None and type(Settings.model_fields[name].default).__name__ == "Rate"
        return "off" if is_rate else "" if value is None else str(value)
    if isinstance(value, SecretStr):
        is_url = name == "shared_state_url"
        return shared_address(value.get_secret_value()) if is_url else HIDDEN
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return (" " if name in SPACED else ", ").join(map(_item, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    url, query, _ = text.partition("?")
    return f"{url}?..." if query and "://" in url else text


def _item(value: Any) -> str:
    is_open = isinstance(value, ExposedPath) and not value.needs_token
    return f"{value} without token" if is_open else str(value)


def _meanings() -> Mapping[str, str]:
    """The string under each field. Python keeps none of them, so that they are read where they are written."""
    found: dict[str, str] = {}
    for module in {kind.__module__ for kind in Settings.__mro__ if kind.__module__ in sys.modules}:
        path = getattr(sys.modules[module], "__file__", None)
        if path and module.startswith("gatehouse."):
            found |= _strings_under_fields(Path(path).read_text(encoding="utf-8"))
    return found


def _strings_under_fields(source: str) -> Iterator[tuple[str, str]]:
    for group in ast.parse(source).body:
        for field, below in pairwise(group.body) if isinstance(group, ast.ClassDef) else ():
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant):
                yield ast.unparse(field.target), " ".join(str(text.value).split())
