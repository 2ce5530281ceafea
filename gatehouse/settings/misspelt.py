"""Names that look like a setting's and are none: somebody meant that setting, and it is not in force."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

CLOSE = 0.885
"""How alike two names are, from 0 to 1, if one is a slip of the other: TOKEN_FILE and TOKENS_FILE are, MCP_API and
MCP_APP are not, nor MY_TOKENS_FILE and TOKENS_FILE."""

MIN_LENGTH = 8
"""In the environment shorter names are nobody's slip: too many programs have variables such as PORTS."""

OTHERS = (
    "FASTMCP_",
    "SPACE_",
    "SPACES_",
    "HF_",
    "HUGGINGFACE_",
    "UV_",
    "PIP_",
    "NEXT_",
    "VITE_",
    "OAUTH_",
    "OIDC_",
)
"""The beginnings of names that well-known programs own, Hugging Face's and FastMCP's among them, and of those that
servers with a sign-in of their own have, such as OAUTH_ISSUER."""

INJECTED = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
"""The names that Hugging Face gives to a Space with `hf_oauth: true`, for signing people in at huggingface.co. They
switch nothing on here, and none is a slip."""

GROUPS = ("AUTH_", "FRONT_", "SIGN_IN_", "SPACE_")
"""The beginnings of settings whose other words are usual elsewhere: CLIENT_ID is nobody's half of AUTH_CLIENT_ID."""

ALIASES = {
    **dict.fromkeys(("AUTH_ISSUER_URL", "AUTH_ISSUER_URI"), "AUTH_ISSUER"),
    "AUTH_AUD": "AUTH_AUDIENCE",
    **dict.fromkeys(("AUTH_JWKS", "AUTH_KEYS_URL"), "AUTH_JWKS_URL"),
    **dict.fromkeys(("AUTH_ALG", "AUTH_ALGS"), "AUTH_ALGORITHMS"),
    "AUTH_INTROSPECTION_ENDPOINT": "AUTH_INTROSPECTION_URL",
    "AUTH_LEEWAY": "AUTH_LEEWAY_SECONDS",
    **dict.fromkeys(("FRONT_AUD", "FRONT_AUDIENCE_TAG"), "FRONT_AUDIENCE"),
    **dict.fromkeys(("FRONT_TEAM_NAME", "FRONT_TEAM_DOMAIN"), "FRONT_TEAM"),
    **dict.fromkeys(("FRONT_JWKS", "FRONT_KEYS_URL"), "FRONT_JWKS_URL"),
    **dict.fromkeys(("FRONT_ALG", "FRONT_ALGS"), "FRONT_ALGORITHMS"),
    **dict.fromkeys(("AUTH_PEOPLE", "FRONT_PEOPLE", "SIGN_IN_PEOPLE", "ALLOWED_PEOPLE"), "PEOPLE"),
    **dict.fromkeys(("HF_SIGN_IN", "SIGN_IN_WITH", "SIGN_IN_AT", "SIGN_IN_PROVIDER"), "SIGN_IN"),
    **dict.fromkeys(("SIGN_IN_ISSUER", "SIGN_IN_ISSUER_URL", "SIGN_IN_URL"), "SIGN_IN"),
    **dict.fromkeys(("SIGN_IN_ID", "SIGN_IN_CLIENT"), "SIGN_IN_CLIENT_ID"),
    **dict.fromkeys(("SIGN_IN_KEY", "SIGN_IN_SESSION_SECRET"), "SIGN_IN_SECRET"),
    **dict.fromkeys(("SIGN_IN_FOR_APPS", "APPS_SIGN_IN", "LET_APPS_IN"), "SIGN_IN_APPS"),
    **dict.fromkeys(("SIGN_IN_REVOKE_BEFORE", "REVOKE_ALL_BEFORE"), "REVOKE_BEFORE"),
    **dict.fromkeys(("SIGN_IN_ADMINS", "DASHBOARD_ADMINS", "GATE_ADMINS"), "ADMINS"),
}
"""Names by which other programs, or other documents, call these settings."""

USUAL = {
    **dict.fromkeys(("OIDC_CLIENT_ID", "OPENID_CLIENT_ID", "CLIENT_ID"), "SIGN_IN_CLIENT_ID"),
    **dict.fromkeys(
        ("OIDC_CLIENT_SECRET", "OPENID_CLIENT_SECRET", "CLIENT_SECRET"), "SIGN_IN_CLIENT_SECRET"
    ),
    **dict.fromkeys(("ADMIN", "ADMIN_USERS", "ADMIN_EMAIL", "ADMIN_EMAILS"), "ADMINS"),
}
"""Names of other programs, a hosted server's perhaps: they are meant for the gate only where it lacks that setting."""

LEFT_TO_OTHERS = frozenset({*USUAL, "SIGNING_SECRET"})
"""Names that are nearly a setting's, and usual elsewhere: Slack's secret of signatures is a SIGNING_SECRET."""

FOODWISE_SETTINGS = (
    "SQLITE_PATH",
    "NOTION_BASE_URL",
    "NOTION_INVENTORY_DB_ID",
    "NOTION_SHOPPING_DB_ID",
    "NOTION_SECRET",
)
"""The settings of the server that comes with the gate, read from the same places."""


def meant(name: str, known: Collection[str]) -> str | None:
    """The setting of which `name` is a slip, if it is one. Names are in upper case."""
    if name in known:
        return None
    if name in ALIASES:
        return ALIASES[name]
    others = {*INJECTED, *LEFT_TO_OTHERS}
    if name in others or name.startswith(OTHERS) or re.search("[0-9]", name):
        return None
    letters = re.sub("[^A-Z]", "", name)
    for setting in known:
        plain = setting.replace("_", "")
        # MCP-AUTH-TOKEN, "PORT" in quotes, PROT
        if letters == plain or (letters[:1] == plain[0] and sorted(letters) == sorted(plain)):
            return setting
    return next(iter(get_close_matches(name, known, n=1, cutoff=CLOSE)), None)


def perhaps_meant(name: str, unset: Iterable[str]) -> str | None:
    """The one setting that has two words or more of `name`, and no other word is in that: AUTH_TOKEN."""
    words = set() if name in LEFT_TO_OTHERS else set(name.split("_"))
    named = [setting for setting in unset if not setting.startswith(GROUPS)]
    found = [setting for setting in named if words < set(setting.split("_"))]
    return found[0] if len(words) > 1 and len(found) == 1 else None
